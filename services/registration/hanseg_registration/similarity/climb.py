"""A climb from a pose to the best one near it, without elastix, and how far it leads.

A right pose is a local maximum of the similarity: no small shift or turn raises it. A
pose that was read from a wrong header, or at which an optimiser got stuck, is not, and
a climb leads away from it. How far, the drift, is an estimate in millimetres of how
wrong the pose is; it needs neither a second run nor a reference.
"""

from __future__ import annotations

import numpy as np

from hanseg_registration.geometry.motions import (
    Motion,
    distances_mm,
    rotation,
    translation,
)
from hanseg_registration.similarity.similarity import Similarity

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
    end = climb(similarity, mr_from_ct)
    return float(distances_mm(end, mr_from_ct, similarity.points).mean())


def climb(similarity: Similarity, mr_from_ct: Motion) -> Motion:
    """Return the pose reached by taking the best small shift or turn repeatedly.

    Args:
        similarity: Compares the images; `POINTS` of its points are used.
        mr_from_ct: Where the climb starts.
    """
    similarity = similarity.thin(POINTS)
    centre = similarity.points.mean(axis=0)
    pose, best = mr_from_ct, similarity.at(mr_from_ct)
    for mm, deg in STEPS:
        moves = [translation(way * mm) for way in _directions()]
        moves += [rotation(way * deg, centre=centre) for way in _directions()]
        for _ in range(MOVES_PER_STEP):
            poses = [pose @ move for move in moves]
            scores = [similarity.at(each) for each in poses]
            first = int(np.argmax(scores))
            if scores[first] <= best:
                break
            pose, best = poses[first], scores[first]
    return pose


def _directions() -> list[np.ndarray]:
    """Return the six directions along the axes."""
    return [*np.eye(3), *-np.eye(3)]
