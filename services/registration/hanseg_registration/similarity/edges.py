"""Whether the MR's edges lie where the CT's skin and bone are.

Mutual information, which places the MR, knows nothing of where an edge is. These two
questions are therefore asked besides, of the MR at its pose: how far from the CT's skin
does the MR turn from bright to dark, and is it darker in dense bone, which has no
signal, than in the tissue beside it? The answers are in millimetres and shares, so
that they mean the same for every scanner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_registration.geometry.head import Head
from hanseg_registration.geometry.motions import Motion, apply
from hanseg_registration.geometry.sampling import look_up
from hanseg_shared.grid import Points
from hanseg_shared.volume import Mask, Volume

SMALLEST_SLOPE = 0.1
"""Change of the blurred head per cube below which no way is outward."""

REACH_MM = 12.0
"""How far inward and outward of the CT's skin the MR's is looked for."""

WATER_HU = 0.0
"""Clipped to this a CT falls nowhere but where tissue ends in air: not beside bone."""

STEP_MM = 1.0
"""Step of that search."""

NEAR_MM = 3.0
"""Edges that are nearer to each other than this agree."""

BONE_HU = 300.0
"""Denser than this is bone, tooth or metal: dark in an MR but for marrow."""

SOFT_TISSUE_HU = (25.0, 90.0)
"""Brain, muscle and glands: brighter than bone in a T1 image."""

BESIDE_BONE_MM = (3.0, 15.0)
"""How far from the bone the tissue lies that it is compared with."""

TRIES = 12
"""Random places beside a point of bone that are tried for soft tissue."""

POINTS = 3000
"""Points of the skin, and of the bone."""

FEWEST_POINTS = 100
"""With fewer of them in the MR's data there is no answer."""

SEED = 907
"""Draws the points."""


@dataclass(frozen=True, slots=True)
class EdgeAgreement:
    """How well the MR's edges lie on the CT's; None where the MR shows too few.

    Attributes:
        skin_distance_mm: Median distance between the CT's skin and the nearest place
            along its normal where the MR turns dark, at most `REACH_MM`.
        skin_near_share: Share of the CT's skin within `NEAR_MM` of that place.
        bone_darker_share: Share of the dense bone where the MR is darker than in the
            tissue beside it; a half says that the MR knows nothing of the bone.
    """

    skin_distance_mm: float | None
    skin_near_share: float | None
    bone_darker_share: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """The CT's skin and bone, as points in mm LPS.

    Attributes:
        skin: Points on the skin, ``(n, 3)``.
        outward: Unit vectors from there into the air, ``(n, 3)``.
        bone: Points in dense bone, ``(m, 3)``.
        beside: The nearest soft tissue of each, ``(m, 3)``.
    """

    skin: Points
    outward: Points
    bone: Points
    beside: Points

    @classmethod
    def of(cls, ct: Volume, head: Head) -> Edges:
        """Find them in a CT in HU, at about 2 mm, within its head."""
        rng = np.random.default_rng(SEED)
        skin, outward = _skin(ct, head, rng)
        bone, beside = _bone(ct, head, rng)
        return cls(skin, outward, bone, beside)

    def deformed(self, displacement_mm: Callable[[Points], Points]) -> Edges:
        """Return the edges after points of the CT were moved, as a deformation does.

        Args:
            displacement_mm: How far each of some points moves, ``(n, 3)``.
        """
        return replace(
            self,
            skin=self.skin + displacement_mm(self.skin),
            bone=self.bone + displacement_mm(self.bone),
            beside=self.beside + displacement_mm(self.beside),
        )

    def agreement(self, mr: Volume, data: Volume, mr_from_ct: Motion) -> EdgeAgreement:
        """Return how well an MR's edges lie on these at a pose.

        Args:
            mr: The MR, at full or reduced resolution.
            data: 1 where it was measured; the border of what was not is no edge.
            mr_from_ct: The pose.
        """
        distances = self._skin_distances(mr, data, mr_from_ct)
        darker = self._darker(mr, data, mr_from_ct)
        skin_is_seen = len(distances) >= FEWEST_POINTS
        bone_is_seen = len(darker) >= FEWEST_POINTS
        return EdgeAgreement(
            skin_distance_mm=float(np.median(distances)) if skin_is_seen else None,
            skin_near_share=(
                float((distances <= NEAR_MM).mean()) if skin_is_seen else None
            ),
            bone_darker_share=float(darker.mean()) if bone_is_seen else None,
        )

    def _skin_distances(self, mr: Volume, data: Volume, pose: Motion) -> Points:
        """Return how far the MR's skin lies from each point of the CT's, in mm."""
        skin, outward = self.skin, self.outward
        ends = np.array([-REACH_MM, REACH_MM])[:, None]
        shown = _measured(data, apply(pose, skin[:, None] + ends * outward[:, None]))
        skin, outward = skin[shown.all(axis=1)], outward[shown.all(axis=1)]
        offsets, _ = _falls(mr, apply(pose, skin), outward @ pose[:3, :3].T)
        return np.abs(offsets)

    def _darker(self, mr: Volume, data: Volume, pose: Motion) -> Mask:
        """Return where the MR is darker in bone than beside it."""
        bone, beside = apply(pose, self.bone), apply(pose, self.beside)
        shown = _measured(data, bone) & _measured(data, beside)
        inside, outside = look_up(mr, bone[shown])[0], look_up(mr, beside[shown])[0]
        return np.asarray(inside < outside)


def _skin(ct: Volume, head: Head, rng: np.random.Generator) -> tuple[Points, Points]:
    """Return points of the CT's skin, and which way is outward there.

    The border of the head's cubes says about where, and which way; along that way the
    skin is where the CT falls most.
    """
    air = head.mask & ~head.body
    border = head.body & ndimage.binary_dilation(air)
    index = _some(np.argwhere(border), rng)
    slopes = np.gradient(ndimage.gaussian_filter(head.body.astype(np.float32), 1.0))
    z, y, x = index.T
    inward = np.stack([slope[z, y, x] for slope in slopes[::-1]], axis=-1)
    length = np.linalg.norm(inward, axis=-1, keepdims=True)
    steep = length[:, 0] > SMALLEST_SLOPE
    outward = -inward[steep] / length[steep]
    about = head.coarse.grid.index_to_world(index[steep][:, ::-1])
    soft = ct.with_array(np.minimum(ct.array, WATER_HU))
    offsets, inside = _falls(soft, about, outward)
    return (about + offsets[:, None] * outward)[inside], outward[inside]


def _falls(image: Volume, points: Points, outward: Points) -> tuple[Points, Mask]:
    """Return where, in mm along lines, an image falls most.

    Args:
        image: A CT or an MR: the body is brighter than the air.
        points: The middles of the lines, ``(n, 3)`` in mm LPS.
        outward: Their directions, ``(n, 3)``.

    Returns:
        The offsets from the points, ``(n,)``, and which lines lie in the image.
    """
    offsets = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    lines = points[:, None] + offsets[:, None] * outward[:, None]
    values, inside = look_up(image, lines.reshape(-1, 3))
    values, inside = values.reshape(lines.shape[:2]), inside.reshape(lines.shape[:2])
    fall = values[:, :-2] - values[:, 2:]
    return offsets[1:-1][fall.argmax(axis=1)], np.asarray(inside.all(axis=1))


def _bone(ct: Volume, head: Head, rng: np.random.Generator) -> tuple[Points, Points]:
    """Return points in dense bone, and for each one in soft tissue beside it."""
    bone = _some(np.argwhere(ct.array >= BONE_HU)[:, ::-1], rng, POINTS * 2)
    points = ct.grid.index_to_world(bone)
    points = points[_nearest(head.coarse.with_array(head.mask), points) > 0][:POINTS]
    if len(points) == 0:
        return points, points
    way = rng.normal(size=(len(points), TRIES, 3))
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    way *= rng.uniform(*BESIDE_BONE_MM, (len(points), TRIES, 1))
    tried = points[:, None] + way
    density = _nearest(ct, tried)
    soft = (density >= SOFT_TISSUE_HU[0]) & (density <= SOFT_TISSUE_HU[1])
    has = soft.any(axis=1)
    first = soft.argmax(axis=1)
    return points[has], tried[np.arange(len(points)), first][has]


def _some(
    index: npt.NDArray[np.int64], rng: np.random.Generator, count: int = POINTS
) -> npt.NDArray[np.int64]:
    """Return up to `count` rows, drawn at random."""
    return rng.permutation(index)[:count] if len(index) > count else index


def _measured(data: Volume, points: Points) -> Mask:
    """Return which points, ``(..., 3)`` in mm LPS, lie where the MR has data."""
    return np.asarray(_nearest(data, points) > 0)


def _nearest(volume: Volume, points: Points) -> npt.NDArray[np.floating]:
    """Return the voxels nearest to points, ``(..., 3)`` in mm LPS; 0 beyond them."""
    index = np.rint(volume.grid.world_to_index(points)).astype(np.int64)
    inside = np.all((index >= 0) & (index < volume.grid.size), axis=-1)
    x, y, z = np.moveaxis(np.where(inside[..., None], index, 0), -1, 0)
    return np.where(inside, volume.array[z, y, x], 0.0)
