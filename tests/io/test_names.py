"""What a file is by its name, whatever the patient is called."""

import unicodedata

import pytest

from hanseg_shared.io.names import NameRole, natural, parse_name, says_only_masks


@pytest.mark.parametrize(
    ("stem", "role", "case"),
    [
        ("dose-11_ct", NameRole.CT, "dose-11"),
        ("Clinical Trial 7 ct", NameRole.CT, "Clinical Trial 7"),
        ("SEGAL_CT", NameRole.CT, "SEGAL"),
        ("oar3_ct", NameRole.CT, "oar3"),
        ("Mr Brown_ct", NameRole.CT, "Mr Brown"),
        ("MR_04_ct", NameRole.CT, "MR_04"),
        ("MR_04_t1", NameRole.MR, "MR_04"),
        ("hector_ct", NameRole.CT, "hector"),
        ("T1-weighted Jürgens_ct", NameRole.CT, "T1-weighted Jürgens"),
        ("case_01_IMG_CT", NameRole.CT, "case_01"),
        ("case_01_IMG_MR_T1", NameRole.MR, "case_01"),
        ("ct_7", NameRole.CT, "7"),
        ("hector", NameRole.NONE, "hector"),
        ("Mr Brown", NameRole.NONE, "Mr Brown"),
        ("mr_brown", NameRole.MR, "brown"),
        ("HaN-Seg_2", NameRole.NONE, "HaN-Seg_2"),
        ("bert_ct_mask", NameRole.MASK, "bert"),
        ("case_07_OAR_Lips", NameRole.MASK, "case_07"),
        ("bert_t2_mr", NameRole.OTHER_MR, "bert"),
        ("bert_registered_ct", NameRole.DERIVED, "bert"),
        ("mr_to_ct", NameRole.UNCLEAR, "mr_to"),
        ("t1_registered_to_ct", NameRole.UNCLEAR, "t1_registered_to"),
    ],
)
def test_the_last_word_with_a_meaning_decides(stem, role, case):
    parsed = parse_name(stem)
    assert (parsed.role, parsed.case) == (role, case)


def test_a_name_is_the_same_however_its_umlauts_are_written():
    stem = "Bjørn Åkesson_ct"
    decomposed = unicodedata.normalize("NFD", stem)
    assert decomposed != stem
    assert parse_name(decomposed) == parse_name(stem)


@pytest.mark.parametrize(
    ("name", "only_masks"),
    [
        ("contours", True),
        ("Masks 2", False),
        ("seg", True),
        ("Seg, Ann", False),
    ],
)
def test_a_folder_of_masks_has_no_other_word(name, only_masks):
    assert says_only_masks(name) is only_masks


def test_names_sort_as_people_count_with_ascii_digits():
    names = ["m20", "9" * 6000, "m3", "010", "3"]
    assert sorted(names, key=natural) == ["m3", "m20", "3", "010", "9" * 6000]


@pytest.mark.parametrize("name", ["1²2", "४", "Ⅷ", "①"])
def test_other_scripts_digits_sort_as_letters(name):
    assert sorted([name, "3"], key=natural)
