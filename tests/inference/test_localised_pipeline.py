"""A fine model behind a coarse one: which tiles are run, and what the job says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hanseg_segmentation import pipeline
from hanseg_segmentation.compute.switch import plain_kernels
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.tiling import Worth
from hanseg_segmentation.pipeline import Segmentation, segment
from hanseg_shared.documents import InferenceMode, InferenceReport
from hanseg_shared.grid import Grid
from tests.inference.scenes import enlarged, scene, threshold_model

pytestmark = pytest.mark.torch


@dataclass
class LowerHalf:
    """A region that is the lower half of any grid."""

    def on(self, grid: Grid, *, margin_mm: float = 0.0) -> Worth:
        blocks = np.zeros(grid.shape, dtype=bool)
        blocks[: grid.shape[0] // 2] = True
        return Worth(blocks, (1, 1, 1))


def fine_model(mode: InferenceMode = InferenceMode.FAST) -> LoadedModel:
    fine = threshold_model(spacing_mm=(2.0, 2.0, 2.0))
    return dataclasses.replace(
        fine, localiser=threshold_model(), normalises_tiles=True, mode=mode
    )


def run(model: LoadedModel, *, in_lower_half: bool) -> Segmentation:
    """Run a model on the scene, whose organs are said to lie in the lower half."""
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    with pytest.MonkeyPatch.context() as patch:
        if in_lower_half:
            patch.setattr(pipeline, "find_region", lambda *_: LowerHalf())
        return segment(CaseImages(ct), model=model, progress=lambda _: None)


@pytest.fixture(scope="module")
def fast() -> Segmentation:
    return run(fine_model(), in_lower_half=True)


@pytest.fixture(scope="module")
def everywhere() -> Segmentation:
    """The fast mode where the coarse model finds nothing that is worth a region."""
    return run(fine_model(), in_lower_half=False)


def report_of(result: Segmentation) -> InferenceReport:
    assert result.inference is not None
    return result.inference


def lower(result: Segmentation) -> npt.NDArray[Any]:
    labels = result.labels.array
    return labels[: int(len(labels) * 0.4)]


def test_tiles_lie_around_the_region_where_that_changes_no_answer():
    model = dataclasses.replace(fine_model(), normalises_tiles=False)
    assert report_of(run(model, in_lower_half=True)).moved


def test_tiles_outside_the_region_are_not_run(fast):
    report = report_of(fast)
    assert report.localised
    assert 0 < report.tiles < report.tiles_in_all
    assert "localise" in fast.seconds


def test_rapid_inference_lays_fewer_tiles_around_the_region(fast):
    result = run(fine_model(InferenceMode.RAPID), in_lower_half=True)
    rapid = report_of(result)
    assert (rapid.mode, rapid.moved) == ("rapid", True)
    assert (report_of(fast).mode, report_of(fast).moved) == ("fast", False)
    assert 0 < rapid.tiles < report_of(fast).tiles
    assert np.array_equal(lower(result), lower(fast))


def test_rapid_inference_runs_every_tile_where_no_organ_was_found():
    report = report_of(run(fine_model(InferenceMode.RAPID), in_lower_half=False))
    assert (report.mode, report.moved) == ("rapid", False)
    assert report.tiles == report.tiles_in_all


def test_where_the_coarse_model_finds_too_little_every_tile_is_run(everywhere):
    report = report_of(everywhere)
    assert not report.localised
    assert report.tiles == report.tiles_in_all


def test_exact_inference_asks_no_coarse_model():
    report = report_of(run(fine_model(InferenceMode.EXACT), in_lower_half=True))
    assert (report.mode, report.localised) == ("exact", False)
    assert report.tiles == report.tiles_in_all


def test_inside_the_region_labels_are_the_same(fast, everywhere):
    assert np.array_equal(lower(fast), lower(everywhere))


def test_the_plain_twins_give_the_same_labels_inside_the_region(fast):
    with plain_kernels():
        twin = run(fine_model(), in_lower_half=True)
    assert np.array_equal(lower(twin), lower(fast))
