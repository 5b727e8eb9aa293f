"""Left and right organs parted by position, for models that know them as one.

The patient's middle is found as a plane from the answer itself: where organs in the
middle are seen level by level, and half-way between organs of a pair, whose connection
is the plane's normal. So neither the order in which voxels are stored nor a tilted head
matters, nor does a side that the scan cuts off. What lies so near the plane that its
side is in doubt is taken out of the answer: no organ may get the other side's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.quality.pieces import Piece, Pieces, find_pieces
from hanseg_shared.grid import Grid, Points
from hanseg_shared.organs import BACKGROUND, organ
from hanseg_shared.volume import Volume

MIDDLE_ORGANS = (
    "Arytenoid",
    "Brainstem",
    "Cricopharyngeus",
    "Esophagus_S",
    "Glottis",
    "Larynx_SG",
    "OpticChiasm",
    "Pituitary",
    "SpinalCord",
)
"""Organs of which every level is centred on the patient's middle."""

LEVEL_MM = 4.0
"""Height of a level."""

MOST_LEVELS = 5.0
"""What an organ's levels weigh together, at most: neighbours err together."""

MIDDLE_MM = 4.0
"""How far an organ's level, or the point half-way between a pair, lies from the plane,
as a deviation. A choice; so are the other limits here."""

NORMAL_MM = 8.0
"""How much further from the plane one of a pair lies than the other, and how much
higher or further in front, as a deviation."""

TILT = 0.25
"""Deviation of the head's tilt, and of its turn, before anything is seen: 14 deg."""

APART_MM = 35.0
"""Pieces of one organ that lie further apart from left to right belong to two sides."""

LEAST_PARTNER = 0.3
"""The smaller of a pair has at least this share of the larger one's voxels."""

SURE_DEVIATIONS = 2.0
"""A piece's side is known where its middle is so many deviations of the plane away."""

LEAST_MM = 3.0
"""Nearer to the plane no piece's side is known."""

WHOLE_SHARE = 0.9
"""A piece with this share of its voxels on a side belongs there as a whole."""

PARTING_MM = 4.0
"""A piece on both sides is cut along the plane if that is known so well there."""

ITERATIONS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Midplane:
    """The patient's middle: x = a + b (y - y0) + c (z - z0), in mm LPS.

    Attributes:
        values: a, b and c, ``(3,)``.
        covariance: Of these, ``(3, 3)``.
        centre: y0 and z0, ``(2,)``.
    """

    values: npt.NDArray[np.float64]
    covariance: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]

    def distance_mm(self, points: Points) -> npt.NDArray[np.float64]:
        """Return how far points ``(n, 3)`` lie to the patient's left of it."""
        across = points[:, 0] - self._rows(points) @ self.values
        return across / float(np.hypot(1.0, np.linalg.norm(self.values[1:])))

    def deviation_mm(self, points: Points) -> npt.NDArray[np.float64]:
        """Return how well it is known beside points ``(n, 3)``, as a deviation."""
        rows = self._rows(points)
        return np.sqrt(np.einsum("ni,ij,nj->n", rows, self.covariance, rows))

    def _rows(self, points: Points) -> npt.NDArray[np.float64]:
        return np.column_stack((np.ones(len(points)), points[:, 1:] - self.centre))


@dataclass(frozen=True, slots=True, eq=False)
class Parted:
    """A label map whose paired organs have sides.

    Attributes:
        labels: The label map, uint8.
        unknown_ml: Volume that was taken out because its side is in doubt, by the
            label of the pair's left organ; only pairs that lost some.
    """

    labels: Volume
    unknown_ml: dict[int, float] = field(default_factory=dict)


def part_sides(labels: Volume, pairs: Mapping[int, int]) -> Parted:
    """Return the label map with each pair's voxels labelled left or right.

    Args:
        labels: uint8 on a grid of any orientation; both organs of a pair have the
            left one's label.
        pairs: The right organ's label by the left one's.
    """
    pieces = find_pieces(labels)
    plane = find_midplane(pieces, pairs)
    array, unknown = labels.array.copy(), dict[int, float]()
    for left, right in pairs.items():
        parts = pieces.of(left)
        given = [_sides(piece, pieces, plane) for piece in parts]
        if _contradicts(parts, given):
            given = [np.zeros(len(each), np.int8) for each in given]
        for piece, sides in zip(parts, given, strict=True):
            table = np.array([BACKGROUND, left, right], np.uint8)  # 0, 1 and -1
            where = pieces.index[:, pieces.number == piece.number]
            array[tuple(where)] = table[sides]
        lost = sum(np.count_nonzero(each == 0) for each in given)
        if lost:
            unknown[left] = float(lost) * labels.grid.voxel_ml
    return Parted(labels.with_array(array), unknown)


def find_midplane(pieces: Pieces, pairs: Mapping[int, int]) -> Midplane | None:
    """Return the patient's middle; None where nothing tells it.

    Robust least squares (Cauchy weights, Holland and Welsch 1977,
    doi 10.1080/03610927708827533) with an upright head as the prior.
    """
    points, weights = _middle_points(pieces)
    left, right = _pair_centres(pieces, pairs)
    if not len(points) and not len(left):
        return None
    places = np.vstack((points, (left + right) / 2))
    trust = np.concatenate((weights, np.ones(len(left)))) / MIDDLE_MM**2
    centre = np.average(places[:, 1:], axis=0, weights=trust)
    rows = np.column_stack((np.ones(len(places)), places[:, 1:] - centre))
    across = left - right
    slope_rows = np.tile(np.eye(3)[1:], (len(left), 1))
    slopes = (-across[:, 1:] / across[:, :1]).ravel()
    slope_trust = np.repeat((across[:, 0] / NORMAL_MM) ** 2, 2)
    matrix = np.vstack((rows, slope_rows, np.eye(3)[1:]))
    target = np.concatenate((places[:, 0], slopes, np.zeros(2)))
    trust = np.concatenate((trust, slope_trust, np.full(2, TILT**-2)))
    return _fit(matrix, target, trust, centre, robust=len(rows))


def _fit(
    matrix: npt.NDArray[np.float64],
    target: npt.NDArray[np.float64],
    trust: npt.NDArray[np.float64],
    centre: npt.NDArray[np.float64],
    *,
    robust: int,
) -> Midplane:
    """Return the plane; the first `robust` rows count less the worse they fit."""
    own = trust.copy()
    values: npt.NDArray[np.floating]
    for _ in range(ITERATIONS):
        normal = matrix.T @ (own[:, None] * matrix)
        values = np.linalg.solve(normal, matrix.T @ (own * target))
        misfit = (target - matrix @ values)[:robust] / (2 * MIDDLE_MM)
        own[:robust] = trust[:robust] / (1.0 + misfit**2)
    return Midplane(
        np.asarray(values, np.float64),
        np.asarray(np.linalg.inv(normal), np.float64),
        centre,
    )


def _middle_points(pieces: Pieces) -> tuple[Points, npt.NDArray[np.float64]]:
    """Return the middles of the middle organs' levels, and what each weighs.

    Levels that reach the scan's side are left out: the scan may cut them.
    """
    found, weights = [np.empty((0, 3))], [np.empty(0)]
    for name in MIDDLE_ORGANS:
        parts = pieces.of(organ(name).label)
        if not parts:
            continue
        levels = _level_middles(pieces, parts[0])
        found.append(levels)
        weights.append(
            np.full(len(levels), min(1.0, MOST_LEVELS / max(1, len(levels))))
        )
    return np.vstack(found), np.concatenate(weights)


def _level_middles(pieces: Pieces, piece: Piece) -> Points:
    index = pieces.index[:, pieces.number == piece.number]
    points = pieces.grid.index_to_world(index[::-1].T)
    level = np.floor(points[:, 2] / LEVEL_MM).astype(np.int64)
    _, number = np.unique(level, return_inverse=True)
    counts = np.bincount(number)
    middles = np.stack([np.bincount(number, weights=p) / counts for p in points.T], 1)
    axis = side_axis(pieces.grid)
    along = index[2 - axis]
    edge = (along == 0) | (along == pieces.grid.size[axis] - 1)
    return middles[np.bincount(number, weights=edge) == 0]


def side_axis(grid: Grid) -> int:
    """Return which of the grid's axes (x, y, z) runs most from right to left."""
    return int(np.abs(np.array(grid.direction)[0]).argmax())


def _pair_centres(pieces: Pieces, pairs: Mapping[int, int]) -> tuple[Points, Points]:
    """Return the centres, left and right, of pairs that are surely both there."""
    left, right = [np.empty((0, 3))], [np.empty((0, 3))]
    for label in pairs:
        parts = pieces.of(label)[:2]
        if len(parts) < 2 or parts[1].voxels < LEAST_PARTNER * parts[0].voxels:
            continue
        low, high = sorted((each.centre for each in parts), key=lambda at: at[0])
        if high[0] - low[0] > APART_MM:
            left.append(high[None])
            right.append(low[None])
    return np.vstack(left), np.vstack(right)


def _sides(
    piece: Piece, pieces: Pieces, plane: Midplane | None
) -> npt.NDArray[np.int8]:
    """Return each voxel's side: 1 left, -1 right, 0 in doubt."""
    points = pieces.points(piece.number)
    doubt = np.zeros(len(points), np.int8)
    if plane is None:
        return doubt
    sides = np.where(plane.distance_mm(points) > 0, 1, -1).astype(np.int8)
    middle = piece.centre[None]
    distance = float(plane.distance_mm(middle)[0])
    deviation = float(plane.deviation_mm(middle)[0])
    share = float(np.mean(sides > 0))
    if max(share, 1 - share) < WHOLE_SHARE:
        return sides if deviation <= PARTING_MM else doubt
    if abs(distance) < max(LEAST_MM, SURE_DEVIATIONS * deviation):
        return doubt
    return np.full(len(points), 1 if share > 0.5 else -1, np.int8)


def _contradicts(parts: tuple[Piece, ...], given: list[npt.NDArray[np.int8]]) -> bool:
    """Whether two pieces that belong to two sides were given the same one."""
    if len(parts) < 2 or parts[1].voxels < LEAST_PARTNER * parts[0].voxels:
        return False
    apart = abs(float(parts[0].centre[0] - parts[1].centre[0]))
    return apart > APART_MM and bool(given[0].sum() * given[1].sum() > 0)
