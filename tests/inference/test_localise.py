from __future__ import annotations

import dataclasses
import functools

import numpy as np
import pytest

from hanseg_segmentation.inference.localise import (
    find_region,
    needs_localiser,
    useful_tiles,
)
from hanseg_segmentation.inference.tiling import Worth, plan_tiles
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.phantom.case import make_case
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
    worth = one_voxel((8, 8, 80), (4, 4, x))
    found = useful_tiles(
        [(0, 0, 0), (0, 0, 20), (0, 0, 40)],
        patch=(8, 8, 40),
        shape=(8, 8, 80),
        worth=worth,
    )
    assert [start[2] for start in found] == starts


def test_every_voxel_of_a_region_stays_under_a_tile():
    shape, patch = (40, 50, 60), (16, 16, 16)
    every = plan_tiles(shape, patch=patch, worth=None)
    rng = np.random.default_rng(1)
    for voxel in rng.integers(0, shape, size=(50, 3)):
        starts = useful_tiles(
            every.starts, patch=patch, shape=shape, worth=one_voxel(shape, tuple(voxel))
        )
        assert any(
            all(s <= v < s + 16 for s, v in zip(start, voxel, strict=True))
            for start in starts
        )
        assert len(starts) < len(every.starts) / 4


def test_only_a_fine_model_in_fast_mode_needs_a_localiser():
    coarse, fine = threshold_model(), threshold_model(spacing_mm=(1.0, 1.0, 3.0))
    assert not needs_localiser(coarse)
    assert needs_localiser(fine)
    assert not needs_localiser(dataclasses.replace(fine, exact=True))
