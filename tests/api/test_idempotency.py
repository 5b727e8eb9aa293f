"""Sending a request twice with one Idempotency-Key makes one job."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from hanseg_segmentation.api.intake.idempotency import scope_key
from hanseg_segmentation.api.principal import LOCAL, Principal
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from tests.api.fakes import CT, MR, NO_IMAGE, FakeChecker
from tests.api.requests import assert_problem, submit, upload


def count(services) -> int:
    return len(services.tables.jobs.list_page(limit=10).jobs)


def test_the_same_request_is_answered_with_the_same_job(api, services):
    first, second = submit(api, key="k"), submit(api, key="k")
    assert second.status_code == 202
    assert second.headers["location"] == first.headers["location"]
    assert count(services) == 1


def test_the_answer_to_a_repetition_shows_where_the_job_is_now(api, worker):
    job_id = submit(api, key="k").json()["id"]
    worker.begin(job_id)
    assert submit(api, key="k").json()["state"] == "registering"


def test_without_a_key_every_request_is_a_job(api, services):
    submit(api)
    submit(api)
    assert count(services) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"ct": b"CT of another patient"},
        {"mr": MR},
        {"case": "other"},
        {"options": {"registration": "none"}},
    ],
    ids=["ct", "mr", "case", "options"],
)
def test_a_key_used_for_something_else_is_refused(api, services, other):
    submit(api, key="k")
    answer = submit(api, key="k", **other)
    assert_problem(answer, 422, "idempotency-key-reused", "new key")
    assert count(services) == 1


def test_options_that_are_the_default_are_the_same_request(api):
    first = submit(api, key="k")
    second = submit(api, key="k", options={"registration": "rigid"})
    assert second.headers["location"] == first.headers["location"]


def test_the_same_images_by_upload_are_the_same_request(api):
    first = submit(api, key="k")
    body = {"ct": upload(api, CT)}
    second = api.post("/v1/jobs", json=body, headers={"Idempotency-Key": "k"})
    assert second.headers["location"] == first.headers["location"]


def test_a_refused_request_gives_its_key_back(api):
    assert submit(api, NO_IMAGE, key="k").status_code == 422
    assert submit(api, CT, key="k").status_code == 202


def test_a_repetition_is_answered_even_when_no_new_job_is_taken(
    api, services, publisher
):
    first = submit(api, key="k")
    for _ in range(services.settings.max_unfinished_jobs - 1):
        submit(api)
    publisher.down = True
    assert submit(api).status_code == 503
    assert submit(api, key="new").status_code == 503
    assert submit(api, key="k").headers["location"] == first.headers["location"]


class SlowChecker(FakeChecker):
    """Looks at an image until it is told to come to an end."""

    def __init__(self) -> None:
        super().__init__()
        self.looking = threading.Event()
        self.enough = threading.Event()

    def __call__(self, ct: Path, mr: Path | None, limits: Limits, halt: Halt):
        self.looking.set()
        assert self.enough.wait(5)
        return super().__call__(ct, mr, limits, halt)


@pytest.fixture
def slow() -> SlowChecker:
    return SlowChecker()


class TestWhileTheFirstIsBeingProcessed:
    @pytest.fixture
    def checker(self, slow: SlowChecker) -> SlowChecker:
        return slow

    def test_a_repetition_is_told_to_come_back(self, api, slow: SlowChecker):
        first = threading.Thread(target=submit, args=[api], kwargs={"key": "k"})
        first.start()
        assert slow.looking.wait(5)
        answer = submit(api, key="k")
        slow.enough.set()
        first.join()
        assert_problem(answer, 409, "idempotency-key-in-use", "being processed")
        assert int(answer.headers["retry-after"]) > 0
        assert submit(api, key="k").status_code == 202


def test_keys_of_two_callers_never_meet():
    assert scope_key("k", LOCAL) != scope_key("k", Principal("clinic"))


def test_the_table_of_keys_holds_no_key_in_clear():
    assert "patient" not in (scope_key("patient", LOCAL) or "")


def test_a_key_beyond_its_length_is_refused(api):
    answer = submit(api, key="k" * 256)
    assert_problem(answer, 422, "invalid-request", "header parameter Idempotency-Key")
