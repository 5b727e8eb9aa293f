"""Weights from PyTorch's checkpoints, without running the code of a pickle.

A pickle can hold code. PyTorch's reader with ``weights_only`` builds tensors and plain
containers alone; nnU-Net's checkpoints also hold NumPy numbers in their training log,
so these are allowed too, and nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hanseg_segmentation.network.nnunet import drop_duplicates
from hanseg_shared.errors import InputError

FINAL = "checkpoint_final.pth"
"""What training leaves at its end, and nnU-Net's predictor takes."""

CHECKPOINTS = (FINAL, "checkpoint_best.pth")
"""What a fold's folder may hold, the preferred first."""

NUMPY_NUMBERS = ("float64", "float32", "float16", "int64", "int32", "bool")
"""Types of NumPy's numbers that training logs hold."""

BROKEN_ARCHIVE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What Python's reader of archives raises at a damaged one."""

WRAPPERS = ("module.", "_orig_mod.")
"""What distributed and compiled training put before a weight's name."""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What inference needs of a checkpoint.

    Attributes:
        weights: The network's, each once.
        trainer: The class that trained it.
        configuration: The name of the plan's configuration.
        mirror_axes: The network's axes that training mirrored.
    """

    weights: dict[str, torch.Tensor]
    trainer: str
    configuration: str
    mirror_axes: tuple[int, ...]


def checkpoint_file(folder: Path, fold: str) -> Path:
    """Return a fold's checkpoint.

    Raises:
        InputError: The fold was not trained, or its checkpoint is not there.
    """
    for name in CHECKPOINTS:
        path = folder / f"fold_{fold}" / name
        if path.is_file():
            return path
    there = ", ".join(trained_folds(folder)) or "none"
    raise InputError(
        f"{folder / f'fold_{fold}' / CHECKPOINTS[0]} is missing; folds with a"
        f" checkpoint: {there}; choose with --folds"
    )


def trained_folds(folder: Path) -> tuple[str, ...]:
    """Return the folds of a trained folder that have a checkpoint, sorted."""
    found = {
        path.parent.name
        for name in CHECKPOINTS
        for path in folder.glob(f"fold_*/{name}")
    }
    return tuple(sorted(name.removeprefix("fold_") for name in found))


def read_checkpoint(path: Path) -> Checkpoint:
    """Return a checkpoint's content; nothing in the file is run.

    Raises:
        InputError: The file is damaged, holds more than numbers, or is no
            checkpoint of nnU-Net v2.
    """
    content = _load(path)
    try:
        _require_as_large_as_file(content["network_weights"], path)
        weights = _parse_weights(content["network_weights"])
        return Checkpoint(
            weights,
            trainer=str(content["trainer_name"]),
            configuration=str(content["init_args"]["configuration"]),
            mirror_axes=_parse_axes(content.get("inference_allowed_mirroring_axes")),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(
            f"{path} is no checkpoint of nnU-Net v2: {type(error).__name__} {error};"
            " export models of nnU-Net v1 with its v2 first"
        ) from error


def _load(path: Path) -> Any:  # noqa: ANN401
    _require_whole(path)
    try:
        with torch.serialization.safe_globals(_allowed_globals()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than weights, or is damaged, and was not run:"
            f" {_reason(error)}; take the checkpoint from its source again"
        ) from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except Exception as error:  # a garbled pickle can fail in any way
        raise InputError(
            f"{path} is damaged or no checkpoint: {_reason(error)}; copy it again"
        ) from error


def _require_whole(path: Path) -> None:
    """Raise `InputError` unless the file is an archive with the right check sums.

    PyTorch has written archives since 1.6, before nnU-Net v2, and reads past a wrong
    check sum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            packed = path.stat().st_size
            unpacked = sum(each.file_size for each in archive.infolist())
            damaged = archive.testzip() if unpacked <= packed else None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except BROKEN_ARCHIVE as error:
        raise InputError(
            f"{path} is damaged or no checkpoint: {_reason(error)}; copy it again"
        ) from error
    if unpacked > packed:
        raise InputError(
            f"{path} has {packed} bytes and unpacks to {unpacked}; PyTorch packs"
            " nothing: take the checkpoint from its source again"
        )
    if damaged is not None:
        raise InputError(f"{path} is damaged in {damaged}; copy it again")


def _allowed_globals() -> list[Any]:
    """Return what a checkpoint may name besides what PyTorch's reader knows."""
    scalar = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(name)) for name in NUMPY_NUMBERS]
    return [
        np.dtype,
        *kinds,
        (scalar, "numpy.core.multiarray.scalar"),
        (scalar, "numpy._core.multiarray.scalar"),
    ]


def _parse_weights(state: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    if not state or not all(isinstance(each, torch.Tensor) for each in state.values()):
        raise TypeError("network_weights are no tensors by name")
    return drop_duplicates(
        {_strip_wrappers(name): each for name, each in state.items()}
    )


def _require_as_large_as_file(state: Mapping[str, Any], path: Path) -> None:
    """Raise `InputError` if weights are larger than the file that holds them.

    A tensor may repeat one number without end; written out, it would fill the memory.
    """
    largest = path.stat().st_size
    for name, each in state.items():
        size = each.numel() * each.element_size()
        if size > min(largest, each.untyped_storage().nbytes()):
            raise InputError(
                f"{path} has {largest} bytes, but its weight {name} asks for {size};"
                " take the checkpoint from its source again"
            )
    unique = drop_duplicates(dict(state))
    total = sum(each.numel() * each.element_size() for each in unique.values())
    if total > largest:
        raise InputError(
            f"{path} has {largest} bytes, but its weights ask for {total}; take the"
            " checkpoint from its source again"
        )


def _strip_wrappers(name: str) -> str:
    for wrapper in WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _parse_axes(given: Any) -> tuple[int, ...]:  # noqa: ANN401
    axes = tuple(int(axis) for axis in given or ())
    if not set(axes) <= {0, 1, 2}:
        raise ValueError(f"mirroring axes {axes}")
    return axes


def _reason(error: Exception) -> str:
    """Return a message's first line, without the advice to trust the file."""
    text = str(error).removeprefix("Weights only load failed.").strip()
    telling = [line for line in text.splitlines() if "GLOBAL" in line] or [text]
    return " ".join(telling[0].split())[:200] or type(error).__name__
