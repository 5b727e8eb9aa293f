"""JSON that is costly, or that two readers would read in two ways."""

from __future__ import annotations

import difflib
import json

import pytest

from hanseg_segmentation.api.http import query
from hanseg_segmentation.api.http.parsing import MOST_ITEMS, MOST_MEMBERS, read_json
from hanseg_segmentation.api.http.problem_responses import MOST_FAULTS_LISTED
from tests.api.fakes import CT
from tests.api.requests import assert_problem

JSON = {"Content-Type": "application/json"}
ROUTES = ["/v1/jobs", "/v1/uploads", "/v1/batches"]
DEEP = 90_000

REFUSED = {
    "deep arrays": (b"[" * DEEP, "nested too deeply"),
    "deep objects": (b'{"options":' * DEEP, "nested too deeply"),
    "closed arrays": (b"[" * DEEP + b"]" * DEEP, "nested too deeply"),
    "a key twice": (b'{"ct": "a", "ct": "b"}', "'ct' is given twice"),
    "a key twice, escaped": (b'{"ct": "a", "\\u0063t": "b"}', "'ct' is given twice"),
    "a key twice inside": (b'{"options": {"x": 1, "x": 1}}', "'x' is given twice"),
    "a huge number": (b'{"bytes": ' + b"1" * 5000 + b"}", "4300 digits"),
    "NaN": (b'{"bytes": NaN}', "NaN is no number"),
    "infinity": (b'{"bytes": -Infinity}', "-Infinity is no number"),
    "many members": (
        json.dumps({f"k{n}": n for n in range(MOST_MEMBERS + 1)}).encode(),
        f"{MOST_MEMBERS + 1} members",
    ),
    "a long array": (
        b'{"cases": [' + b"1," * 500_000 + b"1]}",
        f"500001 items, not {MOST_ITEMS}",
    ),
    "a long array inside": (
        b'{"cases": [[' + b"{}," * MOST_ITEMS + b"{}]]}",
        f"{MOST_ITEMS + 1} items",
    ),
    "no UTF-8": (b'{"ct": "\xff"}', "utf-8"),
    "nothing": (b"", ""),
}


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_such_json_is_refused_alike_by_every_route(api, path, body, says):
    answer = api.post(path, content=body, headers=JSON)
    if body or path == "/v1/jobs":
        assert_problem(answer, 400, "bad-request", says)
    else:
        assert_problem(answer, 422, "invalid-request")
    assert len(answer.content) < 1000


@pytest.mark.parametrize(("body", "says"), REFUSED.values(), ids=REFUSED)
def test_the_request_of_a_form_is_read_as_strictly(api, body, says):
    if len(body) > 64 * 1024 or not body:
        pytest.skip("refused by its length, or left out")
    answer = api.post("/v1/jobs", files={"ct": ("ct", CT)}, data={"request": body})
    assert_problem(answer, 400, "bad-request", says)


def test_an_answer_does_not_repeat_a_long_key(api):
    body = json.dumps({"k" * 100_000: 1}).encode()
    answer = api.post("/v1/uploads", content=body, headers=JSON)
    assert answer.status_code == 422
    assert len(answer.content) < 2000


def test_an_answer_lists_a_few_faults_of_many(api):
    asked = {"cases": [{"x": number} for number in range(200)]}
    answer = api.post("/v1/batches", json=asked)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == MOST_FAULTS_LISTED


def test_plain_json_is_what_it_says():
    said = {"a": [1, 2.5, None, True], "b": {"a": "ä"}}
    assert read_json(json.dumps(said).encode()) == said


def test_of_thousands_of_unknown_parameters_a_few_are_looked_up(api, monkeypatch):
    looked_up = []

    def matches(name, *_, **__):
        looked_up.append(name)
        return []

    monkeypatch.setattr(difflib, "get_close_matches", matches)
    names = "&".join(f"p{number}=1" for number in range(4000))
    assert_problem(api.get(f"/v1/jobs?{names}"), 422, "invalid-request")
    assert len(looked_up) == query.MOST_FAULTS
