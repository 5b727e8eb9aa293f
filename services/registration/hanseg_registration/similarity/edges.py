"""Whether the MR's edges are where the CT's skin and bone are.

Mutual information, which places the MR, does not use the location of edges. Two
further quantities are therefore measured at the pose: how far from the CT's skin the
MR turns from bright to dark, and whether the MR is darker in dense bone, which has no
signal, than in the tissue nearby. They are in millimetres and shares, so that they mean
the same for every scanner.
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
"""Change of the blurred head per cube below which no direction is outward."""

REACH_MM = 12.0
"""How far inward and outward of the CT's skin the MR's is looked for."""

WATER_HU = 0.0
"""A CT clipped to this falls only where tissue ends in air, not next to bone."""

STEP_MM = 1.0
"""Step of that search."""

NEAR_MM = 3.0
"""Edges that are nearer to each other than this agree."""

BONE_HU = 300.0
"""Denser than this is bone, tooth or metal: dark in an MR except for marrow."""

SOFT_TISSUE_HU = (25.0, 90.0)
"""Brain, muscle and glands: brighter than bone in a T1 image."""

AROUND_BONE_MM = (3.0, 15.0)
"""Distance from the bone of the tissue that it is compared with."""

TRIES = 12
"""Random places around a point of bone that are tried for soft tissue."""

POINTS = 3000
"""Points of the skin, and of the bone."""

FEWEST_POINTS = 100
"""With fewer of them in the MR's data nothing is measured."""

SEED = 907
"""Seed of the choice of points."""


@dataclass(frozen=True, slots=True)
class EdgeAgreement:
    """How well the MR's edges match the CT's; None where the MR shows too few.

    Attributes:
        skin_distance_mm: Median distance between the CT's skin and the nearest place
            along its normal where the MR turns dark, at most `REACH_MM`.
        skin_near_share: Share of the CT's skin within `NEAR_MM` of that place.
        bone_darker_share: Share of the dense bone where the MR is darker than in the
            tissue nearby; a half is what chance gives.
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
        soft_tissue: A point in soft tissue near each, ``(m, 3)``.
    """

    skin: Points
    outward: Points
    bone: Points
    soft_tissue: Points

    @classmethod
    def of(cls, ct: Volume, head: Head) -> Edges:
        """Find them in a CT in HU, at about 2 mm, within its head."""
        rng = np.random.default_rng(SEED)
        skin, outward = _find_skin(ct, head, rng)
        bone, soft_tissue = _find_bone(ct, head, rng)
        return cls(skin, outward, bone, soft_tissue)

    def deform(self, displacement_mm: Callable[[Points], Points]) -> Edges:
        """Return the edges after points of the CT were moved by a deformation.

        Args:
            displacement_mm: How far each of some points moves, ``(n, 3)``.
        """
        return replace(
            self,
            skin=self.skin + displacement_mm(self.skin),
            bone=self.bone + displacement_mm(self.bone),
            soft_tissue=self.soft_tissue + displacement_mm(self.soft_tissue),
        )

    def agreement(self, mr: Volume, data: Volume, mr_from_ct: Motion) -> EdgeAgreement:
        """Return how well an MR's edges match these at a pose.

        Args:
            mr: The MR, at full or reduced resolution.
            data: 1 where it was measured; the border of what was not does not count
                as an edge.
            mr_from_ct: The pose.
        """
        distances = self._skin_distances(mr, data, mr_from_ct)
        darker = self._is_darker(mr, data, mr_from_ct)
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
        """Return the distance of the MR's skin from each point of the CT's, in mm."""
        skin, outward = self.skin, self.outward
        ends = np.array([-REACH_MM, REACH_MM])[:, None]
        shown = _has_data(data, apply(pose, skin[:, None] + ends * outward[:, None]))
        skin, outward = skin[shown.all(axis=1)], outward[shown.all(axis=1)]
        offsets, _ = _find_falls(mr, apply(pose, skin), outward @ pose[:3, :3].T)
        return np.abs(offsets)

    def _is_darker(self, mr: Volume, data: Volume, pose: Motion) -> Mask:
        """Return at which points of bone the MR is darker than in the tissue nearby."""
        bone, tissue = apply(pose, self.bone), apply(pose, self.soft_tissue)
        shown = _has_data(data, bone) & _has_data(data, tissue)
        in_bone, in_tissue = (look_up(mr, each[shown])[0] for each in (bone, tissue))
        return np.asarray(in_bone < in_tissue)


def _find_skin(
    ct: Volume, head: Head, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Return points of the CT's skin, and which way is outward there.

    The border of the head's cubes gives the approximate place and direction; along that
    direction the skin is where the CT falls most.
    """
    air = head.mask & ~head.body
    border = head.body & ndimage.binary_dilation(air)
    index = _pick_some(np.argwhere(border), rng)
    slopes = np.gradient(ndimage.gaussian_filter(head.body.astype(np.float32), 1.0))
    z, y, x = index.T
    inward = np.stack([slope[z, y, x] for slope in slopes[::-1]], axis=-1)
    length = np.linalg.norm(inward, axis=-1, keepdims=True)
    steep = length[:, 0] > SMALLEST_SLOPE
    outward = -inward[steep] / length[steep]
    about = head.coarse.grid.index_to_world(index[steep][:, ::-1])
    soft = ct.with_array(np.minimum(ct.array, WATER_HU))
    offsets, inside = _find_falls(soft, about, outward)
    return (about + offsets[:, None] * outward)[inside], outward[inside]


def _find_falls(image: Volume, points: Points, outward: Points) -> tuple[Points, Mask]:
    """Return where, in mm along lines, an image falls most.

    Args:
        image: A CT or an MR: the body is brighter than the air.
        points: The middles of the lines, ``(n, 3)`` in mm LPS.
        outward: Their directions, ``(n, 3)``.

    Returns:
        The offsets from the points, ``(n,)``, and which lines are within the image.
    """
    offsets = np.arange(-REACH_MM, REACH_MM + STEP_MM / 2, STEP_MM)
    lines = points[:, None] + offsets[:, None] * outward[:, None]
    values, inside = look_up(image, lines.reshape(-1, 3))
    values, inside = values.reshape(lines.shape[:2]), inside.reshape(lines.shape[:2])
    fall = values[:, :-2] - values[:, 2:]
    return offsets[1:-1][fall.argmax(axis=1)], np.asarray(inside.all(axis=1))


def _find_bone(
    ct: Volume, head: Head, rng: np.random.Generator
) -> tuple[Points, Points]:
    """Return points in dense bone, and for each a point in soft tissue nearby."""
    bone = _pick_some(np.argwhere(ct.array >= BONE_HU)[:, ::-1], rng, POINTS * 2)
    points = ct.grid.index_to_world(bone)
    points = points[_nearest_voxels(head.coarse.with_array(head.mask), points) > 0][
        :POINTS
    ]
    if len(points) == 0:
        return points, points
    way = rng.normal(size=(len(points), TRIES, 3))
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    way *= rng.uniform(*AROUND_BONE_MM, (len(points), TRIES, 1))
    tried = points[:, None] + way
    density = _nearest_voxels(ct, tried)
    soft = (density >= SOFT_TISSUE_HU[0]) & (density <= SOFT_TISSUE_HU[1])
    has = soft.any(axis=1)
    first = soft.argmax(axis=1)
    return points[has], tried[np.arange(len(points)), first][has]


def _pick_some(
    index: npt.NDArray[np.int64], rng: np.random.Generator, count: int = POINTS
) -> npt.NDArray[np.int64]:
    """Return up to `count` rows, chosen at random."""
    return rng.permutation(index)[:count] if len(index) > count else index


def _has_data(data: Volume, points: Points) -> Mask:
    """Return which points, ``(..., 3)`` in mm LPS, lie where the MR has data."""
    return np.asarray(_nearest_voxels(data, points) > 0)


def _nearest_voxels(volume: Volume, points: Points) -> npt.NDArray[np.floating]:
    """Return the voxels nearest to points, ``(..., 3)`` in mm LPS; 0 beyond them."""
    index = np.rint(volume.grid.world_to_index(points)).astype(np.int64)
    inside = np.all((index >= 0) & (index < volume.grid.size), axis=-1)
    x, y, z = np.moveaxis(np.where(inside[..., None], index, 0), -1, 0)
    return np.where(inside, volume.array[z, y, x], 0.0)
