"""What there is: organs and models."""

from __future__ import annotations

from pathlib import Path

from hanseg_shared.organs import ORGANS
from tests.api.requests import assert_problem


def test_all_organs_are_listed_in_label_order(api):
    organs = api.get("/v1/organs").json()["organs"]
    assert [organ["label"] for organ in organs] == list(range(1, 31))
    assert [organ["name"] for organ in organs] == [organ.name for organ in ORGANS]


def test_an_organ_has_its_side_code_and_colour(api):
    organ = api.get("/v1/organs").json()["organs"][0]
    assert organ == {
        "label": 1,
        "name": "A_Carotid_L",
        "side": "left",
        "code": {"value": "69105007", "meaning": "Carotid artery"},
        "colour": [216, 60, 50],
        "description": "left common and internal carotid artery",
    }


def test_models_are_listed_with_what_taught_them(api):
    (model,) = api.get("/v1/models").json()["models"]
    assert model["name"] == "default"
    assert model["evidence"] == {"Brainstem": "phantom"}
    assert model["sha256"] == "0" * 64


def test_two_models_of_one_name_are_a_fault_that_names_no_folder(api, models: Path):
    (models / "other").mkdir()
    package = (models / "default" / "model.json").read_text()
    (models / "other" / "model.json").write_text(package)
    answer = api.get("/v1/models")
    assert_problem(answer, 500, "internal-error", "the service's log says why")
    assert str(models) not in answer.text
