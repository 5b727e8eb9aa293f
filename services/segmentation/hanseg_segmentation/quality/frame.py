"""How the average patient is laid onto this one: a similarity, robustly fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.quality.anatomy import Anatomy
from hanseg_shared.grid import Points

FEWEST_ANCHORS = 3
"""Organs that must agree before a frame says where others are."""

CAPTURE_MM = 40.0
"""Organs whose offsets differ by less may belong to one frame: a nod of the head by 20
degrees moves the larynx by so much against the eyes."""

OUTLIER_MM = 12.0
"""Residual at which an organ counts half (Cauchy weights, Holland and Welsch 1977,
doi 10.1080/03610927708827533)."""

AGREEMENT_MM = 25.0
"""Residual up to which an organ agrees with a frame."""

ITERATIONS = 20

SCALE_LIMITS = (0.7, 1.3)
"""Smallest and largest head, as a share of the average one."""

PRIOR_MM = 40.0
"""Arms of a cross of points that hold the frame upright..."""

PRIOR_WEIGHT = 0.15
"""... each with this share of a usual organ's weight, so that few or collinear organs
do not turn the frame."""

EXTRAPOLATION = 0.1
"""Uncertainty that is added for each millimetre away from the organs that agree."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """Maps the average patient's millimetres to this patient's LPS millimetres.

    Attributes:
        scale: Size of this patient.
        rotation: Rotation matrix ``(3, 3)``.
        offset: Where the average brain stem's centroid comes to lie, ``(3,)``.
        anchors: The organs that agree with it.
        centre: The middle of those organs, in the average patient's millimetres.
    """

    scale: float
    rotation: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    anchors: tuple[str, ...]
    centre: npt.NDArray[np.float64]

    def place(self, points: npt.ArrayLike) -> Points:
        """Return where points ``(..., 3)`` of the average patient are in this one."""
        moved: Points = self.scale * (np.asarray(points) @ self.rotation.T)
        return moved + self.offset

    def unplace(self, points: npt.ArrayLike) -> Points:
        """Return where points ``(..., 3)`` of this patient are in the average one."""
        back: Points = (np.asarray(points) - self.offset) @ self.rotation
        return back / self.scale

    def uncertainty_mm(self, point: npt.ArrayLike, spread_mm: float) -> float:
        """Return how far from `place(point)` a landmark may be, as a deviation."""
        distance = float(np.linalg.norm(np.asarray(point) - self.centre))
        return float(np.hypot(spread_mm, EXTRAPOLATION * distance))


def fit_frame(landmarks: Mapping[str, Points], anatomy: Anatomy) -> Frame | None:
    """Return the frame most landmarks agree with, or None if too few do.

    Args:
        landmarks: Where organs were found, mm LPS, by name. Some may be wrong.
        anatomy: Where they are expected.
    """
    names = sorted(landmarks)
    if len(names) < FEWEST_ANCHORS:
        return None
    found = np.array([landmarks[name] for name in names])
    expected = np.array([anatomy.organs[name].place_mm for name in names])
    spread = np.array([anatomy.organs[name].spread_mm for name in names])
    trust = 1.0 / (spread**2 + 4.0**2)
    trust /= np.median(trust)
    scale, rotation, offset = 1.0, np.eye(3), _common_offset(found - expected, trust)
    for _ in range(ITERATIONS):
        residual = _residuals(found, expected, scale, rotation, offset)
        weights = trust / (1.0 + (residual / OUTLIER_MM) ** 2)
        scale, rotation, offset = _similarity(expected, found, weights)
    agrees = _residuals(found, expected, scale, rotation, offset) < AGREEMENT_MM
    if agrees.sum() < FEWEST_ANCHORS:
        return None
    anchors = tuple(name for name, yes in zip(names, agrees, strict=True) if yes)
    return Frame(scale, rotation, offset, anchors, expected[agrees].mean(axis=0))


def _common_offset(offsets: Points, trust: npt.NDArray[np.float64]) -> Points:
    """Return the mean of those offsets that lie around the most supported one."""
    distance = np.linalg.norm(offsets[:, None] - offsets[None], axis=-1)
    near = distance < CAPTURE_MM
    best = near[int((near * trust).sum(axis=1).argmax())]
    return np.average(offsets[best], axis=0, weights=trust[best])


def _residuals(
    found: Points,
    expected: Points,
    scale: float,
    rotation: npt.NDArray[np.float64],
    offset: Points,
) -> npt.NDArray[np.float64]:
    predicted = scale * expected @ rotation.T + offset
    return np.linalg.norm(found - predicted, axis=1)


def _similarity(
    source: Points, target: Points, weights: npt.NDArray[np.float64]
) -> tuple[float, npt.NDArray[np.float64], Points]:
    """Return scale, rotation and offset of the weighted least squares similarity.

    Umeyama 1991, doi 10.1109/34.88573, with a cross of prior points that only move.
    """
    middle = np.average(source, axis=0, weights=weights)
    cross = middle + PRIOR_MM * np.vstack((np.eye(3), -np.eye(3)))
    shift = np.average(target - source, axis=0, weights=weights)
    source = np.vstack((source, cross))
    target = np.vstack((target, cross + shift))
    weights = np.concatenate((weights, np.full(6, PRIOR_WEIGHT * weights.max())))
    mean_source = np.average(source, axis=0, weights=weights)
    mean_target = np.average(target, axis=0, weights=weights)
    a, b = source - mean_source, target - mean_target
    u, values, vt = np.linalg.svd((b * weights[:, None]).T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = (u * signs) @ vt
    scale = float((values * signs).sum() / (weights * (a**2).sum(axis=1)).sum())
    scale = float(np.clip(scale, *SCALE_LIMITS))
    return scale, rotation, mean_target - scale * rotation @ mean_source
