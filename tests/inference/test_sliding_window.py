import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hanseg_segmentation.inference import sliding_window
from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.planner import Effort, Placement
from hanseg_segmentation.inference.sliding_window import run_network
from hanseg_segmentation.inference.tile_input import WholeInput
from hanseg_segmentation.inference.tiling import Tiling, Worth, plan_tiles
from hanseg_shared.documents import InferenceMode
from hanseg_shared.errors import JobCancelledError, ModelError
from tests.inference.planes import Array, Keeper
from tests.inference.scenes import threshold_model, threshold_network

pytestmark = pytest.mark.torch

SHAPE = (20, 24, 40)
PATCH = (16, 16, 16)


def ignore(done):
    """Take no notice of progress."""


def run(
    model: LoadedModel, channels: Array, tiling: Tiling, **how: Any
) -> tuple[Array, Array]:
    """Return the sums and weights of the whole volume."""
    kept = run_network(
        model,
        WholeInput(channels, (0.0,) * len(channels)),
        tiling,
        sink=Keeper,
        **{"progress": ignore, **how},
    )
    return kept.sums, kept.weights


@pytest.fixture
def model():
    """The threshold network in float32, so that sums can be compared exactly."""
    return dataclasses.replace(threshold_model(), precision=torch.float32)


@pytest.fixture
def channels():
    rng = np.random.default_rng(3)
    return rng.normal(4, 4, size=(3, *SHAPE)).astype(np.float32)


@pytest.fixture
def tiling():
    return plan_tiles(SHAPE, patch=PATCH, worth=None)


class Failing(nn.Module):
    """Runs out of memory some times before it works."""

    def __init__(self, failures: int, error: Exception) -> None:
        super().__init__()
        self.inner = threshold_network()
        self.failures = failures
        self.error = error
        self.batches: list[int] = []

    def forward(self, tiles):
        self.batches.append(len(tiles))
        if self.failures > 0:
            self.failures -= 1
            raise self.error
        return self.inner(tiles)


def with_network(model: LoadedModel, network: nn.Module) -> LoadedModel:
    return dataclasses.replace(model, network=network.requires_grad_(False))


def test_tiles_add_up_to_the_whole(model, channels, tiling):
    sums, weights = run(model, channels, tiling)
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(channels[None]))[0]
    expected = whole.permute(1, 2, 3, 0).numpy()
    assert sums.shape == (*SHAPE, 3)
    assert np.allclose(sums / weights[..., None], expected, atol=1e-3)


def test_no_weight_where_no_tile_was_run(model, channels):
    worth = np.zeros(SHAPE, dtype=bool)
    worth[0, 0, 0] = True
    tiling = plan_tiles(SHAPE, patch=PATCH, worth=Worth(worth, (1, 1, 1)))
    sums, weights = run(model, channels, tiling)
    assert (weights[:16, :16, :16] > 0).all()
    assert not weights[16:].any()
    assert not sums[16:].any()


def test_progress_grows_to_one(model, channels, tiling):
    told: list[float] = []
    run(model, channels, tiling, progress=told.append)
    assert told == sorted(told)
    assert len(told) == len(tiling.starts)
    assert told[-1] == 1.0


def test_what_progress_raises_ends_the_run(model, channels, tiling):
    def cancel(done):
        raise JobCancelledError("cancelled")

    with pytest.raises(JobCancelledError):
        run(model, channels, tiling, progress=cancel)


def test_values_that_are_not_finite_are_refused(model, channels, tiling):
    channels[0, 5, 5, 5] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        run(model, channels, tiling)


def test_other_errors_of_the_network_are_passed_on(model, channels, tiling):
    broken = with_network(model, Failing(1, RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run(broken, channels, tiling)


def test_no_memory_on_the_cpu_is_told(model, channels, tiling):
    network = Failing(9, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(ModelError, match="not enough memory"):
        run(with_network(model, network), channels, tiling)


class FakeGpu:
    """The CPU in the place of a GPU that has too little memory."""

    def __init__(self, monkeypatch) -> None:
        self.asked: list[int] = []
        monkeypatch.setattr(sliding_window, "plan_placements", self.plan)

    def plan(self, need, device, free):
        cpu = torch.device("cpu")
        self.asked.append(need.tile_bytes)
        return tuple(Placement(cpu, batch, cpu) for batch in (4, 1, 1))


def test_a_gpu_without_memory_is_tried_with_less_and_then_the_cpu(
    model, channels, tiling, monkeypatch
):
    FakeGpu(monkeypatch)
    network = Failing(2, torch.OutOfMemoryError("out of memory"))
    sums, _ = run(with_network(model, network), channels, tiling)
    assert network.batches[:3] == [4, 1, 1]
    undisturbed, _ = run(model, channels, tiling)
    assert np.allclose(sums, undisturbed, atol=1e-4)


def test_a_gpu_that_is_full_even_for_the_least_is_told(
    model, channels, tiling, monkeypatch
):
    FakeGpu(monkeypatch)
    network = Failing(3, torch.OutOfMemoryError("out of memory"))
    with pytest.raises(ModelError, match="not enough memory"):
        run(with_network(model, network), channels, tiling)
    assert network.batches == [4, 1, 1]


def test_what_failed_leaves_nothing_in_the_count_of_agreement(
    model, channels, tiling, monkeypatch
):
    FakeGpu(monkeypatch)
    second = Failing(1, torch.OutOfMemoryError("no")).requires_grad_(False)
    both = dataclasses.replace(model, further=(second,))
    effort = Effort(2, (), 0.5, "")
    disturbed, calm = Agreement(3), Agreement(3)
    run(both, channels, tiling, effort=effort, agreement=disturbed)
    run(both, channels, tiling, effort=effort, agreement=calm)
    assert disturbed.votes.tolist() == calm.votes.tolist()


def test_memory_is_planned_for_the_tiles_of_the_model(
    model, channels, tiling, monkeypatch
):
    gpu = FakeGpu(monkeypatch)
    run(model, channels, tiling)
    half = dataclasses.replace(model, precision=torch.bfloat16)
    run(half, channels, tiling)
    assert gpu.asked[0] == 2 * gpu.asked[1]


def test_exact_mode_adds_up_as_nnunet_for_models_of_the_images_frame_alone(
    model, channels, tiling
):
    imported = threshold_model(frame="image")
    exact = InferenceMode.EXACT
    imported = dataclasses.replace(imported, precision=torch.float32, mode=exact)
    own = dataclasses.replace(model, mode=exact)
    (halves, seen), (sums, weights) = (
        run(each, channels, tiling) for each in (imported, own)
    )
    assert np.array_equal(halves, halves.astype(np.float16))
    assert np.array_equal(seen, seen.astype(np.float16))
    inner = weights > 0.01
    means = sums[inner] / weights[inner][:, None]
    ours = halves[inner] / seen[inner][:, None]
    assert np.allclose(ours, means, rtol=0.005, atol=0.1)


class Constant(nn.Module):
    """Answers the same logits everywhere."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, tiles):
        shape = (len(tiles), len(self.logits), *tiles.shape[2:])
        return self.logits[None, :, None, None, None].expand(shape).clone()


FOLDS = (Constant(0.0, 4.0, 3.0), Constant(0.0, 0.0, 4.0), Constant(0.0, 4.0, 3.0))
THREE_FOLDS = Effort(3, (), 0.5, "")


def of_folds(model: LoadedModel, combine: str) -> LoadedModel:
    plan = model.package.model_copy(update={"combine": combine})
    return dataclasses.replace(model, package=plan, network=FOLDS[0], further=FOLDS[1:])


@pytest.mark.parametrize(
    ("combine", "expected"),
    [
        ("logits", torch.stack([each.logits for each in FOLDS]).mean(0)),
        (
            "softmax",
            torch.stack([each.logits.softmax(0) for each in FOLDS]).mean(0).log(),
        ),
        ("vote", torch.tensor([1e-6, 2 / 3, 1 / 3]).log()),
    ],
)
def test_folds_are_combined_as_the_model_says(
    model, channels, tiling, combine, expected
):
    folds = of_folds(model, combine)
    sums, weights = run(folds, channels, tiling, effort=THREE_FOLDS)
    assert np.allclose(sums[0, 0, 0] / weights[0, 0, 0], expected, atol=1e-4)


def test_only_the_folds_that_can_be_afforded_are_run(model, channels, tiling):
    folds = of_folds(model, "logits")
    sums, weights = run(folds, channels, tiling)
    assert np.allclose(sums[0, 0, 0] / weights[0, 0, 0], FOLDS[0].logits, atol=1e-4)


@pytest.mark.parametrize("axis", "zyx")
def test_mirrored_passes_are_mirrored_back(model, channels, tiling, axis):
    logits = model.package.model_copy(update={"combine": "logits"})
    model = dataclasses.replace(model, package=logits)
    plain, _ = run(model, channels, tiling)
    both, _ = run(model, channels, tiling, effort=Effort(1, (axis,), 0.5, ""))
    assert np.allclose(both, plain, atol=1e-3)


@pytest.mark.parametrize(
    ("axes", "order", "flips"),
    [
        ((), "zyx", ((),)),
        (("x",), "zyx", ((), (4,))),
        (("z", "y"), "zyx", ((), (2,), (3,), (2, 3))),
        (("x",), "xzy", ((), (2,))),
    ],
)
def test_axes_are_the_patients_whatever_the_networks_order(axes, order, flips):
    assert sliding_window._flips(axes, tuple(order)) == flips


def test_folds_that_contradict_each_other_are_counted(model, channels, tiling):
    agreement = Agreement(3)
    run(
        of_folds(model, "softmax"),
        channels,
        tiling,
        effort=THREE_FOLDS,
        agreement=agreement,
    )
    assert agreement.of_channels()[1:] == pytest.approx([1 / 2, 0.0])


@pytest.mark.parametrize("combine", ["logits", "softmax", "vote"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_fold_without_numbers_is_told_whatever_is_averaged(
    model, channels, tiling, combine, value
):
    broken = Constant(0.0, value, 0.0)
    folds = dataclasses.replace(of_folds(model, combine), further=(broken,))
    effort = Effort(2, (), 0.5, "")
    with pytest.raises(ModelError, match="not finite"):
        run(folds, channels, tiling, effort=effort)


def test_sums_that_cannot_fit_are_refused_before_they_are_allocated(model):
    edge = 20_000
    ends = ((0, 0, 0), (edge - 16,) * 3)
    huge = Tiling((edge,) * 3, PATCH, ends)
    channels = np.broadcast_to(np.float32(0), (3, edge, edge, edge))
    with pytest.raises(ModelError, match="crop the CT"):
        run(model, channels, huge)
