"""Whole simulated cases: a CT, an unregistered T1 MR and the 30 organs' truth."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from hanseg_lab.phantom.patient import Painted, Patient, rotation_matrix
from hanseg_lab.phantom.shapes import Coordinates
from hanseg_lab.phantom.simulate import scan_t1, simulate_ct, simulate_t1
from hanseg_lab.phantom.surroundings import Surroundings, outside_of, surround
from hanseg_lab.phantom.tissue import Tissue
from hanseg_shared.errors import OptionError
from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.itk import resample
from hanseg_shared.volume import Volume

COUCH_TOP_MM = 120.0
"""How far behind the brain stem the couch begins."""

LARGEST_HEADER_OFFSET_MM = 1000.0
"""How far an MR's coordinates may be from the CT's (HaN-Seg: up to 1096 mm)."""

PAINT_SPACING_MM = 1.5
"""MR finer than this is painted at this spacing and interpolated."""


class Scope(Enum):
    """The part of the patient a CT covers; z in mm from the brain stem."""

    HEAD_AND_NECK = (-225.0, 108.0)
    """Shoulders to vertex, as a planning CT."""

    HEAD = (-38.0, 108.0)
    """Skull base upward, as the RIRE cases."""

    NECK = (-225.0, -5.0)
    """Shoulders to skull base."""


@dataclass(frozen=True, slots=True, eq=False)
class PhantomCase:
    """A simulated patient's images and their truth.

    Attributes:
        name: ``case_`` and the seed.
        ct: In HU, int16.
        labels: Organ labels 0 to 30 on the CT's grid, uint8.
        mr: T1 on its own grid in its own coordinates, float32; None if not made.
        t1: The noiseless T1 signal on the CT's grid, float32, as a perfect registration
            would give it; None if not asked for.
        mr_from_ct: Homogeneous 4 x 4 matrix that maps points of the CT to points of
            the MR, mm LPS (the true registration); None without MR.
    """

    name: str
    ct: Volume
    labels: Volume
    mr: Volume | None = None
    t1: Volume | None = None
    mr_from_ct: npt.NDArray[np.float64] | None = None

    @property
    def ct_from_mr(self) -> npt.NDArray[np.float64] | None:
        """The inverse of `mr_from_ct`."""
        return None if self.mr_from_ct is None else _inverse(self.mr_from_ct)


def make_case(
    seed: int,
    *,
    ct_spacing: Vector = (1.5, 1.5, 2.5),
    ct_width_mm: float = 420.0,
    mr_spacing: Vector | None = None,
    mr: bool = True,
    t1: bool = False,
    scope: Scope = Scope.HEAD_AND_NECK,
    surroundings: Surroundings | None = None,
) -> PhantomCase:
    """Simulate a patient, always the same one for a seed.

    The anatomy and the MR's pose depend on the seed alone, not on the spacings.
    Coarse voxels make it cheap: at 6 mm a case takes a fraction of a second.

    Args:
        seed: Which patient, 0 or more.
        ct_spacing: Voxels of the CT (x, y, z) in mm.
        ct_width_mm: In-plane width of the CT; 420 shows most of the shoulders.
        mr_spacing: Voxels of the MR in mm; random, as clinics have it, if None (0.5 to
            0.9 mm in the slice, slices of 1.7 to 6 mm).
        mr: Whether an MR is made too.
        t1: Whether the T1 signal on the CT's grid is made too, for training.
        scope: What part of the patient the CT covers.
        surroundings: What is added to the CT around patient and couch; nothing if
            None. It changes neither the patient nor the MR.

    Raises:
        OptionError: The seed is negative.
    """
    if seed < 0:
        raise OptionError(f"a phantom's seed must not be negative, got {seed}")
    anatomy, pose, imaging, around = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)
    )
    patient = Patient.random(anatomy)
    stem = pose.uniform((-25, -40, -300), (25, 40, 300))
    ct_grid = _ct_grid(stem, ct_spacing, ct_width_mm, scope)
    painted = _with_couch(patient.paint(_relative(ct_grid, stem)), ct_grid, stem)
    hu = simulate_ct(painted, ct_grid, imaging)
    if surroundings is not None:
        hu = surround(hu, outside_of(painted), ct_grid, surroundings, around)
    ct = Volume(hu, ct_grid)
    labels = Volume(painted.labels, ct_grid)
    name = case_name(seed)
    mr_from_ct = _mr_pose(stem, pose)
    mr_grid = _mr_grid(stem, mr_from_ct, mr_spacing, pose)
    signal = Volume(simulate_t1(painted, ct_spacing, imaging), ct_grid) if t1 else None
    if not mr:
        return PhantomCase(name, ct, labels, t1=signal)
    image = _mr_image(patient, stem, mr_from_ct, mr_grid, imaging)
    return PhantomCase(name, ct, labels, image, signal, mr_from_ct)


def case_name(seed: int) -> str:
    """Return what the simulated patient of a seed is called."""
    return f"case_{seed:02d}"


def _relative(
    grid: Grid,
    stem: npt.NDArray[np.float64],
    ct_from_grid: npt.NDArray[np.float64] | None = None,
) -> Coordinates:
    """Return every voxel's position relative to the brain stem, as x, y, z arrays."""
    matrix = grid.world_from_index
    if ct_from_grid is not None:
        matrix = ct_from_grid @ matrix
    k, j, i = np.meshgrid(
        *[np.arange(n, dtype=np.float32) for n in grid.shape],
        indexing="ij",
        sparse=True,
    )
    rows = matrix[:3].astype(np.float32)
    x, y, z = (
        r[0] * i + r[1] * j + r[2] * k + np.float32(r[3] - s)
        for r, s in zip(rows, stem, strict=True)
    )
    return x, y, z


def _ct_grid(
    stem: npt.NDArray[np.float64], spacing: Vector, width_mm: float, scope: Scope
) -> Grid:
    low, high = scope.value
    depth = min(300.0, width_mm)
    corners = [
        np.add(stem, (-width_mm / 2, -138.0, low)),
        np.add(stem, (width_mm / 2, depth - 138.0, high)),
    ]
    return Grid.axis_aligned(corners, spacing=spacing)


def _with_couch(painted: Painted, grid: Grid, stem: npt.NDArray[np.float64]) -> Painted:
    """Add the treatment couch, a foam slab in a thin shell, where there is air."""
    _, y, _ = _relative(grid, stem)
    top = np.broadcast_to(y - COUCH_TOP_MM, painted.tissue.shape)
    tissue = painted.tissue.copy()
    air = tissue == Tissue.AIR
    tissue[air & (top >= 0) & (top <= 24)] = Tissue.FOAM
    shell = (np.abs(top - 1) <= 1.5) | (np.abs(top - 24) <= 1.5)
    tissue[air & shell] = Tissue.SHELL
    return Painted(tissue, painted.labels)


def _mr_pose(
    stem: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return MR points from CT points: a small rotation and any header offset."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(rng.normal(0, (2.5, 1.5, 2.0)))
    limit = LARGEST_HEADER_OFFSET_MM
    centre = rng.uniform((-60, -110, -limit), (60, 110, limit))
    matrix[:3, 3] = centre - matrix[:3, :3] @ stem
    return matrix


def _mr_grid(
    stem: npt.NDArray[np.float64],
    mr_from_ct: npt.NDArray[np.float64],
    spacing: Vector | None,
    rng: np.random.Generator,
) -> Grid:
    """Return the MR's grid: smaller than the CT, about the head, a little oblique."""
    in_plane, slices = rng.uniform(0.5, 0.9), rng.choice((1.7, 3.0, 3.0, 4.0, 6.0))
    drawn = (float(in_plane), float(in_plane), float(slices))
    sx, sy, sz = drawn if spacing is None else spacing
    width, low, high = (
        rng.uniform(230, 270),
        rng.uniform(-170, -120),
        rng.uniform(50, 85),
    )
    tilt = rotation_matrix(rng.normal(0, (4, 1, 1)))
    size = (int(width / sx), int(width / sy), int((high - low) / sz))
    target = mr_from_ct @ [*np.add(stem, (0, -15, (low + high) / 2)), 1]
    half = (np.array(size) - 1) / 2 * (sx, sy, sz)
    ox, oy, oz = (float(v) for v in target[:3] - tilt @ half)
    return Grid(size, (sx, sy, sz), (ox, oy, oz), _matrix(tilt))


def _mr_image(
    patient: Patient,
    stem: npt.NDArray[np.float64],
    mr_from_ct: npt.NDArray[np.float64],
    grid: Grid,
    rng: np.random.Generator,
) -> Volume:
    """Return the MR: painted no finer than needed, then sampled and scanned."""
    x, y, z = (max(s, PAINT_SPACING_MM) for s in grid.spacing)
    counts = [
        max(1, int(np.ceil((n - 1) * fine / coarse)) + 1)
        for n, fine, coarse in zip(grid.size, grid.spacing, (x, y, z), strict=True)
    ]
    canvas = Grid(
        (counts[0], counts[1], counts[2]), (x, y, z), grid.origin, grid.direction
    )
    painted = patient.paint(_relative(canvas, stem, _inverse(mr_from_ct)))
    signal = Volume(simulate_t1(painted, canvas.spacing, rng), canvas)
    sampled = signal if canvas.is_same(grid) else resample(signal, grid)
    return Volume(scan_t1(sampled.array, rng), grid)


def _inverse(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.linalg.inv(matrix).astype(np.float64)


def _matrix(values: npt.NDArray[np.float64]) -> Matrix:
    a, b, c = ((float(r[0]), float(r[1]), float(r[2])) for r in values)
    return a, b, c
