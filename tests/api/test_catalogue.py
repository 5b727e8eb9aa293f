"""What there is: organs and models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from hanseg_shared.organs import ORGANS
from tests.api.requests import assert_problem, submit


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
        "colour": [181, 77, 67],
        "description": "left common and internal carotid artery",
    }


def test_models_are_listed_with_what_taught_them(api):
    (model,) = api.get("/v1/models").json()["models"]
    assert model["name"] == "default"
    assert model["evidence"] == {"Brainstem": "phantom"}
    assert len(model["sha256"]) == 64


def test_two_models_of_one_name_stop_no_other_and_are_not_offered(api, models: Path):
    for folder in ("one", "two"):
        shutil.copytree(models / "default", models / folder)
        rename(models / folder, "ours")
    answer = api.get("/v1/models")
    assert [model["name"] for model in answer.json()["models"]] == ["default"]
    refused = submit(api, options={"model": "ours"})
    assert_problem(refused, 503, "unavailable", "2 models are called ours")
    assert str(models) not in refused.text
    assert submit(api).status_code == 202


def rename(folder: Path, name: str) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "name": name}))


def test_the_keys_that_sign_results_are_public_the_newest_first(api, services):
    assert api.get("/v1/signing-keys").json() == {"keys": []}
    old, new = "A" * 43 + "=", "B" * 42 + "A="
    for key in (old, new, old):
        services.tables.signing_keys.add(key)
    listed = api.get("/v1/signing-keys").json()["keys"]
    assert {each["key"] for each in listed} == {old, new}
    assert {len(each["id"]) for each in listed} == {16}
    assert {each["algorithm"] for each in listed} == {"ed25519"}
