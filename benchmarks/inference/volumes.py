"""The CTs that are contoured: real patients on the grids that scanners make.

A planning CT of OpenKBP from vertex to chest, which is cropped to the body, is brought
to a field of 500 mm with air around, as a scanner stores it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct, read_labels, write_volume
from hanseg_shared.itk import resample
from hanseg_shared.volume import Volume

PROJECT = Path(__file__).resolve().parents[2]

AIR_HU = -1000.0

FIELD_MM = 500.0
"""Edge of the field of view in the plane of the slices."""

PATIENT = ("validation", "207")
"""OpenKBP's patient with the longest CT: 375 mm from the vertex to the chest."""

SLICES_MM = 375.0
"""From the first slice to the last of the large CTs."""


@dataclass(frozen=True, slots=True)
class Field:
    """A CT's size and how much of the patient's length it shows.

    Attributes:
        size: Voxels along x, y and z.
        length_mm: From the first face along z to the last.
    """

    size: tuple[int, int, int]
    length_mm: float

    @property
    def voxels(self) -> int:
        """How many there are."""
        x, y, z = self.size
        return x * y * z


FIELDS = {
    "512x512x64": Field((512, 512, 64), 160.0),
    "512x512x150": Field((512, 512, 150), SLICES_MM),
    "1024x1024x200": Field((1024, 1024, 200), SLICES_MM),
}


def data_folder() -> Path:
    """Return the folder of real cases, as the tests find it."""
    default = PROJECT.parent / "shared" / "data"
    return Path(os.environ.get("HANSEG_REAL_DATA", default))


def write_fields(out: Path) -> dict[str, Path]:
    """Return a file of each field of `FIELDS`; what is missing in `out` is made."""
    out.mkdir(parents=True, exist_ok=True)
    files = {name: out / f"{name}.nii.gz" for name in FIELDS}
    missing = [name for name, file in files.items() if not file.exists()]
    if missing:
        part, number = PATIENT
        ct = read_ct(data_folder() / "openkbp" / part / f"{number}_ct.nii.gz")
        drawn = read_labels(data_folder() / "openkbp" / part / f"{number}_oars.nii.gz")
        middle = middle_of_organs(drawn)
        for name in missing:
            grid = grid_around(ct.grid, FIELDS[name], middle=middle)
            shown = resample(ct, grid, background=AIR_HU)
            hu = np.clip(np.rint(shown.array), -1024, 3071).astype(np.int16)
            write_volume(Volume(hu, grid), files[name])
    return files


def middle_of_organs(drawn: Volume) -> float:
    """Return the position in mm, along z, half-way between all organs' ends."""
    slices = np.flatnonzero(drawn.array.any(axis=(1, 2)))
    index = (0.0, 0.0, (slices[0] + slices[-1]) / 2)
    return float(drawn.grid.index_to_world(index)[2])


def grid_around(ct: Grid, field: Field, *, middle: float) -> Grid:
    """Return the grid of a field whose slices hold the patient in their middle.

    Along z it lies about `middle`, or about the CT's own middle where it is as long.
    """
    x, y, z = field.size
    spacing = (FIELD_MM / x, FIELD_MM / y, field.length_mm / z)
    centre = ct.centre.copy()
    spare = (ct.extent[2] - field.length_mm) / 2
    if spare > 0:
        centre[2] += np.clip(middle - centre[2], -spare, spare)
    half = (np.array(field.size) - 1) / 2 * np.array(spacing)
    ox, oy, oz = (centre - half).tolist()
    return Grid(field.size, spacing, (ox, oy, oz))


@dataclass(frozen=True, slots=True)
class Patient:
    """A real CT and what the clinic drew on it, as files."""

    name: str
    ct: Path
    drawn: Path


def patients(count: int) -> list[Patient]:
    """Return some of OpenKBP's test patients, whom nothing was trained or chosen on."""
    folder = data_folder() / "openkbp" / "test"
    found = [
        Patient(name, file, folder / f"{name}_oars.nii.gz")
        for file in sorted(folder.glob("*_ct.nii.gz"))
        for name in (file.name.removesuffix("_ct.nii.gz"),)
    ]
    step = max(1, len(found) // count) if count else 1
    return found[::step][:count]
