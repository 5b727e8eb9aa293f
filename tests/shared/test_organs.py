"""Facts about the 30 organs."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import ndimage

from hanseg_lab.phantom import Scope, make_case
from hanseg_shared.errors import OptionError
from hanseg_shared.organs import (
    BACKGROUND,
    ORGANS,
    Side,
    counterpart,
    mirrored_labels,
    organ,
)
from hanseg_shared.volume import Volume
from tests.shared.colours import (
    SEEN_WITHOUT,
    ciede2000,
    lab,
    lab_seen_without,
)

NEAR_MM = 10.0
"""Organs this close to each other are neighbours."""

IN_ORDER = (
    "A_Carotid_L A_Carotid_R Arytenoid Bone_Mandible Brainstem BuccalMucosa "
    "Cavity_Oral Cochlea_L Cochlea_R Cricopharyngeus Esophagus_S Eye_AL Eye_AR Eye_PL "
    "Eye_PR Glnd_Lacrimal_L Glnd_Lacrimal_R Glnd_Submand_L Glnd_Submand_R "
    "Glnd_Thyroid Glottis Larynx_SG Lips OpticChiasm OpticNrv_L OpticNrv_R "
    "Parotid_L Parotid_R Pituitary SpinalCord"
)


def test_names_and_order_are_the_challenges():
    assert [each.name for each in ORGANS] == IN_ORDER.split()


def test_labels_count_from_one():
    assert [each.label for each in ORGANS] == list(range(1, 31))
    assert BACKGROUND == 0


@pytest.mark.parametrize("each", ORGANS, ids=lambda each: each.name)
def test_a_name_fits_tg_263(each):
    assert 0 < len(each.name) <= 16


@pytest.mark.parametrize("each", ORGANS, ids=lambda each: each.name)
def test_an_organ_is_found_by_its_name(each):
    assert organ(each.name) is each


@pytest.mark.parametrize("each", ORGANS, ids=lambda each: each.name)
def test_the_name_ends_in_the_side_it_lies_on(each):
    expected = {"L": Side.LEFT, "R": Side.RIGHT}
    in_name = expected.get(each.name[-1]) if each.name[-2] in "_AP" else None
    assert each.side is (in_name or Side.NONE)


@pytest.mark.parametrize("each", ORGANS, ids=lambda each: each.name)
def test_an_organ_has_a_code_a_colour_and_words(each):
    assert each.code.value.isdecimal()
    assert each.code.meaning
    assert all(0 <= channel <= 255 for channel in each.colour)
    assert each.description


def test_colours_tell_organs_apart():
    assert len({each.colour for each in ORGANS}) == len(ORGANS)


def test_the_counterpart_of_the_counterpart_is_the_organ():
    for each in ORGANS:
        other = counterpart(each)
        if other is None:
            assert each.side is Side.NONE
        else:
            assert other.side is not each.side
            assert counterpart(other) is each


def test_left_and_right_share_their_code():
    for each in ORGANS:
        other = counterpart(each)
        assert other is None or other.code == each.code


def test_mirroring_twice_changes_no_label():
    table = mirrored_labels()
    np.testing.assert_array_equal(table[table], np.arange(31))
    assert table[27] == 28
    assert table[30] == 30


def test_an_unknown_organ_is_told():
    with pytest.raises(OptionError, match="no organ is called 'Heart'"):
        organ("Heart")


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_of_colours_is_that_of_the_reference(one, other, difference):
    assert ciede2000(one, other) == pytest.approx(difference, abs=1e-4)


@pytest.fixture(scope="module")
def pairs() -> set[tuple[int, int]]:
    """Organs that lie next to each other, on either side of the patient."""
    case = make_case(
        4,
        ct_spacing=(2.0, 2.0, 2.5),
        ct_width_mm=260,
        mr=False,
        scope=Scope.HEAD_AND_NECK,
    )
    found = neighbours(case.labels)
    assert len(found) > 30
    other = mirrored_labels()
    return found | {(int(other[a]), int(other[b])) for a, b in found}


def test_neighbours_have_colours_that_differ(pairs):
    for a, b in pairs:
        one, other = ORGANS[a - 1], ORGANS[b - 1]
        difference = ciede2000(lab(one.colour), lab(other.colour))
        assert difference >= 25, (one.name, other.name, difference)


@pytest.mark.parametrize("cones", SEEN_WITHOUT)
def test_who_is_colour_blind_tells_neighbours_apart(pairs, cones):
    for a, b in pairs:
        one, other = ORGANS[a - 1], ORGANS[b - 1]
        seen = (lab_seen_without(cones, each.colour) for each in (one, other))
        difference = ciede2000(*seen)
        assert difference >= 18, (one.name, other.name, difference)


def test_colours_are_simulated_as_published():
    red, grey = (255, 0, 0), (128, 128, 128)
    assert lab_seen_without("red", red)[0] < lab(red)[0] - 10  # reds are dark
    for cones in SEEN_WITHOUT:
        assert ciede2000(lab_seen_without(cones, grey), lab(grey)) < 0.1


def test_no_two_organs_look_alike_and_none_is_dark_or_grey():
    labs = [lab(each.colour) for each in ORGANS]
    for a, b in itertools.combinations(labs, 2):
        assert ciede2000(a, b) >= 10
    for lightness, a, b in labs:
        assert lightness >= 45
        assert np.hypot(a, b) >= 30


def neighbours(labels: Volume) -> set[tuple[int, int]]:
    """Return the pairs of labels that lie within 10 mm of each other."""
    sampling = labels.grid.spacing[::-1]
    margin = [int(NEAR_MM / step) + 1 for step in sampling]
    found = set()
    for label, box in enumerate(ndimage.find_objects(labels.array), start=1):
        wide = tuple(
            slice(max(0, span.start - m), span.stop + m)
            for span, m in zip(box, margin, strict=True)
        )
        part = labels.array[wide]
        distance = ndimage.distance_transform_edt(part != label, sampling=sampling)
        near = set(np.unique(part[distance <= NEAR_MM]).tolist()) - {0, label}
        found |= {(min(label, each), max(label, each)) for each in near}
    return found
