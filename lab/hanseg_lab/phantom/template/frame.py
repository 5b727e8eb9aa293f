"""The template's frame: outline of the body, brain case, course of the spinal cord."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hanseg_lab.phantom.shapes import Both, Column, Ellipsoid

BODY = Column(
    (
        (-330, 0, 28, 228, 112),
        (-240, 0, 26, 226, 100),
        (-200, 0, 26, 220, 90),
        (-175, 0, 24, 208, 80),
        (-155, 0, 22, 165, 72),
        (-140, 0, 14, 108, 66),
        (-126, 0, 5, 74, 64),
        (-112, 0, -3, 66, 62),
        (-98, 0, -10, 65, 66),
        (-86, 0, -20, 65, 74),
        (-76, 0, -31, 66, 84),
        (-60, 0, -32, 67, 88),
        (-40, 0, -26, 70, 92),
        (-20, 0, -14, 73, 95),
        (0, 0, -9, 74, 95),
        (20, 0, -6, 74, 94),
        (40, 0, -4, 74, 92),
        (60, 0, -2, 70, 88),
        (78, 0, 3, 59, 76),
        (90, 0, 5, 45, 58),
        (99, 0, 6, 27, 34),
        (104, 0, 7, 6, 8),
    ),
    power=2.3,
)
"""The body's outline, from the shoulders to the vertex."""

NOSE = Ellipsoid((0, -100, 4), (14, 18, 21))
EAR = Both(Ellipsoid((73, 4, -4), (9, 13, 29)))
"""Outside the outline, but part of the body."""

CRANIAL_CAVITY = Ellipsoid((0, 6, 40), (64, 82, 59))
POSTERIOR_FOSSA = Ellipsoid((0, 28, -4), (54, 46, 31))
SKULL = Ellipsoid((0, 6, 40), (70, 88, 65))
OCCIPUT = Ellipsoid((0, 28, -4), (61, 54, 37))
"""The brain case: two ellipsoids inside, and two around them."""

CORD = (
    (-330, 0, 68, 5, 4.2),
    (-240, 0, 58, 5, 4.4),
    (-200, 0, 46.5, 5, 4.6),
    (-180, 0, 36, 5, 4.7),
    (-160, 0, 25, 5, 4.6),
    (-140, 0, 15.7, 5.2, 4.2),
    (-120, 0, 9.4, 5.5, 3.9),
    (-100, 0, 5, 5.6, 3.9),
    (-80, 0, 2, 5.5, 4),
    (-60, 0, 1, 5.6, 4.2),
    (-36, 0, 2.6, 6, 4.9),
)
"""The spinal cord, as levels of a `Column`."""


def along_cord(
    shift_y: float, semi_x: float, semi_y: float, *, top: float, bottom: float = -330
) -> Column:
    """Return a column that keeps its distance from the spinal cord."""
    rows = [(z, x, y + shift_y, semi_x, semi_y) for z, x, y, _, _ in CORD]
    inner = [row for row in rows if bottom < row[0] < top]
    low = interpolate_levels(rows, bottom)
    return Column((low, *inner, interpolate_levels(rows, top)))


def interpolate_levels(
    rows: Sequence[tuple[float, float, float, float, float]], z: float
) -> tuple[float, float, float, float, float]:
    """Return a column's level at a height, between or beyond its own levels."""
    for below, above in pairwise(rows):
        if below[0] <= z <= above[0]:
            t = (z - below[0]) / (above[0] - below[0])
            a, b, c, d, e = (p + t * (q - p) for p, q in zip(below, above, strict=True))
            return a, b, c, d, e
    return rows[0] if z < rows[0][0] else (z, *rows[-1][1:])
