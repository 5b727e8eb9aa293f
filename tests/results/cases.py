"""A small result to write: a box of Parotid_L and one of SpinalCord."""

from __future__ import annotations

import numpy as np

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.results.case_result import CaseResult
from hanseg_shared.documents import (
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.volume import Volume

MODEL = ModelSummary(name="any", version="1", sha256="0" * 64)
ABSENT = RegistrationReport(verdict=MrVerdict.ABSENT, reason="no MR was sent")
USED = RegistrationReport(verdict=MrVerdict.USED, reason="0.4 bits in common")


def roomy(grid: Grid) -> Grid:
    """Return a grid of the same orientation, 60 to 80 mm wide."""
    return Grid((40, 38, 24), (1.5, 1.6, 3.0), grid.origin, grid.direction)


def ct_on(grid: Grid) -> Volume:
    noise = np.random.default_rng(0).integers(-50, 80, grid.shape)
    return Volume(noise.astype(np.int16), grid)


def result_on(grid: Grid) -> CaseResult:
    """Return a contoured case with two organs, boxes in index space."""
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[4:12, 5:15, 6:18] = organ("Parotid_L").label
    array[2:20, 20:24, 22:27] = organ("SpinalCord").label
    counts = np.bincount(array.ravel(), minlength=31)
    organs = tuple(
        OrganResult(
            name=each.name,
            label=each.label,
            status=OrganStatus.CONTOURED if counts[each.label] else OrganStatus.EMPTY,
            volume_ml=float(counts[each.label] * grid.voxel_ml),
        )
        for each in ORGANS
    )
    images = CaseImages(ct_on(grid))
    return CaseResult(images, Volume(array, grid), organs, MODEL, ABSENT)
