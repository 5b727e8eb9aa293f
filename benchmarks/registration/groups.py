"""The groups of cases that the benchmark runs, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from benchmarks.registration.cases import Case, rire, simulated
from benchmarks.registration.sabotage import aligned, sabotaged

from hanseg_shared.documents import TransformKind

MEAN_DEFORMATION_MM = 6.0
"""How far the deformable cases are bent, on average over what the MR shows."""

BENT = (*range(400, 419), 420)
"""Numbers of the simulated cases that are bent; 419 shows too little to be bent so far
without folding."""

AFFINE_STEP = 5
"""Every so many of the simulated cases is registered affinely as well."""


class Group(StrEnum):
    """What is registered, and what for."""

    RIRE = "rire"
    """A real patient from 200 random starts."""

    SIMULATED = "simulated"
    """Simulated MRs of real CTs: 140 of 100 mm and more, 60 shorter slabs."""

    SABOTAGED = "sabotaged"
    """What must not be used unless it lies where it belongs."""

    ALIGNED = "aligned"
    """Headers that are right, trusted: what must not be refused."""

    AFFINE = "affine"
    """Simulated cases whose truth is rigid, registered affinely."""

    DEFORMABLE = "deformable"
    """Bent patients, registered deformably."""


@dataclass(frozen=True, slots=True)
class Series:
    """A group's cases.

    Attributes:
        make: Makes a case by its number.
        numbers: The numbers of all of them.
    """

    make: Callable[[int], Case]
    numbers: Sequence[int]


def affine(number: int) -> Case:
    """Return a simulated case to register affinely."""
    return replace(simulated(number), kind=TransformKind.AFFINE)


def deformable(number: int) -> Case:
    """Return a bent patient to register deformably."""
    case = simulated(number, deformation_mm=MEAN_DEFORMATION_MM)
    return replace(case, kind=TransformKind.DEFORMABLE)


SERIES = {
    Group.RIRE: Series(rire, range(200)),
    Group.SIMULATED: Series(simulated, range(200)),
    Group.SABOTAGED: Series(sabotaged, range(100)),
    Group.ALIGNED: Series(aligned, range(10)),
    Group.AFFINE: Series(affine, range(0, 200, AFFINE_STEP)),
    Group.DEFORMABLE: Series(deformable, BENT),
}
