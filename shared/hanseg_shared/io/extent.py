"""How large an image is in the world: what is coarse is small only as a file."""

from __future__ import annotations

import math

from hanseg_shared.errors import ImageTooLargeError
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io.limits import Limits

_LITRE_MM3 = 1e6


def require_patient_sized(grid: Grid, limits: Limits) -> None:
    """Refuse an image that is larger than a scanner's field of view.

    Raises:
        ImageTooLargeError: A side is too long, or its volume too large.
    """
    sides = _sides_mm(grid)
    shown = " x ".join(f"{side:.0f}" for side in sides)
    remedy = (
        f"check the spacing {_format_spacing(grid.spacing)} mm, or crop it to the head "
        "and neck"
    )
    if max(sides) > limits.max_extent_mm:
        raise ImageTooLargeError(
            f"the image is {shown} mm large, but no side may be longer than "
            f"{limits.max_extent_mm:g} mm: {remedy}"
        )
    litres = math.prod(sides) / _LITRE_MM3
    if litres > limits.max_volume_litres:
        raise ImageTooLargeError(
            f"the image is {shown} mm large: {litres:.0f} litres, more than the "
            f"{limits.max_volume_litres:g} allowed; {remedy}"
        )


def require_workable(grid: Grid, limits: Limits) -> None:
    """Refuse a CT that has too many voxels on the grid its network works on.

    Raises:
        ImageTooLargeError: It has.
    """
    if limits.working_spacing_mm is None:
        return
    x, y, z = limits.working_spacing_mm
    working = Grid.axis_aligned(grid.corners(), spacing=(x, y, z))
    if working.voxels > limits.max_working_voxels:
        size = " x ".join(str(count) for count in working.size)
        raise ImageTooLargeError(
            f"the image has {size} voxels at the network's {x:g} x {y:g} x {z:g} mm, "
            f"more than the {limits.max_working_voxels} allowed: crop it to the head "
            "and neck"
        )


def _sides_mm(grid: Grid) -> tuple[float, ...]:
    """Return how long the image is along its own axes, from face to face."""
    return tuple(n * s for n, s in zip(grid.size, grid.spacing, strict=True))


def _format_spacing(spacing: Vector) -> str:
    return " x ".join(f"{each:g}" for each in spacing)
