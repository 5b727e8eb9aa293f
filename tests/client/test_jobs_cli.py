"""`hanseg jobs`: what a running service knows, from the shell, as text and as JSON."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from hanseg_shared import cli
from hanseg_shared.client import Client, session
from hanseg_shared.documents import JobDocument, JobState, ResultFile, ReviewState
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.problems import INTERNAL
from hanseg_shared.review.documents import (
    OrganReview,
    OrganVerdict,
    ReviewDocument,
    ReviewSignature,
)
from tests.client.fake_service import NOW, FakeService

IDS = ["a" * 32, "b" * 32, "c" * 32, "d" * 32, "e" * 32]


@pytest.fixture
def service(monkeypatch) -> FakeService:
    made = FakeService(road=(JobState.FAILED,))
    for number, job_id in enumerate(IDS):
        made.jobs[job_id] = JobDocument(
            id=job_id,
            state=JobState.FAILED if number % 2 else JobState.SUCCEEDED,
            case=f"a patient with a name of some length {number}",
            created_at=NOW,
            error=INTERNAL.problem("it broke") if number % 2 else None,
        )
        made.steps[job_id] = 0

    @contextmanager
    def running(url):
        with Client(
            url or "http://service", transport=made.transport, retry=None
        ) as client:
            client.require_service()
            yield client

    monkeypatch.setattr(session, "open_running", running)
    return made


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["hanseg", "jobs", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_jobs_are_listed_over_pages(service, run):
    status, out, _ = run("list", "--json")
    assert status == 0
    *jobs, last = events(out)
    assert [each["job"]["id"] for each in jobs] == IDS[::-1]
    assert last == {"event": "listed", "jobs": 5, "more": False}


@pytest.mark.parametrize("columns", [80, 60])
def test_whole_ids_and_names_are_listed_however_narrow(
    service, run, monkeypatch, columns: int
):
    monkeypatch.setenv("COLUMNS", str(columns))
    _, out, err = run("list", "--limit", "3")
    lines = out.splitlines()
    assert all(len(line) <= columns for line in lines)
    assert "…" not in out
    assert sum(job_id in line for job_id in IDS for line in lines) == 3
    assert "the 3 newest" in err


def test_jobs_are_listed_by_state_and_case(service, run):
    case = service.jobs[IDS[3]].case
    _, out, _ = run("list", "--state", "failed", "--case", case, "--json")
    assert [each["job"]["id"] for each in events(out)[:-1]] == [IDS[3]]


def test_a_failed_job_is_shown_with_its_reason(service, run):
    status, out, _ = run("show", IDS[1])
    assert status == 0
    assert f"job {IDS[1]}: failed" in out
    assert "it broke" in out


def test_results_are_fetched(service, run, tmp_path):
    status, out, _ = run("fetch", IDS[0], "--out", str(tmp_path / "out"), "--json")
    assert status == 0
    assert (tmp_path / "out" / "job.json").is_file()
    (event,) = events(out)
    assert event["out"] == str(tmp_path / "out")


def reviewed(service: FakeService, *files: ResultFile) -> ReviewDocument:
    said = OrganReview(
        organ="Brainstem", verdict=OrganVerdict.ACCEPTED, by="anna", at=NOW
    )
    service.reviews[IDS[0]] = ReviewDocument(
        job=IDS[0],
        version=2,
        state=ReviewState.SIGNED if files else ReviewState.IN_PROGRESS,
        organs=(said,),
        signature=ReviewSignature(name="Dr. A", by="anna", at=NOW) if files else None,
        unjudged=("Lips",),
        files=files,
    )
    return service.reviews[IDS[0]]


def test_a_review_is_shown_and_what_was_signed_is_fetched(service, run, tmp_path):
    content = service._record(IDS[0])
    digest = hashlib.sha256(content).hexdigest()
    reviewed(
        service,
        ResultFile(
            name="reviewed/rtstruct.dcm",
            sha256=digest,
            bytes=len(content),
            media_type="application/dicom",
        ),
    )
    status, out, _ = run("review", IDS[0], "--out", str(tmp_path / "out"))
    assert status == 0
    assert out.splitlines() == [
        "version 2: signed by Dr. A",
        "Brainstem: accepted",
        "not judged: Lips",
    ]
    assert (tmp_path / "out" / "reviewed" / "rtstruct.dcm").read_bytes() == content


def test_of_an_unsigned_review_nothing_is_fetched(service, run, tmp_path):
    reviewed(service)
    status, _, err = run("review", IDS[0], "--out", str(tmp_path / "out"))
    assert status == 2
    assert "in_progress and hands nothing on" in err


def test_a_job_is_cancelled(service, run):
    status, out, _ = run("cancel", IDS[2])
    assert status == 0
    assert service.cancelled == [IDS[2]]
    assert IDS[2] in out


def test_a_failed_job_is_tried_again(service, run):
    status, out, _ = run("retry", IDS[1])
    assert status == 0
    assert "f" * 32 in out


def test_what_cannot_be_tried_again_says_why_in_text_and_json(service, run):
    status, out, err = run("retry", IDS[0])
    assert (status, out) == (3, "")
    assert err == f"hanseg: job {IDS[0]} is succeeded\n"
    status, out, err = run("retry", IDS[0], "--json")
    assert (status, err) == (3, "")
    assert events(out) == [
        {"event": "error", "message": f"job {IDS[0]} is succeeded", "status": 3}
    ]


@pytest.mark.parametrize("job_id", ["x", "A" * 32, "../" + "a" * 29, "a" * 31])
def test_what_is_no_id_is_refused_before_a_service_is_asked(run, job_id: str):
    status, _, err = run("show", job_id)
    assert status == 2
    assert "hanseg jobs list" in err


def test_a_job_that_there_is_not_is_bad_input(service, run):
    assert run("show", "0" * 32)[0] == 2


def test_without_a_service_the_remedy_is_told(run, monkeypatch):
    monkeypatch.setenv("HANSEG_PORT", "9")
    status, _, err = run("list")
    assert status == 4
    assert "http://127.0.0.1:9" in err
    assert "hanseg serve" in err
    assert "--data" in err


def test_another_program_is_no_service():
    other = httpx.MockTransport(lambda _: httpx.Response(200, json={"jobs": []}))
    with (
        Client("http://printer", transport=other) as client,
        pytest.raises(ServiceUnavailableError, match="http://printer"),
    ):
        client.require_service()
