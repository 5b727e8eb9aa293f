"""Real patients: OpenKBP's CTs, on which the same recipes learn from partial contours.

The folder has its parts as images (``train/``, ``validation/``; ``<id>_ct.nii.gz``,
``<id>_oars.nii.gz``), as `hanseg train` reads them. There is no MR, and seven organs at
most were drawn; five of them as ours are, and these are scored.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from hanseg_lab.challenge.files import remove
from hanseg_shared.errors import InputError
from hanseg_shared.io.names import natural

LEARNT, SCORED = "train", "validation"
"""OpenKBP's own names of the part to train on, and of that to be scored on."""

LABELS = "openkbp"
"""What the numbers of its label maps stand for, as `hanseg evaluate` has it."""

SHIPPED = "shipped"
"""What the model that ships is called beside the methods."""

CT_ENDING, CONTOURS_ENDING = "_ct.nii.gz", "_oars.nii.gz"


def lay_out_scored(openkbp: Path, count: int, cases: Path, references: Path) -> None:
    """Copy the first cases of the scored part as `hanseg batch` and `evaluate` want.

    Args:
        openkbp: The data set's folder.
        count: How many cases.
        cases: Gets a folder a case, with its CT.
        references: Gets their label maps, by the cases' names.

    Raises:
        InputError: There are fewer cases than that with both files.
    """
    part = openkbp / SCORED
    names = _first_names(part, count)
    for folder in (cases, references):
        _empty(folder)
    for name in names:
        (cases / name).mkdir()
        shutil.copyfile(part / f"{name}{CT_ENDING}", cases / name / f"{name}.nii.gz")
        shutil.copyfile(
            part / f"{name}{CONTOURS_ENDING}", references / f"{name}.nii.gz"
        )


def lay_out_learnt(openkbp: Path, count: int, into: Path) -> None:
    """Copy the first cases of the part to train on, as they are.

    Args:
        openkbp: The data set's folder.
        count: How many cases; all of them take every method minutes to prepare.
        into: Gets them.

    Raises:
        InputError: There are fewer cases than that with both files.
    """
    part = openkbp / LEARNT
    names = _first_names(part, count)
    _empty(into)
    for name in names:
        for ending in (CT_ENDING, CONTOURS_ENDING):
            shutil.copyfile(part / f"{name}{ending}", into / f"{name}{ending}")


def _first_names(part: Path, count: int) -> list[str]:
    files = sorted(part.glob(f"*{CT_ENDING}"), key=lambda path: natural(path.name))
    names = [file.name.removesuffix(CT_ENDING) for file in files]
    names = [name for name in names if (part / f"{name}{CONTOURS_ENDING}").exists()]
    if len(names) < count:
        raise InputError(
            f"{part} has {len(names)} cases with {CT_ENDING} and {CONTOURS_ENDING};"
            f" {count} are wanted"
        )
    return names[:count]


def _empty(folder: Path) -> None:
    remove(folder)
    folder.mkdir(parents=True)
