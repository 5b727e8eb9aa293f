"""OpenKBP as a user downloads it: a folder a patient, of CSV files.

Every array has 128 x 128 x 128 voxels and is kept as its non-zero voxels: a flat
index and a value (`ct.csv`), or an index alone (a mask). The flat index runs, in C
order, over (y, x, z): y to the back, x to the patient's left, z *from head to foot*;
so it was found by comparing masks and CTs with the same patients as images. CT
values are HU + 1024, clipped to 0..4095; what lies outside the region that may get
dose is left out, which reads as air. `voxel_dimensions.csv` has x, y and z in mm.
Masks of targets and doses are no concern of ours. Format: github ababier/open-kbp,
Babier et al. 2021, doi 10.1002/mp.14845.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_lab.declaration import (
    Declaration,
    known_declaration,
)
from hanseg_lab.evaluation.case_masks import boxes_of_labels, crop_to_box
from hanseg_lab.training.datasets.dataset import Contour, Dataset, Finding
from hanseg_shared.errors import ImageContentError, ImageError
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io.names import natural
from hanseg_shared.volume import Volume

EDGE = 128
"""Voxels along each axis."""

HU_OF_ZERO = -1024
"""The HU that a stored 0 means."""

LARGEST_STORED = 4095
"""Stored CT values were clipped to this."""

CT, DIMENSIONS = "ct.csv", "voxel_dimensions.csv"

TRAIN_FOLDERS = (Path("provided-data", "train-pats"), Path("train-pats"))
"""Where the training patients lie in the repository; the others are never taken."""

PREFIX = "pt_"
"""What a patient's folder has before its number."""

_PATIENT = re.compile(rf"{PREFIX}[0-9]+")
_NO_ORGANS = re.compile(
    r"(ct|dose|voxel_dimensions|possible_dose_mask|PTV[0-9]+)\.csv", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class OpenKbpCase:
    """A patient's folder; see `dataset.DatasetCase` for the attributes."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name, such as ``pt_12``."""
        return self.folder.name

    @property
    def declaration(self) -> Declaration:
        """OpenKBP's."""
        return known_declaration("openkbp")

    @property
    def ct(self) -> Path:
        """The sparse CT."""
        return self.folder / CT

    @property
    def mr(self) -> None:
        """None: OpenKBP has no MR."""
        return

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """The files of our labels that the patient has."""
        files = (self.folder / f"{each.name}.csv" for each in self.declaration.labels)
        return tuple(file for file in files if file.exists())

    @property
    def uncontoured(self) -> frozenset[str]:
        """None: every contour has a file."""
        return frozenset()

    @property
    def sella(self) -> Vector | None:
        """By its number: the packed images are called by that alone."""
        return self.declaration.sella.get(self.name.removeprefix(PREFIX))

    def read_ct(self) -> Volume:
        """Return the CT in HU, int16."""
        indices, stored = _read_sparse(self.ct)
        if stored is None:
            raise ImageContentError(f"{self.ct}: a CT needs values beside its indices")
        if not (stored.min() >= 0 and stored.max() <= LARGEST_STORED):
            raise ImageContentError(
                f"{self.ct}: stored values must be 0 to {LARGEST_STORED} (HU + 1024), "
                f"got {stored.min():g} to {stored.max():g}"
            )
        values = np.rint(stored).astype(np.int16) + np.int16(HU_OF_ZERO)
        return self._volume(indices, values, background=HU_OF_ZERO)

    def read_contours(self, file: Path) -> tuple[Contour, ...]:
        """Return the contour in a file, or nothing if it is empty."""
        label = self.declaration.label(file.stem)
        indices, _ = _read_sparse(file)
        volume = self._volume(indices, np.ones(len(indices), np.uint8), background=0)
        boxes = boxes_of_labels(volume)
        assert label is not None
        return tuple(Contour(label, crop_to_box(volume, b, 1)) for b in boxes.values())

    def _volume(
        self,
        indices: npt.NDArray[np.int64],
        values: npt.NDArray[np.generic],
        *,
        background: int,
    ) -> Volume:
        """Return sparse values as a volume in LPS, its middle voxel's corner at 0."""
        flat = np.full(EDGE**3, background, values.dtype)
        flat[indices] = values
        array = flat.reshape(EDGE, EDGE, EDGE).transpose(2, 0, 1)[::-1]
        return Volume(np.ascontiguousarray(array), self._grid())

    def _grid(self) -> Grid:
        path = self.folder / DIMENSIONS
        try:
            x, y, z = (float(line) for line in path.read_text("utf-8-sig").split())
        except (OSError, ValueError):
            raise ImageError(f"{path} must hold three numbers, in mm") from None
        half = EDGE // 2
        return Grid((EDGE,) * 3, (x, y, z), (-half * x, -half * y, -half * z))


def find_openkbp(folder: Path) -> Dataset:
    """Return the patients of a folder of ``pt_*`` folders."""
    folders = [path for path in folder.iterdir() if _is_patient(path)]
    folders.sort(key=lambda path: natural(path.name))
    cases = tuple(OpenKbpCase(path) for path in folders)
    findings = [each for case in cases for each in _findings(case)]
    findings += [
        Finding(
            "",
            f"{path.name} was passed over: it is not called {PREFIX} and a number",
            refuses=False,
        )
        for path in sorted(folder.iterdir())
        if not _is_patient(path) and (path / CT).is_file()
    ]
    return Dataset(known_declaration("openkbp"), cases, tuple(findings))


def has_patients(folder: Path) -> bool:
    """Whether a folder holds OpenKBP's patients."""
    return folder.is_dir() and any(_is_patient(path) for path in folder.iterdir())


def _is_patient(path: Path) -> bool:
    return path.is_dir() and _PATIENT.fullmatch(path.name) is not None


def _findings(case: OpenKbpCase) -> list[Finding]:
    missing = [name for name in (CT, DIMENSIONS) if not (case.folder / name).exists()]
    findings = [Finding(case.name, f"{name} is missing") for name in missing]
    known = {label.name for label in case.declaration.labels}
    findings += [
        Finding(case.name, f"{path.name}: OpenKBP has no structure of that name")
        for path in sorted(case.folder.glob("*.csv"))
        if path.stem not in known and _NO_ORGANS.fullmatch(path.name) is None
    ]
    if not case.mask_files:
        findings.append(Finding(case.name, "no organ is contoured; move the case away"))
    return findings


def _read_sparse(
    path: Path,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64] | None]:
    """Return flat indices, and the values if the file has them.

    Raises:
        ImageError: The file cannot be read as such.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            header, first = file.readline(), file.readline()
        if header.strip() != ",data":
            raise ImageContentError(f"{path}: the first line must be ',data'")
        columns = (0, 1) if first.strip().rpartition(",")[2] else (0,)
        table = (
            np.loadtxt(path, delimiter=",", skiprows=1, usecols=columns, ndmin=2)
            if first.strip()
            else np.zeros((0, len(columns)))
        )
    except (OSError, ValueError) as error:
        raise ImageError(f"{path} cannot be read: {error}") from None
    indices = table[:, 0].astype(np.int64)
    if len(indices) and not (indices.min() >= 0 and indices.max() < EDGE**3):
        raise ImageContentError(
            f"{path}: indices must be 0 to {EDGE**3 - 1}, got {indices.min()} to "
            f"{indices.max()}"
        )
    return indices, table[:, 1] if len(columns) == 2 else None
