import pytest

from hanseg_shared.organ_names import (
    FURTHER_NAMES,
    nearest_organs,
    organ_of,
)
from hanseg_shared.organs import ORGANS, Side


@pytest.mark.parametrize("each", ORGANS, ids=lambda each: each.name)
def test_every_organ_is_known_by_its_own_name_however_it_is_written(each):
    for spelling in (each.name, each.name.lower(), each.name.replace("_", " ")):
        assert organ_of(spelling) == each.name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("parotid_left", "Parotid_L"),
        ("Left Parotid Gland", "Parotid_L"),
        ("r_parotid", "Parotid_R"),
        ("submandibular_gland_right", "Glnd_Submand_R"),
        ("optic_nerve_left", "OpticNrv_L"),
        ("Lt-Optic-Nerve", "OpticNrv_L"),
        ("spinal_cord", "SpinalCord"),
        ("thyroid_gland", "Glnd_Thyroid"),
        ("Mandible", "Bone_Mandible"),
        ("left_anterior_eyeball", "Eye_AL"),
        ("Oesophagus", "Esophagus_S"),
    ],
)
def test_common_spellings_are_understood(name, meant):
    assert organ_of(name) == meant


@pytest.mark.parametrize(
    "name", ["parotid", "Eye_L", "liver", "common_carotid_artery_left"]
)
def test_what_is_another_structure_is_no_organ(name):
    assert organ_of(name) is None


def test_no_spelling_means_two_organs():
    spellings = [
        f"{alias} {side}".strip()
        for stem, aliases in FURTHER_NAMES.items()
        for alias in aliases
        for side in ("left", "right", "")
    ]
    meanings = {spelling: organ_of(spelling) for spelling in spellings}
    for spelling, meant in meanings.items():
        if meant is not None and spelling.endswith(("left", "right")):
            assert meant[-1] == spelling.rsplit(" ", 1)[1][0].upper()


def test_every_organ_has_an_entry_for_its_further_names():
    stems = {
        each.name if each.side is Side.NONE else each.name[:-1].rstrip("_")
        for each in ORGANS
    }
    assert stems == set(FURTHER_NAMES)


def test_the_nearest_organs_are_proposed():
    assert nearest_organs("Parotis_L")[0] == "Parotid_L"
