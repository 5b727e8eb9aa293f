"""What real, partly drawn cases teach."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_segmentation.training.label_sets import EVERYTHING, bits_of
from hanseg_segmentation.training.places import places_of_organs
from hanseg_segmentation.training.prepare import (
    GULLET,
    LARYNX,
    allowed_labels,
    imaged_labels,
    openkbp_sample,
    phantom_sample,
    resample_labels,
)
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume
from tests.real_data import real_data

GRID = Grid((20, 20, 30), (3.0, 3.0, 3.0))


def drawing(**blocks: tuple[slice, slice, slice]) -> np.ndarray:
    drawn = np.zeros(GRID.shape, np.uint8)
    for label, block in blocks.items():
        drawn[block] = int(label[1:])
    return drawn


CORD = (slice(10, 20), slice(8, 10), slice(8, 10))
LARYNX_BLOCK = (slice(5, 15), slice(2, 12), slice(2, 12))
GULLET_BLOCK = (slice(0, 25), slice(12, 14), slice(12, 14))


def test_a_drawn_organ_is_certain():
    allowed, groups = allowed_labels(drawing(_2=CORD), GRID)
    assert set(np.unique(allowed[CORD])) == {bits_of(["SpinalCord"])}
    assert groups.tolist() == [bits_of(["SpinalCord"])]


def test_what_nobody_drew_may_be_anything_that_nobody_drew():
    allowed, _ = allowed_labels(drawing(_2=CORD), GRID)
    assert allowed[15, 0, 0] == EVERYTHING & ~bits_of(["SpinalCord"])


def test_a_case_without_any_drawing_teaches_nothing():
    allowed, groups = allowed_labels(drawing(), GRID)
    assert set(np.unique(allowed)) == {EVERYTHING}
    assert len(groups) == 0


def test_the_cord_may_go_on_below_its_drawing():
    allowed, _ = allowed_labels(drawing(_2=CORD), GRID)
    assert allowed[5, 8, 8] & bits_of(["SpinalCord"])
    assert not allowed[25, 0, 0] & bits_of(["SpinalCord"])


def test_the_core_of_the_larynx_is_one_of_ours():
    allowed, groups = allowed_labels(drawing(_6=LARYNX_BLOCK), GRID)
    assert allowed[12, 6, 6] == bits_of(LARYNX)
    assert allowed[12, 2, 2] & 1
    assert bits_of(LARYNX) in groups


def test_the_lower_larynx_may_be_none_of_ours():
    allowed, _ = allowed_labels(drawing(_6=LARYNX_BLOCK), GRID)
    assert allowed[6, 6, 6] & 1


def test_only_the_upper_end_of_the_oesophagus_is_ours():
    allowed, _ = allowed_labels(drawing(_5=GULLET_BLOCK), GRID)
    assert allowed[24, 12, 12] == bits_of(GULLET)
    assert allowed[16, 12, 12] == bits_of(GULLET) | 1
    assert allowed[2, 12, 12] == 1


def test_an_organ_is_not_looked_for_where_no_patient_has_it():
    grid = Grid((60, 60, 60), (6.0, 6.0, 6.0))
    drawn = np.zeros(grid.shape, np.uint8)
    drawn[35, 30, 30] = 1
    drawn[30, 26, 40] = 4
    drawn[30, 26, 20] = 3
    allowed, _ = allowed_labels(drawn, grid)
    eye = bits_of(["Eye_PL"])
    assert allowed[40, 17, 35] & eye
    assert not allowed[10, 17, 35] & eye
    assert not allowed[40, 45, 35] & eye


def test_every_organ_has_a_place():
    places = places_of_organs()
    assert set(places) == {each.label for each in ORGANS}
    assert all(place.box_ml > place.mean_ml > 0 for place in places.values())


def test_the_places_of_both_sides_are_mirror_images():
    left, right = (places_of_organs()[organ(f"Eye_P{side}").label] for side in "LR")
    assert left.low[0] == -right.high[0]
    assert left.high[0] == -right.low[0]
    assert left.mean_ml == right.mean_ml


def test_a_scan_shows_the_organs_at_the_height_of_its_tissue():
    grid = Grid((40, 40, 60), (6.0, 6.0, 6.0))
    drawn = np.zeros(grid.shape, np.uint8)
    drawn[35, 20, 20] = 1
    drawn[30, 16, 30] = 4
    drawn[30, 16, 10] = 3
    ct = np.full(grid.shape, -1000.0, np.float32)
    ct[20:55, 5:35, 5:35] = 40
    imaged = imaged_labels(drawn, ct, grid)
    assert imaged & bits_of(["Eye_PL"])
    assert not imaged & bits_of(["Esophagus_S"])


def test_a_scan_without_brain_stem_surely_shows_nothing():
    assert imaged_labels(drawing(_2=CORD), np.zeros(GRID.shape, np.float32), GRID) == 0


def test_labels_survive_a_change_of_grid():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[5:15, 5:15, 5:11] = 2
    labels[5:15, 5:15, 11:17] = 7
    fine = Volume(labels, Grid((20, 20, 20), (2.0, 2.0, 2.0)))
    coarse = Grid((10, 10, 10), (4.0, 4.0, 4.0), (-1.0, -1.0, -1.0))
    found = resample_labels(fine, coarse, labels=(2, 7))
    assert set(np.unique(found)) == {0, 2, 7}
    for label in (2, 7):
        assert (found == label).sum() * 64 == 4800


def test_a_simulated_patient_is_fully_known():
    sample = phantom_sample(1, spacing=(8.0, 8.0, 8.0))
    assert all(bin(each).count("1") == 1 for each in sample.sets.tolist())
    assert sample.sets[0] == 1
    assert len(sample.groups) == 30
    assert sample.mr is not None


@pytest.mark.data
def test_a_real_case_becomes_a_sample():
    ct = sorted(real_data("openkbp", "train").glob("*_ct.nii.gz"))[0]
    sample = openkbp_sample(ct, spacing=(6.0, 6.0, 6.0))
    assert sample.ct_hu.shape == sample.codes.shape
    assert sample.mr is None
    assert len(sample.groups) >= 4
    assert sample.sets[0] == 1
