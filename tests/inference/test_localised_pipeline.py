"""A fine model behind a coarse one: which tiles are run, and what the job says."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from hanseg_segmentation import pipeline
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.tiling import Worth
from hanseg_segmentation.pipeline import Segmentation, segment
from hanseg_shared.documents import InferenceMode
from hanseg_shared.grid import Grid
from tests.inference.scenes import Scene, enlarged, scene, threshold_model

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("kernels")]


@dataclass
class LowerHalf:
    """A region that is the lower half of any grid."""

    def on(self, grid: Grid, *, margin_mm: float = 0.0) -> Worth:
        blocks = np.zeros(grid.shape, dtype=bool)
        blocks[: grid.shape[0] // 2] = True
        return Worth(blocks, (1, 1, 1))


@pytest.fixture
def case():
    return scene(enlarged(Grid((9, 9, 9))))


@pytest.fixture
def model():
    fine = threshold_model(spacing_mm=(1.5, 1.5, 1.5))
    return dataclasses.replace(fine, localiser=threshold_model(), normalises_tiles=True)


def test_tiles_lie_around_the_region_where_that_changes_no_answer(
    case, model, monkeypatch
):
    monkeypatch.setattr(pipeline, "find_region", lambda *_: LowerHalf())
    report = run(case, dataclasses.replace(model, normalises_tiles=False)).inference
    assert report is not None
    assert report.moved


def run(case: Scene, model: LoadedModel) -> Segmentation:
    return segment(CaseImages(case.ct), model=model, progress=lambda _: None)


def test_tiles_outside_the_region_are_not_run(case, model, monkeypatch):
    monkeypatch.setattr(pipeline, "find_region", lambda *_: LowerHalf())
    result = run(case, model)
    report = result.inference
    assert report is not None
    assert report.localised
    assert 0 < report.tiles < report.tiles_in_all
    assert "localise" in result.seconds


def test_rapid_inference_lays_fewer_tiles_around_the_region(case, model, monkeypatch):
    monkeypatch.setattr(pipeline, "find_region", lambda *_: LowerHalf())
    fast = run(case, model)
    rapid = run(case, dataclasses.replace(model, mode=InferenceMode.RAPID))
    assert fast.inference is not None
    assert rapid.inference is not None
    assert (rapid.inference.mode, rapid.inference.moved) == ("rapid", True)
    assert (fast.inference.mode, fast.inference.moved) == ("fast", False)
    assert 0 < rapid.inference.tiles < fast.inference.tiles
    lower = slice(0, int(len(rapid.labels.array) * 0.4))
    assert np.array_equal(rapid.labels.array[lower], fast.labels.array[lower])


def test_rapid_inference_runs_every_tile_where_no_organ_was_found(case, model):
    report = run(case, dataclasses.replace(model, mode=InferenceMode.RAPID)).inference
    assert report is not None
    assert (report.mode, report.moved) == ("rapid", False)
    assert report.tiles == report.tiles_in_all


def test_where_the_coarse_model_finds_too_little_every_tile_is_run(case, model):
    report = run(case, model).inference
    assert report is not None
    assert not report.localised
    assert report.tiles == report.tiles_in_all


def test_exact_inference_asks_no_coarse_model(case, model, monkeypatch):
    monkeypatch.setattr(pipeline, "find_region", lambda *_: LowerHalf())
    report = run(case, dataclasses.replace(model, mode=InferenceMode.EXACT)).inference
    assert report is not None
    assert (report.mode, report.localised) == ("exact", False)
    assert report.tiles == report.tiles_in_all


def test_inside_the_region_labels_are_the_same(case, model, monkeypatch):
    every = run(case, model).labels.array
    monkeypatch.setattr(pipeline, "find_region", lambda *_: LowerHalf())
    some = run(case, model).labels.array
    lower = slice(0, int(len(every) * 0.4))
    assert np.array_equal(some[lower], every[lower])
