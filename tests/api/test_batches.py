"""Queueing many cases by one request, all of them or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables import batches as batches_module
from hanseg_shared.jobs.tables.job_row import make_row
from hanseg_shared.settings import Settings
from tests.api.fakes import CT, MR, NO_IMAGE
from tests.api.requests import announce, assert_problem, leftovers, upload


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "batches"


@pytest.fixture
def settings(settings: Settings, root: Path) -> Settings:
    return settings.model_copy(update={"batch_root": root})


def make_case(folder: Path, ct: bytes = CT, mr: bytes | None = None) -> None:
    folder.mkdir(parents=True)
    (folder / "ct.nii.gz").write_bytes(ct)
    if mr is not None:
        (folder / "t1.nii.gz").write_bytes(mr)


def cases(api, *contents: bytes) -> list[dict[str, str]]:
    return [
        {"name": f"case_{position}", "ct": upload(api, content)}
        for position, content in enumerate(contents, start=1)
    ]


def test_uploaded_cases_become_a_batch_of_jobs(api, services, publisher):
    sent = cases(api, CT, CT + b" two")
    sent[1]["mr"] = upload(api, MR)
    answer = api.post(
        "/v1/batches",
        json={"name": "spring", "cases": sent, "options": {"registration": "none"}},
    )
    assert answer.status_code == 202
    batch = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}"
    assert int(answer.headers["retry-after"]) > 0
    assert (batch["name"], batch["total"], batch["unfinished"]) == ("spring", 2, 2)
    assert batch["counts"] == {"queued": 2}
    assert len(publisher.sent) == 2


def test_the_jobs_of_a_batch_are_listed_where_it_says(api, services):
    batch = api.post("/v1/batches", json={"cases": cases(api, CT, CT)}).json()
    jobs = api.get(batch["links"]["jobs"]).json()["jobs"]
    assert sorted(job["case"] for job in jobs) == ["case_1", "case_2"]
    assert {job["batch"] for job in jobs} == {batch["id"]}
    assert {job["links"]["batch"] for job in jobs} == {batch["links"]["self"]}
    for job in jobs:
        assert services.store.exists(job["id"], job["inputs"][0]["sha256"])


def test_a_batch_counts_its_jobs_by_state(api, worker):
    batch = api.post("/v1/batches", json={"cases": cases(api, CT, CT, CT)}).json()
    first, second, _ = api.get(batch["links"]["jobs"]).json()["jobs"]
    worker.succeed(first["id"])
    worker.begin(second["id"], Stage.REGISTER)
    answer = api.get(batch["links"]["self"])
    assert answer.json()["counts"] == {"succeeded": 1, "registering": 1, "queued": 1}
    assert answer.json()["unfinished"] == 2
    assert "retry-after" in answer.headers


def test_a_folder_becomes_a_batch(api, root, checker):
    make_case(root / "study" / "case_1")
    make_case(root / "study" / "case_2", mr=MR)
    answer = api.post("/v1/batches", json={"folder": "study"})
    assert answer.status_code == 202, answer.text
    assert checker.seen == [(CT, None), (CT, MR)]
    jobs = api.get(answer.json()["links"]["jobs"]).json()["jobs"]
    assert sorted(job["case"] for job in jobs) == ["case_1", "case_2"]
    assert answer.json()["name"] == "study"


def test_one_bad_case_keeps_all_from_being_queued_and_all_bad_ones_are_named(
    api, services, root
):
    make_case(root / "study" / "case_1")
    make_case(root / "study" / "case_2", NO_IMAGE)
    make_case(root / "study" / "case_3", NO_IMAGE)
    answer = api.post("/v1/batches", json={"folder": "study"})
    assert_problem(answer, 422, "bad-image", "2 of 3 cases", "case_2: ct.nii.gz: ")
    assert [e["case"] for e in answer.json()["errors"]] == ["case_2", "case_3"]
    assert str(root) not in answer.text
    assert leftovers(services) == []


def test_a_bad_uploaded_case_is_pointed_at(api, services):
    sent = cases(api, CT, NO_IMAGE)
    answer = api.post("/v1/batches", json={"cases": sent})
    assert_problem(answer, 422, "bad-image", "case_2: ct: it is no image")
    (fault,) = answer.json()["errors"]
    assert fault["pointer"] == "#/cases/1"
    assert services.tables.jobs.list_page(limit=1).jobs == ()
    assert list(services.settings.scratch.iterdir()) == []


def test_a_failure_half_way_leaves_no_job_that_could_be_done(
    api, services, root, monkeypatch
):
    make_case(root / "study" / "case_1")
    make_case(root / "study" / "case_2")
    rows = iter(range(9))

    def second_fails(*arguments):
        if next(rows) == 1:
            raise ServiceUnavailableError("the database does not work")
        return make_row(*arguments)

    monkeypatch.setattr(batches_module, "make_row", second_fails)
    assert api.post("/v1/batches", json={"folder": "study"}).status_code == 503
    assert services.tables.jobs.list_page(limit=10).jobs == ()
    assert services.store.owners() == []


def test_jobs_of_a_batch_are_listed_and_done_in_its_order(api, services, root):
    names = [f"case_{number}" for number in range(1, 6)]
    for name in names:
        make_case(root / "study" / name)
    assert api.post("/v1/batches", json={"folder": "study"}).status_code == 202
    jobs = services.tables.jobs.list_page(limit=20).jobs
    assert [job.case_name for job in reversed(jobs)] == names


@pytest.mark.parametrize(
    "folder", ["..", "../batches", "study/../..", "/etc", "nothing", "a\x00b", "~"]
)
def test_a_folder_outside_is_none(api, root, folder: str):
    make_case(root / "study" / "case_1")
    answer = api.post("/v1/batches", json={"folder": folder})
    assert answer.status_code == 422
    assert str(root) not in answer.text


def test_a_link_out_of_the_folder_is_not_followed(api, root, tmp_path):
    make_case(tmp_path / "secret" / "case_1")
    root.mkdir()
    (root / "study").symlink_to(tmp_path / "secret")
    answer = api.post("/v1/batches", json={"folder": "study"})
    assert_problem(answer, 422, "bad-option", "no folder")


def test_a_file_that_is_a_link_out_of_the_folder_is_not_read(api, root, tmp_path):
    make_case(tmp_path / "secret" / "case_1")
    folder = root / "study" / "case_1"
    folder.mkdir(parents=True)
    (folder / "ct.nii.gz").symlink_to(tmp_path / "secret" / "case_1" / "ct.nii.gz")
    answer = api.post("/v1/batches", json={"folder": "study"})
    assert_problem(answer, 422, "bad-option", "ct.nii.gz", "outside the folder")


def test_a_folder_without_cases_is_refused(api, root):
    (root / "study").mkdir(parents=True)
    answer = api.post("/v1/batches", json={"folder": "study"})
    assert_problem(answer, 422, "bad-input", "study")
    assert str(root) not in answer.text


class TestWithoutABatchRoot:
    @pytest.fixture
    def root(self) -> None:
        return None

    def test_no_folder_is_read(self, api):
        answer = api.post("/v1/batches", json={"folder": "study"})
        assert_problem(answer, 422, "bad-option", "HANSEG_BATCH_ROOT", "cases")


def test_more_cases_than_may_wait_are_refused_for_good(api, services):
    sent = cases(api, *[CT] * (services.settings.max_unfinished_jobs + 1))
    answer = api.post("/v1/batches", json={"cases": sent})
    assert_problem(answer, 422, "bad-option", "6 jobs at once", "in parts")


def test_cases_that_do_not_fit_beside_the_waiting_are_refused_for_now(api):
    sent = cases(api, CT, CT, CT)
    assert api.post("/v1/batches", json={"cases": sent}).status_code == 202
    answer = api.post("/v1/batches", json={"cases": sent})
    assert_problem(answer, 503, "unavailable", "3 jobs are unfinished")


def test_an_upload_that_is_not_there_is_refused_before_anything_is_looked_at(
    api, checker
):
    waiting = announce(api, MR).json()["id"]
    sent = [*cases(api, CT), {"name": "two", "ct": waiting}]
    answer = api.post("/v1/batches", json={"cases": sent})
    assert_problem(answer, 409, "wrong-state", "not sent yet")
    assert checker.seen == []


def test_a_batch_is_repeated_by_its_key(api, root):
    make_case(root / "study" / "case_1")
    headers = {"Idempotency-Key": "k"}
    first, second = (
        api.post("/v1/batches", json={"folder": "study"}, headers=headers)
        for _ in range(2)
    )
    assert first.headers["location"] == second.headers["location"]
    other = {"folder": "study", "name": "other"}
    answer = api.post("/v1/batches", json=other, headers=headers)
    assert_problem(answer, 422, "idempotency-key-reused")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "either cases or a folder"),
        ({"folder": "x", "cases": [{"name": "a", "ct": "0" * 32}]}, "either"),
        ({"cases": [{"name": "a", "ct": "0" * 32}] * 2}, "one name"),
        ({"cases": [{"name": "a", "ct": "x"}]}, "#/cases/0/ct"),
        ({"cases": [{"name": f"c{i}", "ct": "0" * 32} for i in range(201)]}, "200"),
        ([], "the body"),
    ],
)
def test_a_batch_must_fit(api, body, says: str):
    answer = api.post("/v1/batches", json=body)
    assert_problem(answer, 422, "invalid-request", says)


def test_a_batch_that_does_not_exist_is_not_found(api):
    assert_problem(api.get(f"/v1/batches/{'0' * 32}"), 404, "not-found")
