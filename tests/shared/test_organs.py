"""Facts about the 30 organs."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_shared.errors import OptionError
from hanseg_shared.organs import (
    BACKGROUND,
    ORGANS,
    Side,
    counterpart,
    mirrored_labels,
    organ,
)

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
