"""Whether two CTs are of one patient: by their voxels, or by what they show.

A copy under another name, or with another header, has the same voxels. A resampled
one shows the same: it is shrunk about the same tissue to the same few voxels, and what
varies slowly, which heads have in common, is taken off. Among 244 real head-and-neck
CTs, different patients reach a likeness of 0.71, resampled copies have 0.88 or more;
see docs/reference/data-sets.md.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.training.allowed import TISSUE_HU
from hanseg_segmentation.inference.preprocess import AIR_HU, model_grid, to_model_grid
from hanseg_shared.volume import Volume

SAME_PATIENT = 0.8
"""A likeness above this is one patient's."""

SPACING_MM = 4.0
"""Images are first brought onto a grid of such voxels, in the patient's axes."""

EDGE = 32
"""Voxels along each axis of what is compared."""

EDGE_QUANTILE = 0.02
"""Share of the tissue along each axis that lies before, and behind, what is compared:
so a table's edge or a few noisy voxels move nothing."""

SLOW_SD = 2.0
"""What varies more slowly than a Gaussian of so many voxels is taken off."""

WINDOW_HU = (-300.0, 500.0)
"""HU are clipped to this, since metal and air differ without meaning."""

SMALLEST_LENGTH = 1e-6
"""A picture without any contrast is divided by this, not by zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What a CT is recognised by.

    Attributes:
        digest: SHA-256 of its voxels, whatever the header says.
        picture: What it shows: mean 0, length 1, float32 ``(EDGE ** 3,)``.
    """

    digest: str
    picture: npt.NDArray[np.float32]


def likeness_of(ct: Volume) -> Likeness:
    """Return what a CT in HU is recognised by."""
    digest = hashlib.sha256(np.ascontiguousarray(ct.array).tobytes()).hexdigest()
    grid = model_grid(ct.grid, spacing=(SPACING_MM,) * 3)
    hu = to_model_grid(ct, grid, background=AIR_HU).array
    return Likeness(digest, _picture(hu))


def same_patients(known: Mapping[str, Likeness]) -> Iterator[tuple[str, str, str]]:
    """Yield the names of two cases of one patient, and how that is known."""
    for one, other in itertools.combinations(known, 2):
        a, b = known[one], known[other]
        likeness = float(a.picture @ b.picture)
        if a.digest == b.digest:
            yield one, other, "the same voxels"
        elif likeness > SAME_PATIENT:
            yield one, other, f"the same content, likeness {likeness:.2f}"


def _picture(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    tissue = hu > TISSUE_HU
    if not tissue.any():
        return np.zeros(EDGE**3, np.float32)
    axes = [np.linspace(*_middle(tissue, axis), EDGE) for axis in range(3)]
    clipped = np.clip(hu, *WINDOW_HU)
    steps = [max(1, round(float(axis[1] - axis[0]))) for axis in axes]
    smooth = ndimage.uniform_filter(clipped, steps)
    points = np.meshgrid(*axes, indexing="ij")
    values = ndimage.map_coordinates(smooth, points, order=1)
    values -= ndimage.gaussian_filter(values, SLOW_SD)
    values -= values.mean()
    length = max(float(np.linalg.norm(values)), SMALLEST_LENGTH)
    picture: npt.NDArray[np.float32] = (values / length).ravel().astype(np.float32)
    return picture


def _middle(tissue: npt.NDArray[np.bool_], axis: int) -> tuple[float, float]:
    """Return between which voxels of an axis nearly all tissue lies."""
    others = tuple(each for each in range(3) if each != axis)
    grown = np.cumsum(tissue.sum(axis=others)) / np.count_nonzero(tissue)
    voxels = np.arange(len(grown))
    low, high = np.interp((EDGE_QUANTILE, 1 - EDGE_QUANTILE), grown, voxels)
    return float(low), float(high)
