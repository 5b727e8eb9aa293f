import json
from pathlib import Path

import pytest

from hanseg_segmentation.importing.organ_names import (
    FURTHER_NAMES,
    nearest_organs,
    organ_of,
    organs_of_labels,
    read_map,
)
from hanseg_shared.errors import InputError
from hanseg_shared.organs import ORGANS, Side

FILE = Path("dataset.json")


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


def test_an_unknown_label_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'Parotis_L'.*nearest: Parotid_L.*--map"):
        organs_of_labels({"Parotis_L": 1}, given={}, file=FILE)


def test_a_map_overrides_names_and_can_leave_labels_out():
    labels = {"a": 1, "Brainstem": 2, "tumour": 3}
    given = {"a": "Lips", "tumour": None}
    found = organs_of_labels(labels, given=given, file=FILE)
    assert found == {"Lips": 1, "Brainstem": 2}


def test_two_labels_of_one_organ_are_refused():
    with pytest.raises(InputError, match="two labels mean Lips"):
        organs_of_labels({"lip": 1, "lips": 2}, given={}, file=FILE)


def test_a_map_of_labels_the_model_does_not_have_is_refused():
    with pytest.raises(InputError, match="no label 'b'"):
        organs_of_labels({"lips": 1}, given={"b": "Lips"}, file=FILE)


def test_a_model_without_organs_is_refused():
    with pytest.raises(InputError, match="none of the labels"):
        organs_of_labels({"tumour": 1}, given={"tumour": None}, file=FILE)


@pytest.mark.parametrize(
    ("content", "message"),
    [("[]", "JSON object"), ("{", "JSON object"), ('{"a": "Liver"}', "Liver")],
)
def test_a_malformed_map_is_refused(tmp_path, content, message):
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_map(tmp_path / "map.json")


def test_a_map_is_read(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({"a": "Lips", "b": None}))
    assert read_map(tmp_path / "map.json") == {"a": "Lips", "b": None}
