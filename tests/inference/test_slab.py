"""A slab that rolls over a volume holds what the whole volume's sums would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hanseg_segmentation.inference import slab as slab_module
from hanseg_segmentation.inference.slab import Slab, Sums, Sweep, plan_sweep
from hanseg_segmentation.inference.tiling import (
    Tiling,
    gaussian_weights,
    nnunet_weights,
    plan_tiles,
)
from tests.inference.planes import Keeper

pytestmark = pytest.mark.torch

CHANNELS = 4
SHAPE = (30, 26, 41)
EVERY = plan_tiles(SHAPE, patch=(12, 10, 16), worth=None)
SOME = Tiling(SHAPE, EVERY.patch, EVERY.starts[::3])
FEW = Tiling(SHAPE, EVERY.patch, (EVERY.starts[0], EVERY.starts[-1]))
FREE = Tiling(SHAPE, EVERY.patch, ((1, 2, 3), (5, 1, 20), (9, 16, 0), (18, 3, 11)))
PADDED = plan_tiles((7, 30, 9), patch=(12, 10, 16), worth=None, centred=True)
TILINGS = {
    "every": (EVERY, SHAPE),
    "some": (SOME, SHAPE),
    "far apart": (FEW, SHAPE),
    "anywhere": (FREE, SHAPE),
    "padded": (PADDED, (7, 30, 9)),
}


def logits_of(tiling: Tiling) -> dict[tuple[int, ...], torch.Tensor]:
    """Return random logits of each tile, channels last."""
    rng = torch.Generator().manual_seed(1)
    shape = (*tiling.patch, CHANNELS)
    return {start: 5 * torch.randn(shape, generator=rng) for start in tiling.starts}


def whole_sums(tiling: Tiling, order) -> tuple[torch.Tensor, torch.Tensor]:
    """Add tiles up in arrays of the whole volume."""
    sums = torch.zeros((*tiling.shape, CHANNELS))
    weights = torch.zeros(tiling.shape)
    gaussian = torch.from_numpy(gaussian_weights(tiling.patch))
    logits = logits_of(tiling)
    for start in order:
        part = tiling.slices(start)
        sums[part] += logits[start] * gaussian[..., None]
        weights[part] += gaussian
    return sums, weights


def rolled(sweep: Sweep, kind: Sums) -> Keeper:
    """Add tiles up in a slab, and keep every plane that it hands on."""
    slab = Slab(sweep, CHANNELS, kind=kind, device=torch.device("cpu"))
    kept, logits = Keeper(sweep), logits_of(sweep.tiling)
    for row in sweep.rows:
        for planes in slab.final_before(row[0][sweep.axis]):
            kept.take(*planes)
        for start in row:
            slab.add(start, logits[start])
    for planes in slab.final_before(sweep.high[sweep.axis]):
        kept.take(*planes)
    return kept


def sweep_along(axis: int, tiling: Tiling, own) -> Sweep:
    planned = plan_sweep(tiling, own)
    rows = slab_module._rows(tiling.starts, axis)
    return Sweep(tiling, axis, planned.low, planned.high, rows)


def own_part(array, tiling: Tiling, own):
    z, y, x = (slice(a, a + n) for a, n in zip(tiling.first, own, strict=True))
    return array[z, y, x]


@pytest.fixture(params=TILINGS, ids=str)
def tiled(request):
    return TILINGS[request.param]


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("group_bytes", [1, 10_000, 10**9])
def test_sums_are_those_of_the_whole_volume_bit_by_bit(
    tiled, axis, group_bytes, monkeypatch
):
    monkeypatch.setattr(slab_module, "GROUP_BYTES", group_bytes)
    tiling, own = tiled
    sweep = sweep_along(axis, tiling, own)
    kept = rolled(sweep, Sums.FULL)
    sums, weights = whole_sums(tiling, [each for row in sweep.rows for each in row])
    assert np.array_equal(own_part(kept.sums, tiling, own), own_part(sums, tiling, own))
    assert np.array_equal(
        own_part(kept.weights, tiling, own), own_part(weights, tiling, own)
    )


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("kind", Sums)
def test_a_logit_that_is_not_finite_is_told(kind, wrong):
    sweep = plan_sweep(EVERY, SHAPE, in_order=True)
    slab = Slab(sweep, CHANNELS, kind=kind, device=torch.device("cpu"))
    tile = torch.zeros((*EVERY.patch, CHANNELS))
    slab.add(EVERY.starts[0], tile)
    tile[7, 6, 5, 3] = wrong
    with pytest.raises(FloatingPointError, match="not finite"):
        slab.add(EVERY.starts[0], tile)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_more_is_held_than_what_is_asked_for(axis):
    """Tiles reach beyond it, and inside it their sums are the same."""
    box = ((3, 5, 9), (21, 20, 33))
    tiling = Tiling(SHAPE, EVERY.patch, EVERY.starts, box=box)
    sweep = sweep_along(axis, tiling, SHAPE)
    assert (sweep.low, sweep.high) == box
    kept = rolled(sweep, Sums.FULL)
    sums, _ = whole_sums(tiling, [each for row in sweep.rows for each in row])
    z, y, x = (slice(a, b) for a, b in zip(*box, strict=True))
    assert np.array_equal(kept.sums[z, y, x], sums[z, y, x])
    assert np.count_nonzero(kept.weights) == 18 * 15 * 24


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_means_in_half_precision_are_near_even_where_weights_are_tiny(tiled, axis):
    tiling, own = tiled
    kept = rolled(sweep_along(axis, tiling, own), Sums.MEANS)
    sums, weights = (each.numpy() for each in whole_sums(tiling, tiling.starts))
    seen = own_part(weights, tiling, own) > 0
    means = own_part(sums / np.where(weights > 0, weights, 1)[..., None], tiling, own)
    assert np.abs(own_part(kept.sums, tiling, own) - means)[seen].max() < 0.03
    assert np.array_equal(own_part(kept.weights, tiling, own), seen)


def nnunet_means(tiling: Tiling) -> torch.Tensor:
    """Add tiles up as nnU-Net's predictor does, operation by operation."""
    means = torch.zeros((CHANNELS, *tiling.shape), dtype=torch.half)
    weights = torch.zeros(tiling.shape, dtype=torch.half)
    gaussian = torch.from_numpy(nnunet_weights(tiling.patch)).half()
    logits = logits_of(tiling)
    for start in tiling.starts:
        part = tiling.slices(start)
        means[:, *part] += logits[start].permute(3, 0, 1, 2) * gaussian
        weights[part] += gaussian
    return torch.div(means, weights, out=means).permute(1, 2, 3, 0)


@pytest.mark.parametrize("tiling", [EVERY, SOME], ids=["every", "some"])
def test_sums_as_nnunets_give_its_logits_bit_by_bit(tiling):
    kept = rolled(plan_sweep(tiling, SHAPE, in_order=True), Sums.NNUNET)
    seen = kept.weights > 0
    means = kept.means.astype(np.float16)
    assert np.array_equal(means[seen], nnunet_means(tiling).numpy()[seen])
    assert not kept.sums[~seen].any()


@pytest.mark.parametrize("kind", Sums)
def test_compiled_sums_are_those_of_a_gpu(kind):
    """Which are PyTorch's; they may differ in the last bit of a mean."""
    sweep = plan_sweep(SOME, SHAPE, in_order=True)
    compiled, plain = (
        Slab(sweep, CHANNELS, kind=kind, device=torch.device("cpu")) for _ in range(2)
    )
    logits = logits_of(SOME)
    for start in sweep.rows[0]:
        compiled.add(start, logits[start])
        plain._add_blended(start, logits[start])
    apart = (compiled._sums.float() - plain._sums.float()).abs().max()
    assert apart <= {Sums.FULL: 1e-6, Sums.MEANS: 0.004, Sums.NNUNET: 0}[kind]
    assert torch.equal(compiled._weights, plain._weights)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_no_more_than_a_tile_is_deep_exists(axis):
    sweep = sweep_along(axis, EVERY, SHAPE)
    assert sweep.slab[axis] == EVERY.patch[axis]
    kept = rolled(sweep, Sums.FULL)
    assert max(kept.planes) <= EVERY.patch[axis]


def test_the_slab_rolls_along_the_axis_where_it_is_smallest():
    wide = plan_tiles((40, 50, 200), patch=(16, 16, 16), worth=None)
    assert plan_sweep(wide, wide.shape).axis == 2
    assert plan_sweep(wide, wide.shape).slab == (40, 50, 16)


def test_tiles_that_must_come_in_order_roll_along_the_first_axis():
    wide = plan_tiles((40, 50, 200), patch=(16, 16, 16), worth=None)
    sweep = plan_sweep(wide, wide.shape, in_order=True)
    assert sweep.axis == 0
    assert tuple(start for row in sweep.rows for start in row) == wide.starts


def test_only_what_tiles_touch_is_swept_with_a_border_of_background():
    tiling = Tiling((50, 50, 50), (8, 8, 8), ((10, 20, 0), (14, 20, 0)))
    sweep = plan_sweep(tiling, tiling.shape)
    assert (sweep.low, sweep.high) == ((9, 19, 0), (23, 29, 9))


def test_padding_is_not_swept():
    sweep = plan_sweep(PADDED, (7, 30, 9))
    assert sweep.shape == (7, 30, 9)
