import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from hanseg_segmentation.inference import sliding_window
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.sliding_window import run_network
from hanseg_segmentation.inference.tiling import plan_tiles
from hanseg_shared.errors import JobCancelledError, ModelError
from tests.inference.scenes import threshold_model, threshold_network

pytestmark = pytest.mark.torch

SHAPE = (20, 24, 40)
PATCH = (16, 16, 16)


def ignore(done):
    """Take no notice of progress."""


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
    return plan_tiles(SHAPE, patch=PATCH, worth=np.ones(SHAPE, dtype=bool))


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
    sums, weights = run_network(model, channels, tiling, progress=ignore)
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(channels[None]))[0]
    expected = whole.permute(1, 2, 3, 0).numpy()
    assert sums.shape == (*SHAPE, 3)
    assert np.allclose(sums / weights[..., None], expected, atol=1e-3)


def test_no_weight_where_no_tile_was_run(model, channels):
    worth = np.zeros(SHAPE, dtype=bool)
    worth[0, 0, 0] = True
    tiling = plan_tiles(SHAPE, patch=PATCH, worth=worth)
    sums, weights = run_network(model, channels, tiling, progress=ignore)
    assert (weights[:16, :16, :16] > 0).all()
    assert not weights[16:].any()
    assert not sums[16:].any()


def test_progress_grows_to_one(model, channels, tiling):
    told: list[float] = []
    run_network(model, channels, tiling, progress=told.append)
    assert told == sorted(told)
    assert len(told) == len(tiling.starts)
    assert told[-1] == 1.0


def test_what_progress_raises_ends_the_run(model, channels, tiling):
    def cancel(done):
        raise JobCancelledError("cancelled")

    with pytest.raises(JobCancelledError):
        run_network(model, channels, tiling, progress=cancel)


def test_values_that_are_not_finite_are_refused(model, channels, tiling):
    channels[0, 5, 5, 5] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        run_network(model, channels, tiling, progress=ignore)


def test_other_errors_of_the_network_are_passed_on(model, channels, tiling):
    broken = with_network(model, Failing(1, RuntimeError("shape mismatch")))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        run_network(broken, channels, tiling, progress=ignore)


def test_no_memory_on_the_cpu_is_told(model, channels, tiling):
    network = Failing(9, RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(ModelError, match="not enough memory"):
        run_network(with_network(model, network), channels, tiling, progress=ignore)


def test_a_gpu_without_memory_is_tried_with_less_and_then_the_cpu(
    model, channels, tiling, monkeypatch
):
    cpu = torch.device("cpu")
    attempts = [
        sliding_window.Attempt(cpu, 4, cpu),
        sliding_window.Attempt(cpu, 1, cpu),
        sliding_window.Attempt(cpu, 1, cpu),
    ]
    monkeypatch.setattr(sliding_window, "_attempts", lambda _: attempts)
    network = Failing(2, torch.OutOfMemoryError("out of memory"))
    sums, _ = run_network(
        with_network(model, network), channels, tiling, progress=ignore
    )
    assert network.batches[:3] == [4, 1, 1]
    undisturbed, _ = run_network(model, channels, tiling, progress=ignore)
    assert np.allclose(sums, undisturbed, atol=1e-4)


def test_a_gpu_is_tried_with_less_memory_and_then_left():
    attempts = sliding_window._attempts(torch.device("cuda"))
    assert [(a.device.type, a.sums_on.type) for a in attempts] == [
        ("cuda", "cuda"),
        ("cuda", "cpu"),
        ("cpu", "cpu"),
    ]
    assert [a.batch for a in attempts] == [4, 1, 1]


def test_sums_that_cannot_fit_are_refused_before_they_are_allocated(model):
    huge = plan_tiles((16, 16, 16), patch=PATCH, worth=np.ones((16,) * 3, dtype=bool))
    huge = dataclasses.replace(huge, shape=(4000, 1000, 1000))
    with pytest.raises(ModelError, match="crop the CT"):
        run_network(model, np.empty((3, 1, 1, 1)), huge, progress=ignore)
