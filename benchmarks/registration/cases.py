"""A CT, an MR, and where points of the CT truly lie in the MR.

The truth is kept as two lists of points instead of a motion, so that rigid, deformed
and wrongly stored MRs are measured alike.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from hanseg_lab.evaluation.landmarks import brain_points, rigid_fit
from hanseg_lab.simulator import Reach, SimulatedMr, simulate_mr
from hanseg_registration.geometry.head import find_ct_head
from hanseg_registration.geometry.motions import Motion, apply, translation
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_shared.documents import TransformKind
from hanseg_shared.grid import Grid, Points
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.io.body import BODY_HU
from hanseg_shared.itk import matrix_rows
from hanseg_shared.volume import Volume

LARGEST_TURN_DEG = 25.0
LARGEST_SHIFT_MM = 150.0
LARGEST_ORIGIN_MM = 1200.0
"""Bound of each coordinate of an MR's first voxel."""

HEAD_POINTS = 4000
"""Points of the CT's head, before those that the MR does not show are left out."""

FEWEST_POINTS = 50
"""With fewer points of the head in the MR a mean error says nothing."""

REACHES = (
    Reach.WHOLE_HEAD,
    Reach.LONG_SLAB,
    Reach.SHORT_SLAB,
    Reach.WHOLE_HEAD,
    Reach.LONG_SLAB,
    Reach.SHORT_SLAB,
    Reach.WHOLE_HEAD,
    Reach.LONG_SLAB,
    Reach.SHORT_SLAB,
    Reach.LONG_SLAB,
)
"""Of ten simulated cases three are slabs of 60 to 100 mm."""

FIRST_SEED = 70_000
"""Seeds of the simulated cases begin here; tests use small ones."""

POINT_ROW = re.compile(r"^\s+\d+((?:\s+-?\d+\.\d+){6})\s*$", re.MULTILINE)
"""A line of RIRE's standard: number, x y z in the CT, x y z in the MR."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One piece of work for the registration, and its right answer.

    Attributes:
        ct: The CT.
        mr: The MR.
        region: Points of the CT, mm LPS, ``(n, 3)``, over which errors are averaged.
        belongs: Where those lie in the MR, ``(n, 3)``; None where no answer is right.
        kind: The motion to ask for.
        about: What the case is, for the record.
    """

    ct: Volume
    mr: Volume
    region: Points
    belongs: Points | None
    kind: TransformKind = TransformKind.RIGID
    about: dict[str, float | str] = field(default_factory=dict)


def data_folder() -> Path:
    """Return where the tests look for real cases too."""
    project = Path(__file__).resolve().parents[2]
    named = os.environ.get("HANSEG_REAL_DATA")
    return Path(named) if named else project.parent / "shared" / "data"


def real_cts() -> list[Path]:
    """Return the CTs to simulate from: none of them has trained anything."""
    folder = data_folder()
    clinic = [
        path
        for part in ("test", "validation")
        for path in sorted((folder / "openkbp" / part).glob("*_ct.nii.gz"))
    ]
    return [folder / "head" / "ct.nii.gz", *clinic]


def rire(start: int) -> Case:
    """Return RIRE 001 from a random start; start 0 is the files' own header.

    The MR's header is turned by up to 25 degrees about its centre and, in every other
    start, shifted by up to 150 mm in any direction or put anywhere within 1200 mm.
    The error is taken over the brain; the truth is RIRE's gold standard.
    """
    folder = data_folder() / "rire_001"
    rows = POINT_ROW.findall((folder / "ct_T1.standard").read_text())
    pairs = np.array([row.split() for row in rows], dtype=np.float64)
    mr_from_ct = rigid_fit(pairs[:, :3], pairs[:, 3:])
    ct, mr = read_ct(folder / "ct.nii.gz"), read_mr(folder / "t1.nii.gz")
    motion = random_start(mr.grid, start) if start else np.eye(4)
    region = brain_points(ct)
    return Case(
        ct=ct,
        mr=moved(mr, motion),
        region=region,
        belongs=apply(motion @ mr_from_ct, region),
        about={"turn_deg": angle_deg(motion)},
    )


def random_start(grid: Grid, start: int) -> Motion:
    """Return the motion of an MR's header that makes a random start of it."""
    rng = np.random.default_rng((start, 2023))
    turn = random_turn(rng, LARGEST_TURN_DEG, centre=grid.centre)
    if start % 2:
        direction = rng.normal(size=3)
        shift = direction / np.linalg.norm(direction)
        return translation(rng.uniform(0, LARGEST_SHIFT_MM) * shift) @ turn
    origin = rng.uniform(-LARGEST_ORIGIN_MM, LARGEST_ORIGIN_MM, 3)
    return translation(origin - apply(turn, grid.origin)) @ turn


def random_turn(
    rng: np.random.Generator, largest_deg: float, *, centre: npt.ArrayLike
) -> Motion:
    """Return a turn about a random axis through a point."""
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(0, largest_deg))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    middle = np.asarray(centre, dtype=np.float64)
    return translation(middle) @ turn @ translation(-middle)


def angle_deg(motion: Motion) -> float:
    """Return the angle of a rigid motion's rotation."""
    return float(np.degrees(Rotation.from_matrix(motion[:3, :3]).magnitude()))


def moved(volume: Volume, motion: Motion) -> Volume:
    """Return the volume with a header that a rigid motion has moved."""
    grid = volume.grid
    x, y, z = apply(motion, grid.origin).tolist()
    u, _, vt = np.linalg.svd(motion[:3, :3] @ np.array(grid.direction))
    rows = matrix_rows(tuple((u @ vt).ravel().tolist()))
    return Volume(volume.array, Grid(grid.size, grid.spacing, (x, y, z), rows))


def simulated(number: int, *, deformation_mm: float = 0.0) -> Case:
    """Return a simulated MR of one of the real CTs, a third of them short slabs."""
    path = simulated_from(number)
    reach = REACHES[number % len(REACHES)]
    ct = read_ct(path)
    made = simulate_mr(
        ct, seed=FIRST_SEED + number, reach=reach, deformation_mm=deformation_mm
    )
    return with_truth(ct, made, about={"ct": path.name, **made.recipe})


def simulated_from(number: int) -> Path:
    """Return the CT of a simulated case; every seventh is the finest one."""
    head, *clinic = real_cts()
    return head if number % 7 == 3 else clinic[number * 31 % len(clinic)]


def with_truth(ct: Volume, made: SimulatedMr, *, about: dict[str, float | str]) -> Case:
    """Return the case of a simulated MR; errors count over what it shows of the head.

    Raises:
        ValueError: The MR shows next to nothing of the CT's head.
    """
    points = head_points(ct)
    belongs = made.to_mr(points)
    shown = inside(made.mr.grid, belongs)
    if shown.sum() < FEWEST_POINTS:
        raise ValueError(f"the MR shows {shown.sum()} of {len(points)} head points")
    return Case(
        ct=ct,
        mr=made.mr,
        region=points[shown],
        belongs=belongs[shown],
        about={**about, "shown_share": float(shown.mean())},
    )


def head_points(ct: Volume) -> Points:
    """Return points of a CT's head, without the air around it, mm LPS, ``(n, 3)``."""
    head = find_ct_head(centre_at_origin(ct))
    body = head.mask & (head.coarse.array > BODY_HU)
    return replace(head, mask=body).points(HEAD_POINTS) + ct.grid.centre


def inside(grid: Grid, points: Points) -> npt.NDArray[np.bool_]:
    """Return which points lie in a grid's box, shape ``(n,)``."""
    index = grid.world_to_index(points)
    within = (index >= 0) & (index <= np.array(grid.size) - 1)
    return np.asarray(within.all(axis=1), dtype=np.bool_)
