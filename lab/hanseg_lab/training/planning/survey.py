"""The cases of a training, counted and measured from their headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from hanseg_lab.training.data import phantoms_needed
from hanseg_lab.training.datasets.dataset import DatasetCase
from hanseg_lab.training.recipe import Recipe
from hanseg_segmentation.inference.preprocess import model_grid
from hanseg_shared.errors import NotAnImageError
from hanseg_shared.grid import Grid
from hanseg_shared.io.header import read_header


@dataclass(frozen=True, slots=True)
class Survey:
    """The cases that a recipe would train on.

    Attributes:
        cases: Real cases that are prepared, held-out ones included.
        with_mr: How many of them have an MR that the recipe uses.
        phantoms: Simulated patients that are made.
        ct_voxels: Mean number of voxels of a CT; 0 without cases.
        sample_voxels: Mean number of voxels of a real case's sample; 0 without cases.
    """

    cases: int
    with_mr: int
    phantoms: int
    ct_voxels: float = 0.0
    sample_voxels: float = 0.0


def survey_cases(recipe: Recipe, cases: Sequence[DatasetCase]) -> Survey:
    """Count and measure what would be prepared; reads headers, not voxels.

    Raises:
        InputError: A CT's header cannot be used.
    """
    grids = _grids(cases)
    spacing = recipe.sample_spacing_mm
    samples = [model_grid(each, spacing=spacing).voxels for each in grids]
    uses_mr = "mr" in recipe.channels
    return Survey(
        cases=len(cases),
        with_mr=sum(each.mr is not None for each in cases) if uses_mr else 0,
        phantoms=phantoms_needed(recipe, cases),
        ct_voxels=fmean(each.voxels for each in grids) if grids else 0.0,
        sample_voxels=fmean(samples) if samples else 0.0,
    )


def _grids(cases: Sequence[DatasetCase]) -> list[Grid]:
    """Return the CTs' grids; where CTs have no headers, that of the first such one."""
    grids: list[Grid] = []
    without: list[DatasetCase] = []
    for case in cases:
        try:
            grids.append(read_header(case.ct).grid)
        except NotAnImageError:
            without.append(case)
    if without:
        grids += [without[0].read_ct().grid] * len(without)
    return grids
