from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from hanseg_segmentation.inference.back_to_grid import LabelWriter, WayBack
from hanseg_segmentation.inference.preprocess import model_grid
from hanseg_segmentation.inference.slab import plan_sweep
from hanseg_segmentation.inference.tiling import Tiling
from hanseg_shared.errors import ModelError
from hanseg_shared.grid import Grid
from tests.inference.planes import hand_over, written
from tests.inference.scenes import enlarged, world_points

Array = npt.NDArray[Any]

CHANNELS = 6
TABLE = np.array([0, 9, 4, 30, 1, 17], dtype=np.uint8)


def smooth_logits(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Return logits that vary over some voxels, as a network's do."""
    noise = np.random.default_rng(seed).normal(size=(*shape, CHANNELS))
    smooth = ndimage.gaussian_filter(noise, (1.5, 1.5, 1.5, 0))
    return np.ascontiguousarray(smooth / smooth.std() * 3, dtype=np.float32)


def brute_force(logits: Array, model: Grid, ct: Grid) -> Array:
    """Interpolate every channel at every CT voxel; return logits ``(K, z, y, x)``."""
    index = model.world_to_index(world_points(ct))[..., ::-1]
    coordinates = np.moveaxis(index, -1, 0)
    return np.stack(
        [
            ndimage.map_coordinates(
                logits[..., c].astype(np.float64), coordinates, order=1, mode="nearest"
            )
            for c in range(logits.shape[-1])
        ]
    )


def test_labels_equal_those_of_interpolating_every_channel(grid):
    ct = enlarged(grid)
    model = model_grid(ct, spacing=(3.0, 3.0, 3.0))
    logits = smooth_logits(model.shape)
    everything = brute_force(logits, model, ct)
    labels = written(logits, model, ct, TABLE).volume
    ordered = np.sort(everything, axis=0)
    clear = ordered[-1] - ordered[-2] > 1e-6
    assert clear.mean() > 0.999
    expected = TABLE[everything.argmax(axis=0)]
    assert labels.array.dtype == np.uint8
    assert labels.grid is ct
    assert np.array_equal(labels.array[clear], expected[clear])


def test_labels_equal_where_the_ct_is_coarser_than_the_model(grid):
    ct = Grid((9, 8, 7), (7.0, 6.0, 8.0), grid.origin, grid.direction)
    model = model_grid(ct, spacing=(3.0, 3.0, 3.0))
    logits = smooth_logits(model.shape, seed=1)
    labels = written(logits, model, ct, TABLE).volume
    expected = TABLE[brute_force(logits, model, ct).argmax(axis=0)]
    assert (labels.array == expected).mean() > 0.999


def test_voxels_outside_the_model_grid_are_background():
    model = Grid((8, 8, 8), (3.0, 3.0, 3.0))
    logits = np.zeros((8, 8, 8, CHANNELS), dtype=np.float32)
    logits[..., 2] = 5.0
    ct = Grid((20, 20, 20), (3.0, 3.0, 3.0), (-18.0, -18.0, -18.0))
    labels = written(logits, model, ct, TABLE).labels
    assert (labels[6:14, 6:14, 6:14] == 4).all()
    assert np.count_nonzero(labels) == 8**3


def test_padding_at_the_end_of_the_logits_is_not_seen():
    model = Grid((8, 8, 8), (3.0, 3.0, 3.0))
    logits = np.zeros((16, 16, 16, CHANNELS), dtype=np.float32)
    logits[8:, :, :, 1] = 50.0
    ct = Grid((8, 8, 10), (3.0, 3.0, 3.0))
    labels = written(logits, model, ct, TABLE).volume
    assert not labels.array.any()


def test_a_model_grid_of_one_slice_works():
    model = Grid((8, 8, 1), (3.0, 3.0, 3.0))
    logits = np.zeros((1, 8, 8, CHANNELS), dtype=np.float32)
    logits[:, :, :4, 3] = 1.0
    labels = written(logits, model, model, TABLE).volume
    assert (labels.array[0, :, :4] == 30).all()
    assert not labels.array[0, :, 4:].any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("at_once", [1, 3, 1000])
def test_planes_that_come_a_few_at_a_time_give_the_same(grid, axis, at_once):
    ct = enlarged(grid)
    model = model_grid(ct, spacing=(3.0, 4.0, 5.0))
    logits = smooth_logits(model.shape, seed=2)
    whole = written(logits, model, ct, TABLE)
    some = written(logits, model, ct, TABLE, axis=axis, at_once=at_once)
    assert np.array_equal(some.labels, whole.labels)
    assert some.confidence == pytest.approx(whole.confidence, nan_ok=True)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_precision_gives_the_labels_of_the_rounded_logits(grid, axis):
    ct = enlarged(grid)
    model = model_grid(ct, spacing=(3.0, 4.0, 5.0))
    half = smooth_logits(model.shape, seed=5).astype(np.float16)
    whole = written(half.astype(np.float32), model, ct, TABLE)
    some = written(half, model, ct, TABLE, axis=axis, at_once=3)
    assert np.array_equal(some.labels, whole.labels)
    assert some.confidence == pytest.approx(whole.confidence, nan_ok=True)


@pytest.mark.parametrize("nearest", [0, 1, 2])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_may_come_along_the_axis_of_the_nearest_slice(grid, axis, nearest):
    ct = enlarged(grid)
    model = model_grid(ct, spacing=(3.0, 4.0, 5.0))
    between = WayBack.between(ct, model)
    way = WayBack(between.network_from_image, 0.5, nearest)
    logits = smooth_logits(model.shape, seed=3)
    whole = written(logits, model, ct, TABLE, way=way)
    some = written(logits, model, ct, TABLE, way=way, axis=axis, at_once=2)
    assert np.array_equal(some.labels, whole.labels)


def test_the_part_that_tiles_touch_is_enough(grid):
    """Beyond it the whole volume's logits would say background, and so do none."""
    ct = enlarged(grid)
    model = model_grid(ct, spacing=(3.0, 3.0, 3.0))
    tiling = Tiling(model.shape, (9, 8, 7), ((3, 4, 5), (7, 4, 9)))
    sweep = plan_sweep(tiling, model.shape)
    z, y, x = (slice(a, b) for a, b in zip(sweep.low, sweep.high, strict=True))
    weights = np.zeros(model.shape)
    for start in tiling.starts:
        weights[tiling.slices(start)] = 1
    logits = smooth_logits(model.shape, seed=4) * (weights > 0)[..., None]
    writer = LabelWriter(
        ct,
        sweep,
        network=model.shape,
        label_of_channel=TABLE,
        way=WayBack.between(ct, model),
    )
    hand_over(logits[z, y, x], weights[z, y, x], writer, axis=sweep.axis, at_once=2)
    whole = written(logits, model, ct, TABLE, weights=weights)
    assert np.count_nonzero(whole.labels) > 1000
    assert np.array_equal(writer.labels, whole.labels)


def mean_of(sums: Array, weights: Array) -> LabelWriter:
    model = Grid(sums.shape[2::-1])
    return written(sums, model, model, TABLE[: sums.shape[-1]], weights=weights)


def test_sums_become_means():
    """Half a weight makes logits twice as far apart."""
    sums = np.zeros((1, 1, 1, 3))
    sums[..., 1] = np.log(2.0)
    writer = mean_of(sums, np.full((1, 1, 1), 0.5))
    assert writer.confidence[1] == pytest.approx(4 / (4 + 1 + 1))


def test_means_that_are_no_numbers_are_refused():
    sums = np.zeros((1, 2, 1, 3))
    sums[0, 1, 0, 2] = np.inf
    with pytest.raises(ModelError, match="too large for half precision"):
        mean_of(sums, np.ones((1, 2, 1)))


def test_what_no_tile_covered_is_certain_background():
    writer = mean_of(np.zeros((2, 2, 2, 3)), np.zeros((2, 2, 2)))
    assert not writer.labels.any()
    assert np.isnan(writer.confidence).all()


def test_confidence_is_the_mean_probability_of_what_a_channel_wins():
    sums = np.zeros((2, 1, 1, 3))
    sums[0, 0, 0, 1] = np.log(3.0)  # 3 / (3 + 1 + 1)
    sums[1, 0, 0, 1] = np.log(8.0)  # 8 / (8 + 1 + 1)
    writer = mean_of(sums, np.ones((2, 1, 1)))
    assert writer.confidence[1] == pytest.approx((0.6 + 0.8) / 2)
    assert np.isnan(writer.confidence[2])


def test_equal_logits_go_to_the_first_channel():
    writer = mean_of(np.zeros((1, 1, 1, 3)), np.ones((1, 1, 1)))
    assert writer.labels.item() == TABLE[0]
