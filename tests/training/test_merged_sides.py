"""Left and right as one to the network: channels, sets of labels, patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hanseg_lab.phantom import make_case
from hanseg_lab.training.label_sets import (
    CLASSES,
    EVERYTHING,
    bits_of,
    channels_of_organs,
    merge_sets,
    merge_sizes,
    mirror_sets,
)
from hanseg_lab.training.patches import merge_sides
from hanseg_lab.training.prepare import phantom_sample
from hanseg_lab.training.recipe import Recipe, read_recipe
from hanseg_lab.training.run import plan_package
from hanseg_lab.training.sample import Sample
from hanseg_lab.training.smoke import SMOKE_SPACING_MM, shrink_recipe
from hanseg_lab.training.training_batches import Batches, Stream, make_cutter
from hanseg_segmentation.inference.part_sides import part_sides
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.organs import ORGANS, Side, counterpart, organ

pytestmark = pytest.mark.torch

CHANNELS = channels_of_organs(merged_sides=True)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return shrink_recipe(read_recipe("quetin"))


@pytest.fixture(scope="module")
def sample() -> Sample:
    return phantom_sample(3, spacing=SMOKE_SPACING_MM)


def test_the_organs_of_a_pair_and_no_others_share_a_channel():
    assert sorted(set(CHANNELS.values())) == list(range(1, 23))
    for each in ORGANS:
        other = counterpart(each)
        sharing = {n for n, c in CHANNELS.items() if c == CHANNELS[each.name]}
        assert sharing == {each.name} | (set() if other is None else {other.name})


def test_a_set_becomes_the_set_of_its_organs_channels():
    names = ("Parotid_R", "Brainstem", "SpinalCord")
    sets = np.array([bits_of(names) | 1, EVERYTHING], np.int32)
    wanted = 1 + sum(1 << CHANNELS[name] for name in names)
    assert merge_sets(sets).tolist() == [wanted, (1 << 23) - 1]


def test_mirroring_does_not_change_merged_sets():
    sets = np.random.default_rng(0).integers(0, EVERYTHING, 1000, dtype=np.int32)
    assert np.array_equal(merge_sets(mirror_sets(sets)), merge_sets(sets))


def test_a_pair_is_as_large_as_both_if_both_are_known():
    sizes = np.zeros(CLASSES, np.float32)
    for name, size in (("Parotid_L", 5), ("Parotid_R", 7), ("Eye_AL", 3), ("Lips", 2)):
        sizes[organ(name).label] = size
    merged = merge_sizes(sizes)
    known = {
        name: float(merged[CHANNELS[name]]) for name in ("Parotid_L", "Eye_AL", "Lips")
    }
    assert known == {"Parotid_L": 12, "Eye_AL": 0, "Lips": 2}


def test_the_labels_that_teach_are_those_that_parting_gives_back(recipe: Recipe):
    case = make_case(5, ct_spacing=(4.0, 4.0, 4.0), ct_width_mm=260, mr=False)
    package = plan_package(recipe, (), provenance={})
    taught = merge_sets(np.left_shift(1, case.labels.array.astype(np.int32)))
    channel = np.log2(taught).astype(np.uint8)
    answer = package.label_of_channel(23)[channel]
    parted = part_sides(case.labels.with_array(answer), package.merged_pairs)
    assert np.array_equal(parted.labels.array, case.labels.array)


def test_a_package_of_merged_sides_reads_back(recipe: Recipe):
    package = plan_package(recipe, (), provenance={})
    again = ModelPackage.model_validate_json(package.model_dump_json())
    assert again.merged_pairs == {
        each.label: organ(each.name[:-1] + "R").label
        for each in ORGANS
        if each.side is Side.LEFT
    }


def test_only_pairs_may_share_a_channel(recipe: Recipe):
    package = plan_package(recipe, (), provenance={}).model_dump()
    package["labels"] |= {"Lips": package["labels"]["Brainstem"]}
    with pytest.raises(ValueError, match="share an output channel"):
        ModelPackage.model_validate(package)


def test_patches_are_cut_alike_and_then_merged(recipe: Recipe, sample: Sample):
    apart = make_cutter(recipe, np.random.default_rng(1)).cut(sample)
    together = merge_sides(apart)
    assert torch.equal(together.channels, apart.channels)
    assert len(together.groups) == 22
    assert len(together.sizes) == 23
    batch = Batches(recipe, (), [sample], Stream(0)).draw(0)
    assert int(batch.allowed.max()) < 1 << 23


def test_either_image_is_left_out_at_random(recipe: Recipe, sample: Sample):
    batches = Batches(recipe, (), [sample], Stream(0))
    seen = set()
    for number in range(24):
        for images in batches.draw(number).channels:
            ct, mr = (bool(each.any()) for each in images)
            seen.add((ct, mr))
    assert seen == {(True, True), (True, False), (False, True)}
