from __future__ import annotations

import dataclasses
import functools
from collections import Counter

import numpy as np
import pytest

from hanseg_lab.phantom.phantom_case import make_case
from hanseg_segmentation.inference.localise import (
    find_region,
    needs_localiser,
    tiles_around,
    useful_tiles,
)
from hanseg_segmentation.inference.tiling import Tiling, Worth, plan_tiles
from hanseg_shared.documents import InferenceMode
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume
from tests.inference.scenes import threshold_model, world_points

pytestmark = pytest.mark.torch

NAMES = [each.name for each in ORGANS]
FEW = ("Brainstem", "Bone_Mandible", "Parotid_L", "Parotid_R", "SpinalCord", "Eye_PL")


@functools.cache
def case(seed: int):
    return make_case(seed, ct_spacing=(4.0, 4.0, 4.0), ct_width_mm=500.0, mr=False)


def only(labels: Volume, names) -> Volume:
    kept = np.isin(labels.array, [organ(name).label for name in names])
    return labels.with_array(np.where(kept, labels.array, 0).astype(np.uint8))


def mask_of(worth: Worth, shape) -> np.ndarray:
    """Return one value for each voxel of a grid."""
    whole = worth.blocks
    for axis, edge in enumerate(worth.edges):
        whole = np.repeat(whole, int(edge), axis=axis)
    z, y, x = shape
    return whole[:z, :y, :x]


def outside(labels: Volume, region) -> int:
    """Return how many voxels of organs lie outside the region."""
    mask = mask_of(region.on(labels.grid), labels.grid.shape)
    return int(np.count_nonzero((labels.array > 0) & ~mask))


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_no_organ_is_cut_when_all_were_found(seed):
    patient = case(seed)
    region = find_region(patient.labels, patient.ct, NAMES)
    assert region is not None
    assert outside(patient.labels, region) == 0


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_no_organ_is_cut_when_few_were_found(seed):
    patient = case(seed)
    region = find_region(only(patient.labels, FEW), patient.ct, NAMES)
    assert region is not None
    assert outside(patient.labels, region) == 0


def test_most_of_the_shoulders_is_left_out():
    patient = case(1)
    region = find_region(patient.labels, patient.ct, NAMES)
    assert region is not None
    body = patient.ct.array > -400
    kept = mask_of(region.on(patient.ct.grid), body.shape)
    assert np.count_nonzero(body & kept) < 0.65 * np.count_nonzero(body)


def test_a_model_of_one_organ_is_shown_its_surroundings_alone():
    patient = case(1)
    region = find_region(patient.labels, patient.ct, ["Brainstem"])
    assert region is not None
    worth = region.on(patient.ct.grid)
    assert 0 < worth.blocks.mean() < 0.03
    assert outside(only(patient.labels, ["Brainstem"]), region) == 0


def test_the_region_lies_in_the_patient_whatever_the_grid():
    patient = case(2)
    region = find_region(patient.labels, patient.ct, NAMES)
    assert region is not None
    c, s = np.cos(0.4), np.sin(0.4)
    turned = ((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, -1.0))
    half = np.array(turned) @ (np.array([59, 59, 49]) * np.array([4.0, 3.0, 6.0]) / 2)
    x, y, z = patient.ct.grid.centre - half
    grid = Grid((60, 60, 50), (4.0, 3.0, 6.0), (x, y, z), turned)
    index = np.rint(patient.ct.grid.world_to_index(world_points(grid))).astype(int)
    size = np.array(patient.ct.grid.size)
    seen = ((index >= 0) & (index < size)).all(axis=-1)
    i, j, k = np.moveaxis(np.clip(index, 0, size - 1), -1, 0)
    labels = np.where(seen, patient.labels.array[k, j, i], 0).astype(np.uint8)
    assert np.count_nonzero(labels) > 1000
    assert outside(Volume(labels, grid), region) == 0


@pytest.mark.parametrize(
    "names", [(), ("Brainstem", "SpinalCord"), ("Eye_PL", "Eye_PR", "Lips")]
)
def test_too_few_organs_leave_nothing_out(names):
    patient = case(1)
    assert find_region(only(patient.labels, names), patient.ct, NAMES) is None


def test_organs_that_contradict_each_other_leave_nothing_out():
    patient = case(1)
    noise = np.random.default_rng(0).permutation(patient.labels.array.ravel())
    scattered = patient.labels.with_array(noise.reshape(patient.labels.array.shape))
    assert find_region(scattered, patient.ct, NAMES) is None


def one_voxel(shape, voxel) -> Worth:
    blocks = np.zeros(shape, dtype=bool)
    blocks[voxel] = True
    return Worth(blocks, (1, 1, 1))


@pytest.mark.parametrize(
    ("x", "starts"),
    [(0, [0]), (25, [0]), (26, [0, 20]), (33, [0, 20]), (34, [20]), (79, [40])],
)
def test_a_tile_is_run_if_its_middle_part_matters(x, starts):
    shape = (8, 8, 80)
    tiling = Tiling(shape, (8, 8, 40), ((0, 0, 0), (0, 0, 20), (0, 0, 40)))
    found = useful_tiles(tiling, one_voxel(shape, (4, 4, x)), size=shape)
    assert [start[2] for start in found] == starts


SHAPE, PATCH = (40, 50, 60), (16, 16, 16)
PLANS = {
    "plain": (SHAPE, plan_tiles(SHAPE, patch=PATCH, worth=None)),
    "padded": (
        (40, 9, 60),
        plan_tiles((40, 9, 60), patch=PATCH, worth=None, centred=True),
    ),
}


def is_under(start, tiling: Tiling, voxel) -> bool:
    low, high = tiling.span(start)
    return all(a <= v < b for a, v, b in zip(low, voxel, high, strict=True))


@pytest.mark.parametrize("plan", PLANS)
def test_every_voxel_of_a_region_stays_under_a_tile(plan):
    shape, every = PLANS[plan]
    rng = np.random.default_rng(1)
    for voxel in rng.integers(0, shape, size=(50, 3)):
        starts = useful_tiles(every, one_voxel(shape, tuple(voxel)), size=shape)
        assert set(starts) <= set(every.starts)
        assert any(is_under(start, every, voxel) for start in starts)


def scattered(shape, count: int, seed: int) -> Worth:
    """Return a region of a few boxes of blocks of 4 x 3 x 2 voxels."""
    rng = np.random.default_rng(seed)
    edges = (4, 3, 2)
    blocks = np.zeros([-(-n // e) for n, e in zip(shape, edges, strict=True)], bool)
    for low in rng.integers(0, blocks.shape, size=(count, 3)):
        z, y, x = (
            slice(a, a + b) for a, b in zip(low, rng.integers(1, 5, 3), strict=True)
        )
        blocks[z, y, x] = True
    return Worth(blocks, edges)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("step", [0.5, 0.75])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_tiles_around_a_region_cover_it(plan, step, count):
    shape, every = PLANS[plan]
    for seed in range(8):
        worth = scattered(shape, count, seed)
        starts = tiles_around(every, worth, size=shape, step=step)
        seen = np.zeros(every.shape, dtype=bool)
        for start in starts:
            assert all(
                0 <= a <= n - p
                for a, n, p in zip(start, every.shape, PATCH, strict=True)
            )
            seen[every.slices(start)] = True
        z, y, x = (slice(a, a + n) for a, n in zip(every.first, shape, strict=True))
        assert not (mask_of(worth, shape) & ~seen[z, y, x]).any()


def test_fewer_tiles_lie_around_a_region_than_over_the_volume():
    shape = (60, 70, 80)
    blocks = np.zeros(shape, dtype=bool)
    blocks[5:50, 30:48, 30:60] = True
    every = plan_tiles(shape, patch=(20, 20, 20), worth=None)
    worth = Worth(blocks, (1, 1, 1))
    around = tiles_around(every, worth, size=shape, step=0.5)
    assert len(around) == 4 * 1 * 2
    assert len(useful_tiles(every, worth, size=shape)) > 3 * len(around)


def test_a_narrow_part_of_a_region_takes_narrow_rows():
    shape = (80, 80, 80)
    blocks = np.zeros(shape, dtype=bool)
    blocks[:40, 30:50, 30:50] = True
    blocks[70:, 10:70, 10:70] = True
    every = plan_tiles(shape, patch=(20, 20, 20), worth=None)
    starts = tiles_around(every, Worth(blocks, (1, 1, 1)), size=shape, step=0.5)
    rows = Counter(start[0] for start in starts)
    assert rows[0] == 1
    assert rows[60] == 25


def test_nothing_lies_around_no_region():
    every = plan_tiles(SHAPE, patch=PATCH, worth=None)
    nothing = Worth(np.zeros(SHAPE, dtype=bool), (1, 1, 1))
    assert tiles_around(every, nothing, size=SHAPE, step=0.5) == ()


def test_only_a_fine_model_in_fast_mode_needs_a_localiser():
    coarse, fine = threshold_model(), threshold_model(spacing_mm=(1.0, 1.0, 3.0))
    assert not needs_localiser(coarse)
    assert needs_localiser(fine)
    assert not needs_localiser(dataclasses.replace(fine, mode=InferenceMode.EXACT))
