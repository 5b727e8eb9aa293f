import json
from pathlib import Path

import pytest

from hanseg_segmentation.importing.organ_names import organs_of_labels, read_map
from hanseg_shared.errors import InputError

FILE = Path("dataset.json")


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
