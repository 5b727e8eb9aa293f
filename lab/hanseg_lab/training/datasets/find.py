"""Which data sets a folder holds, by their layouts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hanseg_lab.declaration import FILE, known_declaration
from hanseg_lab.training.datasets.dataset import Dataset
from hanseg_lab.training.datasets.folder import find_folder
from hanseg_lab.training.datasets.han_seg import cases_folder, find_han_seg
from hanseg_lab.training.datasets.openkbp import (
    TRAIN_FOLDERS,
    find_openkbp,
    has_patients,
)
from hanseg_shared.errors import InputError, OptionError

PACKED_FOLDERS = (Path("openkbp", "train"), Path("train"), Path())
"""Where OpenKBP's training patients may lie as images."""


def find_datasets(folders: Sequence[Path]) -> tuple[Dataset, ...]:
    """Return the data set of each folder.

    In this order, a folder is taken for HaN-Seg's, for one that declares itself, for
    OpenKBP's (as downloaded, or packed as images; of its three parts `train` alone is
    taken), for the scans with two sets of contours, or for a plain folder of cases.

    Raises:
        InputError: A folder holds no case, or it is unclear which file is which.
    """
    found = tuple(find_dataset(folder) for folder in folders)
    names = [each.declaration.name for each in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OptionError(
            f"two data sets are called {twice[0]}; name them in {FILE}, see "
            "docs/reference/data-sets.md"
        )
    return found


def find_dataset(folder: Path) -> Dataset:
    """Return the one data set of a folder; see `find_datasets`."""
    dataset = _by_layout(folder)
    if not dataset.cases and not dataset.findings:
        raise InputError(
            f"{folder}: no case was found; see docs/reference/data-sets.md"
        )
    return dataset


def _by_layout(folder: Path) -> Dataset:
    han_seg = cases_folder(folder)
    if han_seg is not None:
        return find_han_seg(han_seg)
    if (folder / FILE).exists():
        return find_folder(folder)
    for place in (*(folder / part for part in TRAIN_FOLDERS), folder):
        if has_patients(place):
            return find_openkbp(place)
    for part in PACKED_FOLDERS:
        if any((folder / part).glob("*_oars.nii.gz")):
            return find_folder(folder / part, known_declaration("openkbp"))
    if any(folder.glob("*_deepmind21.nii.gz")):
        return find_folder(folder, known_declaration("matched"))
    return find_folder(folder)
