import numpy as np
import pytest
from scipy import ndimage

from hanseg_segmentation.inference.tiling import (
    Shape,
    Tiling,
    Worth,
    gaussian_weights,
    nnunet_weights,
    plan_tiles,
)
from hanseg_shared.volume import Mask, Voxels

PATCH = (16, 16, 16)


def worth_of(mask: Mask) -> Worth:
    return Worth(mask, (1, 1, 1))


def everywhere(shape: Shape) -> Worth:
    return worth_of(np.ones(shape, dtype=bool))


def covered(tiling: Tiling) -> Voxels:
    count = np.zeros(tiling.shape, dtype=int)
    for start in tiling.starts:
        count[tiling.slices(start)] += 1
    return count


@pytest.mark.parametrize(
    "shape", [(16, 16, 16), (17, 40, 33), (50, 16, 24), (3, 5, 90)]
)
def test_every_voxel_lies_under_a_tile(shape):
    tiling = plan_tiles(shape, patch=PATCH, worth=everywhere(shape))
    assert covered(tiling).min() >= 1


def test_neighbours_overlap_by_at_least_half():
    tiling = plan_tiles((16, 16, 70), patch=PATCH, worth=everywhere((16, 16, 70)))
    firsts = [x for _, _, x in tiling.starts]
    assert max(np.diff(firsts)) <= 8


@pytest.mark.parametrize("step", [0.25, 0.5, 0.75, 1.0])
def test_neighbours_are_no_further_apart_than_the_step(step):
    shape = (16, 16, 90)
    tiling = plan_tiles(shape, patch=PATCH, worth=everywhere(shape), step=step)
    firsts = [x for _, _, x in tiling.starts]
    assert max(np.diff(firsts)) <= round(16 * step)
    assert covered(tiling).min() >= 1


def test_tiles_stay_inside():
    tiling = plan_tiles((19, 35, 47), patch=PATCH, worth=everywhere((19, 35, 47)))
    ends = np.array(tiling.starts) + PATCH
    assert ends.max(axis=0).tolist() == list(tiling.shape)


def test_a_small_volume_is_padded_to_one_tile():
    tiling = plan_tiles((3, 4, 5), patch=PATCH, worth=everywhere((3, 4, 5)))
    assert tiling.shape == PATCH
    assert tiling.starts == ((0, 0, 0),)


def test_tiles_of_pure_air_are_left_out():
    worth = np.zeros((16, 16, 64), dtype=bool)
    worth[8, 8, 60] = True
    tiling = plan_tiles((16, 16, 64), patch=PATCH, worth=worth_of(worth))
    assert tiling.starts == ((0, 0, 48),)


def test_all_air_leaves_no_tile():
    nothing = np.zeros((32, 32, 32), dtype=bool)
    assert plan_tiles((32, 32, 32), patch=PATCH, worth=worth_of(nothing)).starts == ()


def test_blocks_need_no_whole_number_of_voxels():
    blocks = np.zeros((1, 1, 4), dtype=bool)
    blocks[0, 0, 2] = True  # voxels 5 to 7.5
    worth = Worth(blocks, (1, 1, 2.5))
    found = [worth.any_between((0, 0, x), (1, 1, x + 1)) for x in range(10)]
    assert np.flatnonzero(found).tolist() == [5, 6, 7]


def test_weights_are_largest_in_the_middle_and_never_zero():
    weights = gaussian_weights((16, 24, 32))
    assert weights.shape == (16, 24, 32)
    assert weights[8, 12, 16] == weights.max() == 1.0
    assert weights.min() == weights[0, 0, 0] == pytest.approx(1e-7)


def test_weights_are_those_of_a_filtered_point():
    point = np.zeros(PATCH)
    point[8, 8, 8] = 1.0
    filtered = ndimage.gaussian_filter(point, 2.0, mode="constant")
    assert np.allclose(gaussian_weights(PATCH), filtered / filtered.max(), atol=1e-6)


def test_weights_as_nnunets_are_a_filtered_point_in_half_precision():
    point = np.zeros((12, 16, 64))
    point[6, 8, 32] = 1.0
    filtered = ndimage.gaussian_filter(point, (1.5, 2.0, 8.0), mode="constant")
    filtered /= filtered.max() / 10
    expected = filtered.astype(np.float16)
    expected[expected == 0] = expected[expected > 0].min()
    assert np.array_equal(nnunet_weights((12, 16, 64)), expected)


def test_a_small_volume_can_be_padded_on_both_sides():
    shape = (10, 16, 13)
    tiling = plan_tiles(shape, patch=PATCH, worth=None, centred=True)
    assert tiling.shape == PATCH
    assert tiling.first == (3, 0, 1)


@pytest.mark.parametrize("step", [0.25, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("size", [64, 65, 100, 110, 333])
def test_tiles_lie_where_nnunet_lays_them(size, step):
    expected = [int(np.round(each)) for each in nnunet_steps(size, 64, step)]
    tiling = plan_tiles((64, 64, size), patch=(64, 64, 64), worth=None, step=step)
    assert [x for _, _, x in tiling.starts] == expected


def nnunet_steps(size: int, edge: int, step: float) -> list[float]:
    """Return the positions of nnU-Net's `compute_steps_for_sliding_window`."""
    count = int(np.ceil((size - edge) / (edge * step))) + 1
    return [i * (size - edge) / max(1, count - 1) for i in range(count)]


def test_the_box_of_what_is_worth_a_look_holds_it_and_little_more():
    blocks = np.zeros((5, 6, 7), dtype=bool)
    blocks[1, 2, 3] = blocks[3, 2, 6] = True
    worth = Worth(blocks, (2, 3.5, 4))
    assert worth.box((10, 21, 26)) == ((2, 7, 12), (8, 11, 26))
    assert Worth(~blocks & blocks, (2, 3.5, 4)).box((10, 21, 26))[1] == (10, 21, 26)
