"""Where organs can lie and how large they are, as simulated patients show it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_segmentation.training.label_sets import CLASSES
from hanseg_shared.grid import Vector
from hanseg_shared.organs import ORGANS, counterpart
from hanseg_shared.phantom.patient import Patient

PATIENTS = 40
"""How many simulated patients are looked at."""

STEP_MM = 6
"""How finely they are sampled."""

MARGIN_MM = (12.0, 20.0, 20.0)
"""How much further (x, y, z) real patients may differ."""

NECK_MARGIN_Z_MM = 40.0
"""The same along z for organs below the jaw: necks differ more."""

MIDPLANE_ORGANS = ("OpticChiasm", "Pituitary")
"""Small organs on the skull base, that no patient has beside its midplane."""

MIDPLANE_MARGIN_MM = (0.0, 10.0, 20.0)
"""Their margin: a model that may put them further off does, in the petrous bone."""

NECK_TOP_MM = -60.0
"""Organs that never reach above this are the neck's."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an organ can lie at all, and its usual size.

    Attributes:
        low: Corner of the box, in mm LPS from the brain stem's centroid.
        high: The opposite corner.
        mean_ml: Mean volume.
    """

    low: Vector
    high: Vector
    mean_ml: float

    @property
    def box_ml(self) -> float:
        """Volume of the box."""
        return math.prod(np.subtract(self.high, self.low)) / 1000.0


@cache
def places_of_organs() -> dict[int, Place]:
    """Return each organ's place, by label; left and right ones are mirror images."""
    x, y, z = (
        np.arange(a, b, STEP_MM, dtype=np.float32)
        for a, b in ((-90, 91), (-140, 100), (-230, 70))
    )
    points = np.meshgrid(z, y, x, indexing="ij")
    low, high = np.full((CLASSES, 3), np.inf), np.full((CLASSES, 3), -np.inf)
    voxels = np.zeros(CLASSES)
    for seed in range(PATIENTS):
        patient = Patient.random(np.random.default_rng(seed))
        labels = patient.paint((points[2], points[1], points[0])).labels
        voxels += np.bincount(labels.ravel(), minlength=CLASSES)
        for label, found in enumerate(ndimage.find_objects(labels, CLASSES - 1), 1):
            if found is not None:
                for k, (axis, span) in enumerate(
                    zip((x, y, z), found[::-1], strict=True)
                ):
                    low[label, k] = min(low[label, k], axis[span.start])
                    high[label, k] = max(high[label, k], axis[span.stop - 1])
    mean_ml = voxels * STEP_MM**3 / 1000.0 / PATIENTS
    return _symmetric(low, high, mean_ml)


def _symmetric(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    mean_ml: npt.NDArray[np.float64],
) -> dict[int, Place]:
    """Return the places, each as large as it and its mirror image need."""
    places = {}
    for each in ORGANS:
        twin = counterpart(each) or each
        a, b = low[each.label], high[each.label]
        c, d = low[twin.label], high[twin.label]
        in_midplane = each.name in MIDPLANE_ORGANS
        margin = list(MIDPLANE_MARGIN_MM if in_midplane else MARGIN_MM)
        if max(b[2], d[2]) < NECK_TOP_MM:
            margin[2] = NECK_MARGIN_Z_MM
        first = (min(a[0], -d[0]), min(a[1], c[1]), min(a[2], c[2]))
        last = (max(b[0], -c[0]), max(b[1], d[1]), max(b[2], d[2]))
        lx, ly, lz = (float(v - m) for v, m in zip(first, margin, strict=True))
        hx, hy, hz = (float(v + m) for v, m in zip(last, margin, strict=True))
        size = float(mean_ml[each.label] + mean_ml[twin.label]) / 2
        places[each.label] = Place((lx, ly, lz), (hx, hy, hz), size)
    return places
