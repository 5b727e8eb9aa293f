"""Data sets in memory: their cases, the contours of each, and errors.

A case is light, and can be sent to another process; its voxels are read on demand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hanseg_lab.declaration import Declaration, Label
from hanseg_shared.errors import InputError
from hanseg_shared.grid import Vector
from hanseg_shared.volume import Volume

NAMES_SHOWN = 8
"""How many names a message lists before it says how many more there are."""


@dataclass(frozen=True, slots=True)
class Finding:
    """An error in a data set, or a remark on it.

    Attributes:
        case: The case it is about; empty if it is about the whole data set.
        message: What, where and, if it is an error, the remedy.
        refuses: Whether it is an error, which must be corrected before training.
    """

    case: str
    message: str
    refuses: bool = True

    def __str__(self) -> str:
        return f"{self.case}: {self.message}" if self.case else self.message


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """The contour of one label in one case, as a mask.

    Attributes:
        label: Which.
        mask: Its voxels, boolean, cropped to them; never empty.
    """

    label: Label
    mask: Volume


class DatasetCase(Protocol):
    """A patient of a data set.

    Attributes:
        name: Its name, unique in the data set.
        declaration: The data set's.
        ct: Path of the CT, for messages and for the registration of the MR.
        mr: Path of the T1 MR, in its own frame; None without.
        mask_files: Every file that holds contours.
        uncontoured: Labels that a file holds but that do not count as contoured.
        sella: Where its sella was seen, if it was; see `Declaration.sella`.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def declaration(self) -> Declaration: ...  # noqa: D102
    @property
    def ct(self) -> Path: ...  # noqa: D102
    @property
    def mr(self) -> Path | None: ...  # noqa: D102
    @property
    def mask_files(self) -> tuple[Path, ...]: ...  # noqa: D102
    @property
    def uncontoured(self) -> frozenset[str]: ...  # noqa: D102
    @property
    def sella(self) -> Vector | None: ...  # noqa: D102

    def read_ct(self) -> Volume:
        """Return the CT in HU, int16.

        Raises:
            InputError: It cannot be used.
        """
        ...

    def read_contours(self, file: Path) -> tuple[Contour, ...]:
        """Return what one of `mask_files` holds, labels in `uncontoured` included.

        Raises:
            InputError: It cannot be used, or holds a label that is not declared.
        """
        ...


@dataclass(frozen=True, slots=True)
class Dataset:
    """The cases of a data set, and the errors found while they were listed.

    Attributes:
        declaration: What its labels mean.
        cases: In natural order of their names.
        findings: Errors of files and names; no file was read for them.
    """

    declaration: Declaration
    cases: tuple[DatasetCase, ...]
    findings: tuple[Finding, ...] = ()


def contours_of(case: DatasetCase) -> tuple[Contour, ...]:
    """Return all contours of a case that count, in the labels' order.

    Raises:
        InputError: A file cannot be used.
    """
    found = {
        contour.label.name: contour
        for file in case.mask_files
        for contour in case.read_contours(file)
        if contour.label.name not in case.uncontoured
    }
    labels = case.declaration.labels
    return tuple(found[each.name] for each in labels if each.name in found)


def stamp(case: DatasetCase) -> str:
    """Return a short hash that changes with a case's files and what they mean."""
    parts = [case.declaration.model_dump_json(), str(sorted(case.uncontoured))]
    for path in (case.ct, case.mr, *case.mask_files):
        if path is not None:
            status = path.stat()
            parts.append(f"{path.resolve()} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def list_names(names: Iterable[str]) -> str:
    """Return names as a message lists them."""
    every = list(names)
    more = len(every) - NAMES_SHOWN
    shown = ", ".join(every[:NAMES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def refuse(findings: Iterable[Finding]) -> None:
    """Return if no finding is an error.

    Raises:
        InputError: Some are; each has its own line.
    """
    refusing = [str(each) for each in findings if each.refuses]
    if refusing:
        raise InputError(
            f"{len(refusing)} things are wrong with the data; nothing was trained:\n  "
            + "\n  ".join(refusing)
        )
