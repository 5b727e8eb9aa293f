"""Real patients: OpenKBP's CTs, on which the same recipes learn from partial contours.

The folder has its parts as images (``train/``, ``validation/``; ``<id>_ct.nii.gz``,
``<id>_oars.nii.gz``), as `hanseg train` reads them. There is no MR, and seven organs at
most were drawn; five of them as ours are, and these are scored.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from hanseg_lab.challenge.files import remove
from hanseg_lab.training.datasets.dataset import DatasetCase
from hanseg_lab.training.datasets.find import find_dataset
from hanseg_shared.errors import InputError

LEARNT, SCORED = "train", "validation"
"""OpenKBP's own names of the part to train on, and of that to be scored on."""

LABELS = "openkbp"
"""What the numbers of its label maps stand for, as `hanseg evaluate` has it."""

SHIPPED = "shipped"
"""What the model that ships is called beside the methods."""


def lay_out_scored(openkbp: Path, count: int, cases: Path, references: Path) -> None:
    """Copy the first cases of the scored part as `hanseg batch` and `evaluate` want.

    Args:
        openkbp: The data set's folder.
        count: How many cases.
        cases: Gets a folder a case, with its CT.
        references: Gets their label maps, by the cases' names.

    Raises:
        InputError: There are fewer cases than that with contours.
    """
    found = _first_cases(openkbp / SCORED, count)
    for folder in (cases, references):
        _empty(folder)
    for case in found:
        (contours,) = case.mask_files
        (cases / case.name).mkdir()
        shutil.copyfile(case.ct, cases / case.name / f"{case.name}.nii.gz")
        shutil.copyfile(contours, references / f"{case.name}.nii.gz")


def lay_out_learnt(openkbp: Path, count: int, into: Path) -> None:
    """Copy the first cases of the part to train on, as they are.

    Args:
        openkbp: The data set's folder.
        count: How many cases; all of them take every method minutes to prepare.
        into: Gets them.

    Raises:
        InputError: There are fewer cases than that with contours.
    """
    found = _first_cases(openkbp / LEARNT, count)
    _empty(into)
    for case in found:
        for file in (case.ct, *case.mask_files):
            shutil.copyfile(file, into / file.name)


def _first_cases(part: Path, count: int) -> Sequence[DatasetCase]:
    found = find_dataset(part).cases
    if len(found) < count:
        raise InputError(
            f"{part} has {len(found)} cases with contours; {count} are wanted"
        )
    return found[:count]


def _empty(folder: Path) -> None:
    remove(folder)
    folder.mkdir(parents=True)
