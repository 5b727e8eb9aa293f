"""A T1-like MR of a real CT's patient, and the exact motion between the two.

The truth maps a point of the CT to the point of the MR that shows the same anatomy,
both in mm LPS by the images' own headers: first the deformation (if any) moves it to
where the patient, bent otherwise, has it; then `mr_from_ct` (rotation of up to 25
degrees, and a shift that puts the MR's first voxel anywhere within 1200 mm) takes it
into the MR scanner's coordinates. The convention is the one of ITK's transforms with
the CT fixed and the MR moving, and of `hanseg_lab.phantom`. Images are sampled
through the very same map, so markers lie where `SimulatedMr.to_mr` says.

What is not simulated: geometric distortion by gradients, susceptibility or chemical
shift (the truth is exact), aliasing, flow, contrast medium, fat saturation, eyes and
glands beyond what their HU say (an eye is a little too bright), streaks of metal in
the CT (they shine through next to the void), anatomy beyond the CT (its last slice is
repeated where the body is cut off), and thin parts of the body, such as ears, that
cannot be told from a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_lab.simulator.artefacts import (
    Faults,
    lose_signal_at_metal,
    metal_distance,
    scan,
)
from hanseg_lab.simulator.contrast import Signals, t1_signal
from hanseg_lab.simulator.head_anatomy import AIR_HU, HeadAnatomy, find_anatomy
from hanseg_lab.simulator.scan_plan import HEAD_LENGTH_MM, Reach, ScanPlan, draw_plan
from hanseg_lab.simulator.simulated_deformation import (
    SimulatedDeformation,
    draw_deformation,
    mean_displacement,
)
from hanseg_shared.errors import OptionError
from hanseg_shared.grid import Grid, Points
from hanseg_shared.itk import resample, to_image
from hanseg_shared.volume import Volume

SIGNAL_MM = 1.25
"""Edge of the cubes on which the signal is computed."""

SUB_SLICE_MM = 1.5
"""A slice is the mean of samples no further apart than this."""

PIXEL_BLUR = 0.3
"""Width, in pixels of a coarse CT, of a blur that hides where they meet."""

PIVOT_BELOW_VERTEX_MM = 130.0
"""The neck bends from here on, about the skull's base, or from the CT's middle."""


@dataclass(frozen=True, slots=True, eq=False)
class SimulatedMr:
    """A simulated MR and its truth.

    Attributes:
        mr: T1-like, int16, on its own grid in its own coordinates.
        mr_from_ct: Homogeneous 4 x 4 matrix, float64, that maps points of the CT,
            after the deformation, to points of the MR, mm LPS.
        mean_deformation_mm: Mean displacement by the deformation over the CT's head
            and neck; 0 for a rigid truth. No pose explains any of it.
        recipe: How it was made: plane, spacings, reach, artefacts, and of how much
            body, from bottom to top, the CT tells.
        deformation: What happens to a point of the CT before the pose, or None.
    """

    mr: Volume
    mr_from_ct: npt.NDArray[np.float64]
    mean_deformation_mm: float
    recipe: dict[str, float | str]
    deformation: SimulatedDeformation | None = None

    def to_mr(self, ct_points: npt.ArrayLike) -> Points:
        """Return where points of the CT, ``(n, 3)`` in mm LPS, lie in the MR."""
        points = np.reshape(np.asarray(ct_points, np.float64), (-1, 3))
        if self.deformation is not None:
            points = self.deformation.to_bent(points)
        return points @ self.mr_from_ct[:3, :3].T + self.mr_from_ct[:3, 3]


def simulate_mr(
    ct: Volume, *, seed: int, reach: Reach | None = None, deformation_mm: float = 0.0
) -> SimulatedMr:
    """Make a T1-like MR of a CT's patient, always the same one for the same input.

    Args:
        ct: A real CT in HU that shows a head or a neck.
        seed: Seed of everything random, 0 or more.
        reach: How much of the head the MR covers; random if None.
        deformation_mm: Mean deformation, up to 8 mm, over the head and neck (the
            uppermost 250 mm of the CT); 0 for a rigid truth.

    Raises:
        OptionError: The seed or the deformation is negative, or the deformation is
            too large to be invertible.
        ImageContentError: The CT shows no body.
    """
    if seed < 0:
        raise OptionError(f"a simulation's seed must not be negative, got {seed}")
    if deformation_mm < 0:
        raise OptionError(f"deformation_mm must not be negative, got {deformation_mm}")
    planning, tissue, imaging, bending = (
        np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)
    )
    anatomy = find_anatomy(ct)
    plan = draw_plan(anatomy, reach, planning)
    deformation = None
    if deformation_mm > 0:
        deformation = _deformation(anatomy, plan, deformation_mm, bending)
    signal = _signal(ct, anatomy, plan, deformation, tissue)
    faults = Faults.draw(imaging)
    distance = metal_distance(anatomy, signal.grid)
    if distance is not None:
        lost = lose_signal_at_metal(signal.array, distance, faults.void_mm)
        signal = signal.with_array(lost)
    sampled = _sample(signal, plan, deformation)
    mr = Volume(scan(sampled, faults, imaging), plan.grid)
    mean_mm = 0.0
    if deformation is not None:
        mean_mm = mean_displacement(deformation, _head_and_neck(anatomy))
    recipe = _recipe(plan, faults, anatomy)
    return SimulatedMr(mr, plan.mr_from_ct, mean_mm, recipe, deformation)


def _deformation(
    anatomy: HeadAnatomy, plan: ScanPlan, mean_mm: float, rng: np.random.Generator
) -> SimulatedDeformation:
    """Return a random deformation of the head and neck."""
    region = Grid.axis_aligned(
        np.concatenate([_ct_corners(plan), anatomy.grid.corners()]),
        spacing=(10.0, 10.0, 10.0),
    )
    x, y = anatomy.middle(anatomy.top_mm - HEAD_LENGTH_MM, anatomy.top_mm)
    bottom = max(anatomy.bottom_mm, anatomy.top_mm - HEAD_LENGTH_MM)
    middle = (bottom + anatomy.top_mm) / 2
    pivot = (x, y, max(middle, anatomy.top_mm - PIVOT_BELOW_VERTEX_MM))
    body = _head_and_neck(anatomy)
    return draw_deformation(body, mean_mm=mean_mm, region=region, pivot=pivot, rng=rng)


def _head_and_neck(anatomy: HeadAnatomy) -> Points:
    """Return points, in mm of the CT, spread over the head and the neck."""
    points = anatomy.points(step=37)
    return points[points[:, 2] >= anatomy.top_mm - HEAD_LENGTH_MM]


def _ct_corners(plan: ScanPlan) -> Points:
    """Return the corners of the MR's box in the CT's coordinates, undeformed."""
    back = plan.ct_from_mr
    return plan.grid.corners() @ back[:3, :3].T + back[:3, 3]


def _signal(
    ct: Volume,
    anatomy: HeadAnatomy,
    plan: ScanPlan,
    deformation: SimulatedDeformation | None,
    rng: np.random.Generator,
) -> Volume:
    """Return the T1 signal around all that the MR shows, in the CT's coordinates."""
    corners = _ct_corners(plan)
    margin = 2 * SIGNAL_MM
    if deformation is not None:
        margin += float(np.linalg.norm(deformation.pull, axis=-1).max())
    shown = anatomy.grid.corners()
    low = np.maximum(corners.min(axis=0) - margin, shown.min(axis=0))
    high = np.minimum(corners.max(axis=0) + margin, shown.max(axis=0))
    grid = Grid.axis_aligned([low, high], spacing=(SIGNAL_MM,) * 3)
    hu = Volume(anatomy.repeat_ends(_resample_finely(ct, grid), grid), grid)
    return t1_signal(hu, anatomy, Signals.draw(rng), rng)


def _resample_finely(ct: Volume, grid: Grid) -> npt.NDArray[np.float32]:
    """Return a CT in HU on a grid, without the edges of larger pixels."""
    source = Volume(ct.array.astype(np.float32), ct.grid)
    hu = resample(source, grid, background=AIR_HU).array
    pixel = max(ct.grid.spacing[:2]) / SIGNAL_MM
    return ndimage.gaussian_filter(hu, PIXEL_BLUR * pixel) if pixel > 2 else hu


def _sample(
    signal: Volume, plan: ScanPlan, deformation: SimulatedDeformation | None
) -> npt.NDArray[np.float32]:
    """Return the signal on the MR's grid, each slice a mean over its thickness."""
    pose = sitk.AffineTransform(3)
    pose.SetMatrix(plan.ct_from_mr[:3, :3].ravel().tolist())
    pose.SetTranslation(plan.ct_from_mr[:3, 3].tolist())
    bent = [] if deformation is None else [deformation.transform()]
    ct_from_mr = sitk.CompositeTransform([*bent, pose])  # the last one comes first
    image = to_image(signal)
    thickness = plan.grid.spacing[2]
    count = max(2, int(np.ceil(thickness / SUB_SLICE_MM)))
    total = np.zeros(plan.grid.shape, np.float32)
    normal = np.array(plan.grid.direction)[:, 2]
    for share in (np.arange(count) + 0.5) / count - 0.5:
        sampled = sitk.Resample(
            image,
            plan.grid.size,
            ct_from_mr,
            sitk.sitkLinear,
            (plan.grid.origin + share * thickness * normal).tolist(),
            plan.grid.spacing,
            np.ravel(plan.grid.direction).tolist(),
            0.0,
            sitk.sitkFloat32,
        )
        total += sitk.GetArrayViewFromImage(sampled)
    return total / np.float32(count)


def _recipe(
    plan: ScanPlan, faults: Faults, anatomy: HeadAnatomy
) -> dict[str, float | str]:
    """Return in short how an MR was made."""
    metal = bool(np.isfinite(anatomy.metal_distance).all())
    in_plane, _, across = plan.grid.spacing
    return {
        "plane": plan.label,
        "reach": plan.reach.value,
        "reach_mm": plan.grid.extent[2],
        "ct_body_mm": anatomy.top_mm - anatomy.bottom_mm,
        "in_plane_mm": in_plane,
        "slice_mm": across,
        "rotation_deg": plan.rotation_deg,
        "noise": faults.noise,
        "ghost": faults.ghost,
        "border": faults.border,
        "empty_slices": float(faults.empty_slices),
        "metal_void_mm": faults.void_mm if metal else 0.0,
    }
