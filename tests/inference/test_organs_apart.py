"""A network for each organ, run only on the tiles where that organ can be."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from torch import nn

from hanseg_segmentation import pipeline
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel, make_loaded_model
from hanseg_segmentation.inference.localise import channels_of_tiles
from hanseg_segmentation.inference.network_engines import (
    EngineName,
    EnginePlan,
    make_engine,
    only,
)
from hanseg_segmentation.inference.tiling import Worth, plan_tiles
from hanseg_segmentation.network.binary import ABSENT_SCORE, BinaryBank, BinaryConfig
from hanseg_segmentation.network.nnunet import NnUNetConfig
from hanseg_segmentation.pipeline import Segmentation, segment
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import ModelError
from hanseg_shared.grid import Grid
from hanseg_shared.organs import organ
from tests.inference.scenes import (
    enlarged,
    package,
    scene,
    threshold_model,
    threshold_network,
)

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
LABELS = {"Brainstem": 1, "Eye_PL": 2, "Eye_PR": 3, "Lips": 4}
SMALL = NnUNetConfig(
    in_channels=3,
    out_channels=1,
    features=(4, 8),
    kernels=((3, 3, 3),) * 2,
    strides=((1, 1, 1), (2, 2, 2)),
    blocks=(1, 1),
    decoder_blocks=(1,),
)


class Dense(nn.Module):
    """Scores what is denser than 400 HU, and counts the tiles that it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.tiles, self.slope = 0, 4.0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.tiles += len(images)
        return self.slope * (images[:, :1] - 4.0)


def random_bank() -> BinaryBank:
    torch.manual_seed(0)
    return BinaryBank(BinaryConfig(SMALL, LABELS)).eval()


def counting_model(labels: dict[str, int]) -> tuple[LoadedModel, dict[str, Dense]]:
    """Return a model of organs that are all where the CT is dense, and its networks."""
    bank, networks = BinaryBank(BinaryConfig(SMALL, labels)), {}
    for name in labels:
        bank.networks[name] = networks[name] = Dense()
    plan = package(labels=labels, evidence=dict.fromkeys(labels, "phantom"))
    model = make_loaded_model(plan, bank, device=CPU)
    for each in networks.values():
        each.tiles = 0
    return dataclasses.replace(model, localiser=threshold_model()), networks


@dataclass
class Ends:
    """A region: each organ in the lowest or the highest third of any grid.

    `parts` are 3 where they are thirds, and 2 where they are halves.
    """

    lower: dict[str, bool]
    parts: int = 3
    asked: list[Grid] = field(default_factory=list)

    def on(self, grid: Grid, *, margin_mm: float = 0.0) -> Worth:
        blocks = [each.blocks for each in self.on_by_organ(grid).values()]
        return Worth(np.any(blocks, axis=0), (1, 1, 1))

    def on_by_organ(self, grid: Grid) -> dict[str, Worth]:
        self.asked.append(grid)
        end = grid.shape[0] // self.parts
        found = {}
        for name, low in self.lower.items():
            blocks = np.zeros(grid.shape, dtype=bool)
            blocks[:end] = low
            blocks[-end:] |= not low
            found[name] = Worth(blocks, (1, 1, 1))
        return found


@pytest.fixture
def ends(monkeypatch) -> Ends:
    region = Ends({"Brainstem": True, "Lips": False})
    monkeypatch.setattr(pipeline, "find_region", lambda *_: region)
    return region


def run(model: LoadedModel) -> Segmentation:
    ct = scene(enlarged(Grid((9, 9, 9)))).ct
    return segment(CaseImages(ct), model=model, progress=lambda _: None)


def test_organs_that_are_left_out_are_nowhere_and_the_others_the_same():
    bank, images = random_bank(), torch.randn(2, 3, 8, 8, 8)
    with torch.no_grad():
        every, some = bank(images), bank(images, frozenset({1, 3}))
    assert torch.equal(some[:, [0, 1, 3]], every[:, [0, 1, 3]])
    assert bool((some[:, [2, 4]] == ABSENT_SCORE).all())
    assert some.softmax(dim=1)[:, [2, 4]].max() < 2e-6


def test_an_engine_leaves_out_organs_only_of_a_network_for_each():
    bank, tile = random_bank(), torch.randn(1, 3, 8, 8, 8)
    plan = EnginePlan((1, 3, 8, 8, 8), CPU)
    of_bank = make_engine(EngineName.EAGER_FP32, bank, plan)
    answer = only(frozenset({2}), of_bank)(tile)
    assert torch.allclose(answer[:, 2], of_bank(tile)[:, 2])
    assert bool((answer[:, [1, 3, 4]] == ABSENT_SCORE).all())
    assert only(None, of_bank) is of_bank
    of_one = make_engine(EngineName.EAGER_FP32, threshold_network(), plan)
    assert only(frozenset({1}), of_one) is of_one


@pytest.mark.parametrize("name", [EngineName.OPENVINO_FP32, EngineName.COMPILE_FP32])
def test_no_engine_takes_a_bank_that_would_run_all_of_it_everywhere(name):
    with pytest.raises(ModelError, match="networks of all organs"):
        make_engine(name, random_bank(), EnginePlan((1, 3, 8, 8, 8), CPU))


def test_an_organ_counts_wherever_a_tile_touches_its_box():
    tiling = plan_tiles((8, 8, 40), patch=(8, 8, 16), worth=None, step=0.5)
    assert [x for _, _, x in tiling.starts] == [0, 8, 16, 24]
    near = np.zeros((8, 8, 40), dtype=bool)
    near[0, 0, 15] = True
    found = channels_of_tiles(
        tiling,
        {"Lips": Worth(near, (1, 1, 1)), "Brainstem": Worth(~near, (1, 1, 1))},
        LABELS,
    )
    assert [4 in found[start] for start in tiling.starts] == [True, True, False, False]
    assert all(1 in each for each in found.values())


def test_an_organ_without_a_box_counts_everywhere():
    tiling = plan_tiles((8, 8, 40), patch=(8, 8, 16), worth=None, step=0.5)
    nowhere = Worth(np.zeros((8, 8, 40), dtype=bool), (1, 1, 1))
    found = channels_of_tiles(tiling, {"Lips": nowhere}, LABELS)
    assert set(found.values()) == {frozenset({1, 2, 3})}


def test_where_no_organ_is_run_all_is_background():
    with torch.no_grad():
        answer = random_bank()(torch.randn(1, 3, 8, 8, 8), frozenset())
    assert answer.shape == (1, 5, 8, 8, 8)
    assert not bool(answer.argmax(dim=1).any())


def test_left_out_organs_keep_the_precision_of_the_others():
    bank, tile = random_bank(), torch.randn(1, 3, 8, 8, 8)
    engine = make_engine(EngineName.EAGER_BF16, bank, EnginePlan((1, 3, 8, 8, 8), CPU))
    assert engine(tile).dtype is torch.bfloat16
    assert only(frozenset({1}), engine)(tile).dtype is torch.bfloat16


def test_each_network_sees_only_the_tiles_of_its_organ(ends):
    model, networks = counting_model({"Brainstem": 1, "Lips": 2})
    report = run(model).inference
    assert report is not None
    below, above = (networks[name].tiles for name in ("Brainstem", "Lips"))
    assert 0 < below < report.tiles
    assert 0 < above < report.tiles
    assert below + above >= report.tiles
    assert ends.asked


@pytest.mark.parametrize("combine", ["logits", "softmax", "vote"])
def test_each_organ_is_labelled_in_its_own_end_alone(ends, combine):
    ends.parts = 2

    def ensemble(labels: dict[str, int]) -> LoadedModel:
        model, _ = counting_model(labels)
        package = model.package.model_copy(update={"combine": combine})
        return dataclasses.replace(model, further=model.networks, package=package)

    apart, alone = run(ensemble({"Brainstem": 1, "Lips": 2})).labels.array, {}
    for name in ("Brainstem", "Lips"):
        whole = dataclasses.replace(ensemble({name: 1}), localiser=None)
        alone[name] = run(whole).labels.array
    half = len(apart) // 2
    assert alone["Brainstem"][: half - 1].any()
    for name, end, other in (
        ("Brainstem", slice(0, half - 1), slice(half + 1, None)),
        ("Lips", slice(half + 1, None), slice(0, half - 1)),
    ):
        assert np.array_equal(apart[end], alone[name][end])
        assert organ(name).label not in apart[other]


def test_what_no_number_is_is_told_wherever_it_is(ends):
    model, networks = counting_model({"Brainstem": 1, "Lips": 2})
    networks["Lips"].slope = torch.nan
    with pytest.raises(ModelError, match="not finite"):
        run(model)


def test_a_tile_beyond_the_volume_is_as_its_border():
    tiling = plan_tiles((4, 4, 6), patch=(4, 4, 8), worth=None, centred=True)
    right = np.zeros((1, 1, 2), dtype=bool)
    right[..., 1] = True
    tiling = dataclasses.replace(tiling, worth_of={1: Worth(right, (4, 4, 3))})
    found = tiling.outside(tiling.starts[0], 3)
    assert found is not None
    assert found[1, 0, 0].tolist() == [True] * 4 + [False] * 4
    assert not found[[0, 2]].any()


@pytest.mark.parametrize("change", ["exact", "lost"])
def test_without_a_region_every_network_sees_every_tile(ends, monkeypatch, change):
    model, networks = counting_model({"Brainstem": 1, "Lips": 2})
    if change == "exact":
        model = dataclasses.replace(model, mode=InferenceMode.EXACT)
    else:
        monkeypatch.setattr(pipeline, "find_region", lambda *_: None)
    report = run(model).inference
    assert report is not None
    assert {each.tiles for each in networks.values()} == {report.tiles}
