"""Phantoms whose MR lies at a known place, with their CT stored in every position.

Patient and MR stay the same; what changes is how the CT's voxels lie in the patient
(DICOM PS3.3 C.7.6.2.1.1 and C.7.3.1.1.2). A chain that mistakes an axis anywhere is off
by centimetres.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.evaluation.landmarks import brain_points, landmark_error
from hanseg_lab.phantom.phantom_case import PhantomCase, Scope, make_case
from hanseg_shared.documents import JobDocument, MrVerdict
from hanseg_shared.errors import InputError
from hanseg_shared.grid import Grid, Matrix
from hanseg_shared.io.cases import CaseFiles
from hanseg_shared.io.write import write_volume
from hanseg_shared.itk import resample
from hanseg_shared.result_files import TRANSFORM
from hanseg_shared.signing.sheet import PhantomSheet
from hanseg_shared.volume import Volume

PHANTOM_NAME = "phantom_"
"""How a phantom's case is called, before its position."""

SEED = 20
"""Of the patient; any would do."""

CT_SPACING_MM = (2.0, 2.0, 3.0)
CT_WIDTH_MM = 260.0
MR_SPACING_MM = (1.0, 1.0, 2.0)

AIR_HU = -1000.0

L, P, S = np.eye(3)
"""Unit vectors to the patient's left, back and head."""

AXES = {
    "HFS": (L, P, S),
    "HFP": (-L, -P, S),
    "HFDR": (P, -L, S),
    "HFDL": (-P, L, S),
    "FFS": (-L, P, -S),
    "FFP": (L, -P, -S),
    "FFDR": (-P, -L, -S),
    "FFDL": (P, L, -S),
    "flipped": (L, P, -S),
    "sagittal": (P, -S, -L),
}
"""Where a row, a column and the slices of the CT run, by position: head or feet first,
supine, prone or lying on the right or left side; slices in reverse; sagittal slices."""

OBLIQUE = "oblique"
OBLIQUE_DEGREES = (7.0, -5.0, 12.0)
"""Turns about the three axes of a CT with a tilted grid."""

POSITIONS = (*AXES, OBLIQUE)


@dataclass(frozen=True, slots=True)
class Phantom:
    """One patient and where its MR lies.

    Attributes:
        case: The CT as ``HFS``, the MR, and the truth.
    """

    case: PhantomCase

    @classmethod
    def make(cls) -> Phantom:
        """Return the phantom, always the same."""
        return cls(
            make_case(
                SEED,
                ct_spacing=CT_SPACING_MM,
                ct_width_mm=CT_WIDTH_MM,
                mr_spacing=MR_SPACING_MM,
                scope=Scope.HEAD,
            )
        )

    def write(self, folder: Path) -> list[CaseFiles]:
        """Write CT and MR in every position, and return them as cases."""
        if self.case.mr is None:
            raise InputError("the phantom has no MR")
        cases = []
        for position in POSITIONS:
            place = folder / position
            place.mkdir(parents=True, exist_ok=True)
            ct = write_volume(stored_as(self.case.ct, position), place / "ct.nii.gz")
            mr = write_volume(self.case.mr, place / "mr.nii.gz")
            cases.append(CaseFiles(f"{PHANTOM_NAME}{position}", ct, mr))
        return cases

    def judge(
        self, position: str, job: JobDocument, folder: Path, *, limit_mm: float
    ) -> PhantomSheet:
        """Return how far the registration in a folder of results is from the truth."""
        verdict = job.mr_verdict
        if not (folder / TRANSFORM).is_file():
            return PhantomSheet(position=position, verdict=verdict, passed=False)
        points = self.case.ct.grid.corners()
        found = landmark_error(
            sitk.ReadTransform(str(folder / TRANSFORM)),
            ct_points=points,
            mr_points=_move(points, self.case.mr_from_ct),
            region=brain_points(self.case.ct),
        )
        passed = verdict is MrVerdict.USED and found.mean_mm <= limit_mm
        return PhantomSheet(
            position=position,
            verdict=verdict,
            mean_mm=round(found.mean_mm, 3),
            max_mm=round(found.max_mm, 3),
            passed=passed,
        )


def stored_as(volume: Volume, position: str) -> Volume:
    """Return the same image with its voxels stored in another position.

    All but ``oblique`` hold the very same values.

    Args:
        volume: A CT, stored as ``HFS``.
        position: One of `POSITIONS`.
    """
    directions = np.stack(AXES[position]) if position in AXES else _tilted()
    moved = resample(volume, _turned(volume.grid, directions), background=AIR_HU)
    return moved.with_array(np.rint(moved.array).astype(volume.array.dtype))


def _turned(grid: Grid, directions: npt.NDArray[np.float64]) -> Grid:
    """Return a grid about the same centre whose axes run elsewhere.

    Args:
        grid: Whose axes run to L, P and S.
        directions: Of the new axes, one a row.
    """
    nearest = np.abs(directions).argmax(axis=1)
    size = [grid.size[axis] for axis in nearest]
    spacing = [grid.spacing[axis] for axis in nearest]
    half = (np.array(size) - 1) / 2 * spacing
    x, y, z = (float(v) for v in grid.centre - half @ directions)
    rows = _matrix(directions.T)
    return Grid(
        (size[0], size[1], size[2]),
        (spacing[0], spacing[1], spacing[2]),
        (x, y, z),
        rows,
    )


def _tilted() -> npt.NDArray[np.float64]:
    turns = np.eye(3)
    for axis, degrees in enumerate(OBLIQUE_DEGREES):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn, angle = np.eye(3), np.radians(degrees)
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[two, one], turn[one, two] = np.sin(angle), -np.sin(angle)
        turns = turn @ turns
    return turns


def _move(
    points: npt.NDArray[np.float64], matrix: npt.NDArray[np.float64] | None
) -> npt.NDArray[np.float64]:
    if matrix is None:
        raise InputError("the phantom has no MR")
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def _matrix(values: npt.NDArray[np.float64]) -> Matrix:
    a, b, c = ((float(r[0]), float(r[1]), float(r[2])) for r in values)
    return a, b, c
