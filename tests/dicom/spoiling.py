"""Written objects made wrong again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset


def change(path: Path, spoil: Callable[[FileDataset], None]) -> None:
    """Read an object, change it and write it back."""
    dataset = dcmread(path)
    spoil(dataset)
    dataset.save_as(path)


def another_name(dataset: FileDataset) -> None:
    dataset.PatientName = "Roe^Jane"
