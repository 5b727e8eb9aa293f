"""Which of nnU-Net's trainers leave the plan's network as it is.

A trainer is code: it may change the network, its activations or its normalisation
without a trace in plans.json. The trainers of nnU-Net 2.0 to 2.8.1 are known; any other
is refused unless the user says whose network its own is like.
"""

from __future__ import annotations

import re
from typing import Literal

from hanseg_shared.errors import InputError

PLAIN = "nnUNetTrainer"
"""nnU-Net's default trainer."""

OF_TRAINING_ALONE = re.compile(
    r"nnUNetTrainer("
    r"|_\d+epochs?(_NoMirroring)?"
    r"|Benchmark_5epochs(_noDataLoading)?"
    r"|DA5(ord0|Segord0|_10epochs)?|NoDA|_DASegOrd0(_NoMirroring)?|_noDummy2DDA"
    r"|NoMirroring|_onlyMirror01(_1500ep|_DASegOrd0|_DA5)?"
    r"|_warmup|CosAnneal"
    r"|Adan(1en3|3en4|1en1|CosAnneal)?|(Vanilla)?Adam(1en3|3en4)?"
    r"|DiceLoss|DiceCELoss_noSmooth|(Dice)?Top[kK]10Loss(LS01)?|CELoss(_5epochs)?"
    r"|NoDeepSupervision|_probabilisticOversampling(_033|_010)?"
    r")|nnUNet_Trainer_BS8"
)
"""Trainers that change only the training: its length, data, loss or optimiser."""

NORMS: dict[str, Literal["instance", "batch"]] = {"nnUNetTrainerBN": "batch"}
"""Trainers that change the network's normalisation."""

STUNET = re.compile(r"STUNetTrainer(_(small|base|large|huge))?(_ft)?")
"""STU-Net's trainers, whose network is not in the plan."""


def is_stunet(trainer: str) -> bool:
    """Whether a trainer is one of STU-Net's, whose network is not in the plan."""
    return STUNET.fullmatch(trainer) is not None


def require_known_trainer(trainer: str, *, given: str | None, where: str) -> str:
    """Return the known trainer whose network a checkpoint holds.

    Args:
        trainer: The checkpoint's own.
        given: The one that the user says it is like; None if nothing was said.
        where: The checkpoint, for messages.

    Raises:
        InputError: It is not known.
    """
    if given is not None and not _is_known(given):
        raise InputError(
            f"--trainer {given} is not known; {PLAIN}, nnUNetTrainerBN and"
            " STUNetTrainer are among those that are"
        )
    if given is None and not _is_known(trainer):
        raise InputError(
            f"{where}: trainer {trainer!r} is unknown to this version, and a trainer"
            " may change the network; if it changes the training alone, say so with"
            f" --trainer {PLAIN}"
        )
    return given or trainer


def _is_known(trainer: str) -> bool:
    named = trainer in NORMS or is_stunet(trainer)
    return named or OF_TRAINING_ALONE.fullmatch(trainer) is not None
