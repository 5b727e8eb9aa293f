"""Patches: shape, mirroring, truncation, and when they carry an MR."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hanseg_lab.training.courses import REACH_MM, courses_of_organs
from hanseg_lab.training.label_sets import EVERYTHING, Bits, bits_of
from hanseg_lab.training.organ_places import places_of_organs, usual_spots
from hanseg_lab.training.patches import (
    Patch,
    PatchCutter,
    Variation,
    expected_sizes,
)
from hanseg_lab.training.prepare import phantom_sample
from hanseg_lab.training.sample import Sample
from hanseg_segmentation.packages.package import Normalisation
from hanseg_shared.organs import organ

pytestmark = pytest.mark.torch

STILL = Variation(
    rotation_degrees=0, scale=(1.0, 1.0), truncation_share=0, mr_share=1, organ_share=0
)

NONE = np.zeros(0, np.int32)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return phantom_sample(3, spacing=(8.0, 8.0, 8.0))


def make_cutter(variation: Variation = STILL, seed: int = 0) -> PatchCutter:
    return PatchCutter(
        np.random.default_rng(seed),
        shape=(32, 24, 24),
        spacing_mm=(8.0, 8.0, 8.0),
        sample_spacing_mm=(8.0, 8.0, 8.0),
        variation=variation,
        normalisation=Normalisation(),
    )


def centre_x(patch: Patch, name: str) -> float:
    found = np.argwhere(patch.allowed.numpy() == 1 << organ(name).label)
    return float(found[:, 2].mean())


def test_a_patch_has_its_shape(sample: Sample):
    patch = make_cutter().cut(sample)
    assert patch.channels.shape == (3, 32, 24, 24)
    assert patch.channels.dtype == torch.float32
    assert patch.allowed.shape == (32, 24, 24)
    assert patch.allowed.dtype == torch.int32


def test_the_left_organ_stays_on_the_left_in_mirrored_patches_too(sample: Sample):
    wide = Variation(organ_share=0, truncation_share=0, scale=(0.7, 0.7))
    cut = make_cutter(wide)
    seen = 0
    for _ in range(12):
        patch = cut.cut(sample)
        labels = set(patch.allowed.flatten().tolist())
        pair = [1 << organ(f"Parotid_{side}").label for side in "LR"]
        if labels.issuperset(pair):
            assert centre_x(patch, "Parotid_L") > centre_x(patch, "Parotid_R")
            seen += 1
    assert seen >= 3


def test_patches_about_organs_show_organs(sample: Sample):
    always = Variation(organ_share=1, truncation_share=0)
    cut = make_cutter(always)
    shown = [bool((cut.cut(sample).allowed & 1 == 0).any()) for _ in range(8)]
    assert all(shown)


def test_without_mr_both_channels_are_empty(sample: Sample):
    patch = make_cutter(Variation(mr_share=0)).cut(sample)
    assert not patch.channels[1:].any()


def test_outside_the_field_of_view_the_mr_is_empty(sample: Sample):
    cut = make_cutter()
    for _ in range(6):
        patch = cut.cut(sample)
        outside = patch.channels[2] == 0
        assert not patch.channels[1][outside].any()


def test_a_truncated_patch_is_air_and_background_there(sample: Sample):
    patch = make_cutter(Variation(truncation_share=1, organ_share=0)).cut(sample)
    ends = [patch.allowed[:4], patch.allowed[-4:]]
    assert any(bool((end == 1).all()) for end in ends)


def test_a_stream_gives_the_same_patches_again(sample: Sample):
    first, again = make_cutter(seed=5).cut(sample), make_cutter(seed=5).cut(sample)
    assert torch.equal(first.channels, again.channels)


def test_patches_can_be_coarser_than_samples(sample: Sample):
    """Twice the spacing shows twice as much of the patient along each axis."""
    fine = make_cutter()
    coarse = PatchCutter(
        np.random.default_rng(0),
        shape=(16, 12, 12),
        spacing_mm=(16.0, 16.0, 16.0),
        sample_spacing_mm=(8.0, 8.0, 8.0),
        variation=STILL,
        normalisation=Normalisation(),
    )
    a = (fine.cut(sample).allowed != 1).float().mean()
    b = (coarse.cut(sample).allowed != 1).float().mean()
    assert float(a) == pytest.approx(float(b), rel=0.5)


def test_an_organ_that_is_surely_there_has_its_usual_size():
    label = organ("Eye_PL").label
    place = places_of_organs()[label]
    allowed = np.full((100, 100, 100), EVERYTHING, np.int32)
    sizes = expected_sizes(
        allowed, bits_of(["Eye_PL"]), groups=NONE, voxel_ml=place.box_ml / 1e6
    )
    assert sizes[label] == pytest.approx(place.mean_ml / (place.box_ml / 1e6))
    assert np.count_nonzero(sizes) == 1


def test_a_part_of_a_carotids_course_shows_as_much_of_it():
    label = organ("A_Carotid_L").label
    course = courses_of_organs()[label]
    allowed = np.ones((20, 40, 40), np.int32)
    edge = int(2 * REACH_MM / 2)
    allowed[:, 5 : 5 + edge, 5 : 5 + edge] |= 1 << label
    voxel_mm3 = 2 * 2 * 2.5

    def size(region: Bits) -> float:
        sizes = expected_sizes(
            region, 1 << label, groups=NONE, voxel_ml=voxel_mm3 / 1000
        )
        return float(sizes[label]) * voxel_mm3

    assert size(allowed) == pytest.approx(course.area_mm2 * 20 * 2.5)
    assert size(allowed[:10]) == 0
    assert size(allowed[:, 6:]) == 0


def test_what_is_taught_at_a_sella_has_its_usual_size_if_its_place_is_whole():
    label = organ("Pituitary").label
    spot = usual_spots()[label]
    z, y, x = np.ogrid[-20:20, -20:20, -20:20]
    a, b, c = spot.reach
    near = (x / a) ** 2 + (y / b) ** 2 + (z / c) ** 2 <= 1
    allowed = np.where(near, 1 | 1 << label, 1).astype(np.int32)
    seen = np.array([1 << label], np.int32)

    def size(region: Bits, groups: Bits) -> float:
        return float(expected_sizes(region, 0, groups=groups, voxel_ml=1e-3)[label])

    usual = places_of_organs()[label].mean_ml * 1000
    assert size(allowed, seen) == pytest.approx(usual)
    assert size(allowed, NONE) == 0
    assert size(allowed[20:], seen) == 0


def test_an_organ_outside_the_patch_is_not_expected():
    allowed = np.ones((10, 10, 10), np.int32)
    assert not expected_sizes(allowed, EVERYTHING, groups=NONE, voxel_ml=1.0).any()


def test_an_unmoved_patch_shows_the_samples_own_voxels(sample: Sample):
    variation = Variation(
        unmoved_share=1, truncation_share=0, coarse_share=0, mirror_share=0
    )
    wanted = make_cutter(variation).cut(sample).allowed.numpy()
    around = np.pad(sample.sets[sample.codes], 32, constant_values=1)
    windows = np.lib.stride_tricks.sliding_window_view(around, wanted.shape)
    rough = (windows[..., ::8, ::6, ::6] == wanted[::8, ::6, ::6]).all(axis=(3, 4, 5))
    assert any(
        np.array_equal(windows[z, y, x], wanted) for z, y, x in np.argwhere(rough)
    )


def test_most_mrs_are_nearly_in_register():
    cut, in_place = (
        make_cutter(Variation(misregistration_mm=4.0)),
        torch.zeros(1, 2, 2, 2, 3),
    )
    size = np.full(3, 2.0)
    shifts = [cut._displace(in_place, size).abs().max().item() for _ in range(400)]
    assert max(shifts) > 2.5
    assert 0.5 < np.mean(np.array(shifts) < 4 / 3) < 0.8
