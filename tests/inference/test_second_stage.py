"""A second, finer stage: which voxels are its own, and when the first's stay."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from hanseg_segmentation import pipeline
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference import second_stage
from hanseg_segmentation.inference.loaded_model import LoadedModel, make_loaded_model
from hanseg_segmentation.inference.network_engines import Eager, EngineName
from hanseg_segmentation.inference.second_stage import join
from hanseg_segmentation.inference.self_test import Choice, Chosen
from hanseg_segmentation.packages.package import SecondStage
from hanseg_segmentation.pipeline import Segmentation
from hanseg_shared.documents import OrganResult
from hanseg_shared.grid import Grid
from hanseg_shared.organs import OrganStatus, organ
from tests.inference.scenes import Scene, enlarged, package, scene, threshold_network

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
LEFT, RIGHT = organ("Parotid_L").label, organ("Parotid_R").label
LIPS = organ("Lips").label
STAGE = SecondStage(folder="second_stage", sha256="0" * 64, organs=("Parotid_L",))


def line(*labels: int) -> np.ndarray:
    return np.array([[labels]], dtype=np.uint8)


def blind_network() -> nn.Module:
    """Return a network that sees nothing but background."""
    layer = nn.Conv3d(3, 3, 1)
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias = nn.Parameter(torch.tensor([0.0, -1e4, -1e4]))
    return layer


def two_stages(second: nn.Module | None = None) -> LoadedModel:
    """Return the threshold model whose Parotid_L a finer one draws."""
    first = make_loaded_model(
        package(second_stage=STAGE), threshold_network(), device=CPU
    )
    finer = package(name="finer", spacing_mm=(1.5, 1.5, 1.5))
    network = threshold_network() if second is None else second
    return dataclasses.replace(
        first, second=make_loaded_model(finer, network, device=CPU)
    )


@pytest.fixture
def case():
    return scene(enlarged(Grid((9, 9, 9))))


def run(case: Scene, model: LoadedModel, **options: float) -> Segmentation:
    return pipeline.segment(
        case.images,
        model=model,
        progress=lambda _: None,
        seconds_left=options.get("seconds_left"),
    )


def result_of(found: Segmentation, label: int) -> OrganResult:
    return found.organs[label - 1]


def test_its_organs_are_its_own_and_the_others_stay():
    labels = line(0, LEFT, LEFT, RIGHT, RIGHT, LIPS)
    finer = line(LEFT, LEFT, 0, LEFT, 0, 0)
    assert join(labels, finer, ["Parotid_L"], voxel_ml=1.0) == frozenset()
    assert labels.tolist() == line(LEFT, LEFT, 0, LEFT, RIGHT, LIPS).tolist()


def test_what_it_calls_another_organ_there_becomes_that():
    labels, finer = line(LEFT, LEFT), line(LEFT, LIPS)
    join(labels, finer, ["Parotid_L"], voxel_ml=1.0)
    assert labels.tolist() == line(LEFT, LIPS).tolist()


def test_its_other_organs_change_nothing_elsewhere():
    labels, finer = line(0, RIGHT, LEFT), line(LIPS, LIPS, LEFT)
    join(labels, finer, ["Parotid_L"], voxel_ml=1.0)
    assert labels.tolist() == line(0, RIGHT, LEFT).tolist()


@pytest.mark.parametrize("speck", [0, 1])
def test_an_organ_that_it_does_not_find_stays(speck):
    labels = line(*[LEFT] * 10, 0)
    finer = line(*[0] * 10, LEFT if speck else 0)
    assert join(labels, finer, ["Parotid_L"], voxel_ml=1.0) == {"Parotid_L"}
    assert labels.tolist() == line(*[LEFT] * 10, 0).tolist()


def test_an_organ_far_smaller_than_before_is_found_if_it_is_as_large_as_one_can_be():
    nerve = organ("OpticNrv_L")
    labels, finer = line(*[nerve.label] * 6), line(nerve.label, 0, 0, 0, 0, 0)
    tiny = line(*labels[0, 0])
    assert join(tiny, finer, [nerve.name], voxel_ml=0.1) == {nerve.name}
    assert join(labels, finer, [nerve.name], voxel_ml=0.5) == frozenset()
    assert labels.tolist() == finer.tolist()


def test_an_organ_that_only_it_finds_is_drawn():
    labels = line(0, 0)
    assert join(labels, line(LEFT, 0), ["Parotid_L"], voxel_ml=1.0) == frozenset()
    assert labels.tolist() == line(LEFT, 0).tolist()


def test_a_lost_organ_gives_way_to_one_that_was_found():
    labels, finer = line(LEFT, LEFT, RIGHT), line(RIGHT, 0, RIGHT)
    assert join(labels, finer, ["Parotid_L", "Parotid_R"], voxel_ml=1.0) == {
        "Parotid_L"
    }
    assert labels.tolist() == line(RIGHT, LEFT, RIGHT).tolist()


def test_the_finer_network_draws_its_organs_only(case):
    model = two_stages()
    assert model.second is not None
    whole = run(case, model).labels.array
    coarse = run(case, dataclasses.replace(model, second=None)).labels.array
    finer = run(case, model.second).labels.array
    assert np.array_equal(whole == LEFT, finer == LEFT)
    assert not np.array_equal(coarse == LEFT, finer == LEFT)
    assert np.array_equal((whole == RIGHT) & (finer != LEFT), coarse == RIGHT)


def test_the_job_says_how_it_was_run(case):
    found = run(case, two_stages())
    assert found.inference is not None
    assert found.inference.second_stage is not None
    assert found.inference.second_stage.tiles > 0
    assert "second_stage" in found.seconds
    assert "first_stage_only" not in result_of(found, LEFT).codes


def test_an_organ_that_only_the_first_stage_finds_is_flagged(case):
    found = run(case, two_stages(blind_network()))
    result = result_of(found, LEFT)
    assert result.status is OrganStatus.LOW_CONFIDENCE
    assert "first_stage_only" in result.codes
    assert result.volume_ml > 1
    assert "first_stage_only" not in result_of(found, RIGHT).codes


def test_without_time_the_first_stage_s_organs_stay(case):
    model = two_stages()
    assert model.second is not None
    choice = Choice(
        engine=EngineName.EAGER_FP32, seconds_per_tile=1000.0, agreement=1.0
    )
    engine = Eager(model.second.network, CPU, torch.float32)
    slow = dataclasses.replace(model.second, chosen=Chosen(choice, (engine,)))
    found = run(case, dataclasses.replace(model, second=slow), seconds_left=100.0)
    coarse = run(case, dataclasses.replace(model, second=None))
    assert np.array_equal(found.labels.array, coarse.labels.array)
    assert found.inference is not None
    assert found.inference.second_stage is not None
    assert found.inference.second_stage.tiles == 0
    assert "left" in found.inference.second_stage.reason
    assert "first_stage_only" in result_of(found, LEFT).codes


def test_tiles_lie_where_the_first_stage_found_the_organs(case, monkeypatch):
    asked = []
    monkeypatch.setattr(
        second_stage, "find_region", lambda *given: asked.append(given[-1])
    )
    run(case, two_stages())
    assert asked == [("Parotid_L",)]


def test_progress_rises_to_the_end(case):
    told: list[float] = []
    model = two_stages()
    pipeline.segment(CaseImages(case.ct), model=model, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert sum(share < 0.25 for share in told) > 0
