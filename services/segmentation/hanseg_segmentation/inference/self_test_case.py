"""The simulated patient of the self-test, who ships with the package.

`hanseg_lab.phantom.self_test_case` makes the file.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

import numpy as np

from hanseg_shared.grid import Grid, Points
from hanseg_shared.volume import Volume

FILE = "self_test_case.npz"


@dataclass(frozen=True, slots=True, eq=False)
class SelfTestCase:
    """A simulated head and neck.

    Attributes:
        ct: In HU, int16.
        t1: On the CT's grid, in arbitrary units, int16.
        centre: Centroid of all organs, mm LPS, ``(3,)``.
    """

    ct: Volume
    t1: Volume
    centre: Points


@functools.cache
def read_self_test_case() -> SelfTestCase:
    """Return the case that ships."""
    package = resources.files("hanseg_segmentation.inference")
    with package.joinpath(FILE).open("rb") as file, np.load(file) as stored:
        z, y, x = stored["ct"].shape
        grid = Grid((x, y, z), _triple(stored["spacing"]), _triple(stored["origin"]))
        return SelfTestCase(
            Volume(stored["ct"], grid), Volume(stored["t1"], grid), stored["centre"]
        )


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in values)
    return x, y, z
