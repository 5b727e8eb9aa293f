"""Where organs can lie and how large they are, as simulated patients show it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.phantom.patient import Patient
from hanseg_lab.training.label_sets import CLASSES
from hanseg_shared.grid import Vector
from hanseg_shared.organs import ORGANS, counterpart, organ
from hanseg_shared.volume import LabelMap

PATIENTS = 40
"""How many simulated patients are looked at."""

STEP_MM = 6
"""How finely they are sampled."""

FINE_STEP_MM = 2
"""The same for the organs on the sella."""

MARGIN_MM = (12.0, 20.0, 20.0)
"""How much further (x, y, z) real patients may differ."""

NECK_MARGIN_Z_MM = 40.0
"""The same along z for organs below the jaw: necks differ more."""

MIDPLANE_ORGANS = ("OpticChiasm", "Pituitary")
"""Small organs on the skull base, that no patient has beside its midplane."""

MIDPLANE_MARGIN_MM = (0.0, 10.0, 20.0)
"""Their margin: a model that may put them further off does, in the petrous bone."""

SURE_SHARE = 0.5
"""So near its middle, as a share of half its smallest extent, a voxel is taken to be
an organ whose middle was seen."""

FURTHER_MM = 4.0
"""How much further than in simulated patients an organ may reach from its middle."""

NECK_TOP_MM = -60.0
"""Organs that never reach above this are the neck's."""


AXES_MM = tuple(
    np.arange(low, high, STEP_MM, dtype=np.float32)
    for low, high in ((-90, 91), (-140, 100), (-230, 70))
)
"""The points (x, y, z) that are looked at, from the brain stem's centroid."""


@dataclass(frozen=True, slots=True)
class OrganPlace:
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


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an organ lies in a patient whose sella was seen.

    Attributes:
        middle: Its middle, in mm LPS from the brain stem's centroid.
        reach: How far from there along each axis it can extend, in mm.
        sure_mm: How near its middle a voxel is taken to be it.
    """

    middle: Vector
    reach: Vector
    sure_mm: float

    @property
    def volume_ml(self) -> float:
        """Volume of the ellipsoid in which it can lie."""
        return math.pi / 6 * math.prod(2 * each for each in self.reach) / 1000.0


@cache
def simulated_labels() -> tuple[LabelMap, ...]:
    """Return the labels of simulated patients at `AXES_MM`, indexed z, y, x."""
    return tuple(_paint_patients(AXES_MM))


def _paint_patients(axes: Sequence[npt.NDArray[np.float32]]) -> Iterator[LabelMap]:
    """Yield the labels of simulated patients at some points, indexed z, y, x."""
    z, y, x = np.meshgrid(*axes[::-1], indexing="ij")
    for seed in range(PATIENTS):
        yield Patient.random(np.random.default_rng(seed)).paint((x, y, z)).labels


@cache
def places_of_organs() -> dict[int, OrganPlace]:
    """Return each organ's place, by label; left and right ones are mirror images."""
    low, high = np.full((CLASSES, 3), np.inf), np.full((CLASSES, 3), -np.inf)
    voxels = np.zeros(CLASSES)
    for labels in simulated_labels():
        voxels += np.bincount(labels.ravel(), minlength=CLASSES)
        for label, found in enumerate(ndimage.find_objects(labels, CLASSES - 1), 1):
            if found is not None:
                for k, (axis, span) in enumerate(
                    zip(AXES_MM, found[::-1], strict=True)
                ):
                    low[label, k] = min(low[label, k], axis[span.start])
                    high[label, k] = max(high[label, k], axis[span.stop - 1])
    mean_ml = voxels * STEP_MM**3 / 1000.0 / PATIENTS
    return _symmetric(low, high, mean_ml)


def _symmetric(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    mean_ml: npt.NDArray[np.float64],
) -> dict[int, OrganPlace]:
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
        places[each.label] = OrganPlace((lx, ly, lz), (hx, hy, hz), size)
    return places


def spots_about(sella: Vector) -> dict[str, Spot]:
    """Return where pituitary and chiasm lie, given the middle of the sella's fossa.

    The chiasm is as far above the pituitary as in simulated patients.

    Args:
        sella: In mm LPS from the brain stem's centroid.
    """
    usual = _midplane_organs()
    pituitary, _ = usual["Pituitary"]
    return {
        name: Spot(
            _vector(np.add(sella, middle - pituitary)),
            _vector(half + FURTHER_MM),
            SURE_SHARE * float(half.min()),
        )
        for name, (middle, half) in usual.items()
    }


@cache
def usual_spots() -> dict[int, Spot]:
    """Return the spots of a simulated patient's organs on the sella, by label."""
    pituitary, _ = _midplane_organs()["Pituitary"]
    spots = spots_about(_vector(pituitary))
    return {organ(name).label: spot for name, spot in spots.items()}


@cache
def _midplane_organs() -> dict[
    str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
]:
    """Return each midplane organ's mean middle and half its mean extent, in mm."""
    ranges = ((-30, 30), (-66, 0), (-20, 66))
    axes = [
        np.arange(low, high, FINE_STEP_MM, dtype=np.float32) for low, high in ranges
    ]
    places: dict[str, list[tuple[npt.NDArray[np.float64], ...]]] = {}
    for labels in _paint_patients(axes):
        for name in MIDPLANE_ORGANS:
            at = np.nonzero(labels == organ(name).label)
            points = np.stack(
                [axis[k] for axis, k in zip(axes, at[::-1], strict=True)], axis=1
            ).astype(np.float64)
            half = (np.ptp(points, axis=0) + FINE_STEP_MM) / 2
            places.setdefault(name, []).append((points.mean(axis=0), half))
    return {
        name: (np.mean([m for m, _ in found], 0), np.mean([h for _, h in found], 0))
        for name, found in places.items()
    }


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = values.tolist()
    return x, y, z
