"""How far a pose is from the best one near it: a climb that elastix has no part in.

A right pose is a summit of the similarity: no small shift or turn betters it. A pose
that was read from a wrong header, or in which an optimiser got stuck, lies on a slope,
and a climb leaves it. How far it goes is an estimate, in millimetres, of how wrong the
pose is; it asks for no second run and no gold standard.
"""

from __future__ import annotations

import numpy as np

from hanseg_registration.geometry.motions import (
    Motion,
    distances_mm,
    rotation,
    translation,
)
from hanseg_registration.verdict import Similarity

STEPS = ((8.0, 8.0), (4.0, 4.0), (2.0, 2.0), (1.0, 1.0), (0.5, 0.5))
"""Steps of the climb: millimetres along, and degrees about, each axis."""

MOVES_PER_STEP = 8
"""The most moves of one size."""

POINTS = 5000
"""Points at which poses are compared."""


def drift_mm(similarity: Similarity, mr_from_ct: Motion) -> float:
    """Return how far a climb from a pose moves the CT's head, in mm, on average.

    Args:
        similarity: Compares the images; see `Similarity.at`.
        mr_from_ct: The pose in question.
    """
    end = climbed(similarity, mr_from_ct)
    return float(distances_mm(end, mr_from_ct, similarity.points).mean())


def climbed(similarity: Similarity, mr_from_ct: Motion) -> Motion:
    """Return the pose reached by the best of small shifts and turns, again and again.

    Args:
        similarity: Compares the images; `POINTS` of its points are used.
        mr_from_ct: Where the climb starts.
    """
    similarity = similarity.thinned(POINTS)
    centre = similarity.points.mean(axis=0)
    pose, best = mr_from_ct, similarity.at(mr_from_ct)
    for mm, deg in STEPS:
        moves = [translation(way * mm) for way in _ways()]
        moves += [rotation(way * deg, centre=centre) for way in _ways()]
        for _ in range(MOVES_PER_STEP):
            poses = [pose @ move for move in moves]
            scores = [similarity.at(each) for each in poses]
            first = int(np.argmax(scores))
            if scores[first] <= best:
                break
            pose, best = poses[first], scores[first]
    return pose


def _ways() -> list[np.ndarray]:
    """Return the six directions along the axes."""
    return [*np.eye(3), *-np.eye(3)]
