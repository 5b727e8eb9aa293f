"""Templates: saved as versions, read with their tags, never lost to another's save."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.requests import assert_problem

EYES = {"name": "Eye_L", "organs": ["Eye_AL", "Eye_PL"], "colour": [0, 128, 255]}
CLINIC: dict[str, Any] = {"name": "clinic", "label": "Head neck", "structures": [EYES]}
OTHER = {**CLINIC, "label": "Another"}
PATH = "/v1/templates/clinic"


def test_those_that_ship_come_first(api):
    api.put(PATH, json=CLINIC)
    listed = api.get("/v1/templates").json()["templates"]
    assert [each["name"] for each in listed] == ["default", "hanseg", "clinic"]
    assert [each["read_only"] for each in listed] == [True, True, False]
    assert api.get(listed[-1]["href"]).json()["label"] == "Head neck"


def test_a_new_template_is_version_1(api):
    answer = api.put(PATH, json=CLINIC)
    assert (answer.status_code, answer.headers["location"]) == (201, PATH)
    assert answer.json()["version"] == 1
    assert api.get(PATH).json() == answer.json()


def test_saving_counts_versions_and_keeps_them(api):
    api.put(PATH, json=CLINIC)
    answer = api.put(PATH, json={**OTHER, "version": 77})
    assert (answer.status_code, answer.json()["version"]) == (200, 2)
    assert api.get(f"{PATH}/versions/1").json()["label"] == "Head neck"
    assert api.get(f"{PATH}/versions/2").json()["label"] == "Another"
    assert api.get(f"{PATH}/versions/3").status_code == 404


def test_saving_the_same_again_makes_no_version(api):
    first = api.put(PATH, json=CLINIC)
    second = api.put(PATH, json=CLINIC)
    assert second.json()["version"] == 1
    assert second.headers["etag"] == first.headers["etag"]


def test_an_unchanged_template_is_not_sent_again(api):
    tag = api.put(PATH, json=CLINIC).headers["etag"]
    assert api.get(PATH, headers={"If-None-Match": tag}).status_code == 304


def test_if_match_keeps_two_people_from_overwriting_each_other(api):
    tag = api.put(PATH, json=CLINIC).headers["etag"]
    assert api.put(PATH, json=OTHER, headers={"If-Match": tag}).status_code == 200
    late = api.put(PATH, json=CLINIC, headers={"If-Match": tag})
    assert_problem(late, 412, "precondition-failed", "version 2")
    assert api.get(PATH).json()["label"] == "Another"


def test_if_none_match_saves_only_what_is_new(api):
    only_new = {"If-None-Match": "*"}
    assert api.put(PATH, json=CLINIC, headers=only_new).status_code == 201
    answer = api.put(PATH, json=OTHER, headers=only_new)
    assert_problem(answer, 412, "precondition-failed", "already")


def test_a_deleted_template_is_gone_and_its_versions_stay_counted(api):
    api.put(PATH, json=CLINIC)
    assert api.delete(PATH).status_code == 204
    for path in (PATH, f"{PATH}/versions/1"):
        assert_problem(api.get(path), 404, "not-found")
    assert_problem(api.delete(PATH), 404, "not-found")
    assert api.put(PATH, json=OTHER).json()["version"] == 2


@pytest.mark.parametrize("name", ["default", "hanseg"])
def test_what_ships_cannot_be_changed(api, name):
    changed = {**CLINIC, "name": name}
    path = f"/v1/templates/{name}"
    assert_problem(api.put(path, json=changed), 409, "read-only", "another name")
    assert_problem(api.delete(path), 409, "read-only")
    assert api.get(path).status_code == 200


@pytest.mark.parametrize(
    ("template", "slug", "says"),
    [
        ({**CLINIC, "name": "other"}, "invalid-request", "is called other"),
        ({**CLINIC, "structures": []}, "invalid-request", "#/structures"),
        ({**CLINIC, "structures": [EYES, EYES]}, "bad-option", "Eye_L"),
        (
            {**CLINIC, "structures": [{"name": "Spleen", "organs": ["Spleen"]}]},
            "bad-option",
            "no organ",
        ),
    ],
)
def test_what_cannot_be_used_is_not_saved(api, template, slug, says):
    assert_problem(api.put(PATH, json=template), 422, slug, says)
    assert api.get(PATH).status_code == 404
