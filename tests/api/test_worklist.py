"""The worklist over HTTP: lines, filters, and changes as server-sent events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anyio import from_thread

from hanseg_segmentation.api.principal import LOCAL, Principal
from hanseg_segmentation.api.worklist_lines import Changes, line_events
from hanseg_shared.access import Scope
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.worklist import SETTLING_SECONDS
from tests.api.fakes import MR
from tests.api.requests import assert_problem, new_job
from tests.jobs.fakes import CT, FakeClock


async def always() -> bool:
    return True


def lines(api, query: str = "") -> list[dict[str, Any]]:
    answer = api.get(f"/v1/worklist{query}")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["jobs"])


def test_a_job_is_one_line(api, worker):
    job_id = new_job(api, case="Lena", mr=MR)
    worker.succeed(job_id)
    (line,) = lines(api)
    assert (line["id"], line["case"], line["state"]) == (job_id, "Lena", "succeeded")
    assert (line["has_mr"], line["mr_verdict"], line["review"]) == (
        True,
        "absent",
        "open",
    )
    assert line["owner"] == "local"
    assert "organs" not in line


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("search=LEN", True),
        ("search=Anna", False),
        ("state=succeeded", True),
        ("state=failed&state=queued", False),
        ("verdict=absent", True),
        ("verdict=rejected&verdict=used", False),
        ("model=default", True),
        ("model=finer", False),
        ("review=open", True),
        ("review=signed", False),
    ],
)
def test_lists_are_narrowed_alike(api, worker, query, found):
    worker.succeed(new_job(api, case="Lena", mr=MR))
    assert bool(lines(api, f"?{query}")) is found
    jobs = api.get(f"/v1/jobs?{query}").json()["jobs"]
    assert bool(jobs) is found


def test_an_unknown_flag_is_refused(api):
    answer = api.get("/v1/worklist?flag=odd")
    assert_problem(answer, 422, "invalid-request")


def test_pages_follow_each_other(api):
    made = [new_job(api) for _ in range(3)]
    first = api.get("/v1/worklist?limit=2").json()
    second = api.get(first["next"]).json()
    shown = [line["id"] for line in (*first["jobs"], *second["jobs"])]
    assert shown == made[::-1]
    assert second["next"] is None


def test_the_time_left_is_unknown_before_a_job_has_ended(api):
    new_job(api)
    assert lines(api)[0]["seconds_left"] is None


def test_the_time_left_is_known_once_a_job_like_it_has_ended(api, worker):
    waiting = new_job(api)
    worker.succeed(new_job(api))
    by_id = {line["id"]: line["seconds_left"] for line in lines(api)}
    assert by_id.pop(waiting) >= 0
    assert list(by_id.values()) == [None]


def read_events(app, principal: Principal, *doings) -> list[tuple[str, Any]]:
    """Return the events of a stream that has one thing done after each of them."""

    async def consume() -> list[tuple[str, Any]]:
        found = []
        left = list(doings)
        stream = line_events(app.state.context, principal, may_go_on=always)
        async for piece in stream:
            for block in piece.decode().split("\n\n"):
                if "event: " not in block:
                    continue
                fields = dict(each.split(": ", 1) for each in block.splitlines())
                found.append((fields["event"], json.loads(fields["data"])))
                if not left:
                    await stream.aclose()
                    return found
                left.pop(0)()
        return found

    with from_thread.start_blocking_portal() as portal:
        return portal.call(consume)


def test_each_change_of_each_job_is_an_event(app, api, services):
    job_ids: list[str] = []

    def cancel() -> None:
        services.tables.jobs.request_cancel(job_ids[0])

    found = read_events(app, LOCAL, lambda: job_ids.append(new_job(api)), cancel)
    assert [name for name, _ in found] == ["ready", "line", "line"]
    assert [data["state"] for _, data in found[1:]] == ["queued", "cancelled"]


def test_others_jobs_make_no_event(app, api, services):
    anna = Principal("anna", "k", frozenset({Scope.READ}))
    mine: list[str] = []

    def make() -> None:
        new_job(api)  # local's
        job = services.tables.jobs.get(new_job(api))
        with services.tables.database.write() as connection:
            connection.exec_driver_sql(
                f"UPDATE jobs SET owned_by = 'anna' WHERE id = '{job.id}'"
            )
        mine.append(job.id)

    found = read_events(app, anna, make)
    assert [data["id"] for _, data in found[1:]] == mine
    assert found[1][1]["owner"] is None


def test_progress_is_an_event(app, api, services):
    job_id = new_job(api)

    def begin() -> None:
        services.tables.claims.claim(job_id, Stage.REGISTER, lease_seconds=60.0)

    (_, _), (_, line) = [
        each
        for each in read_events(app, LOCAL, begin)
        if each[0] == "ready" or each[1]["state"] == "registering"
    ] or [("", None)] * 2
    assert line["progress"] == {"stage": "registering", "done": 0.0}


@pytest.fixture
def clock(services, monkeypatch) -> FakeClock:
    """The database's time."""
    found = FakeClock()
    monkeypatch.setattr(services.tables.database, "time", found)
    return found


def create(tables: Tables, *job_ids: str) -> None:
    tables.batches.create(None, [NewJob(id=job_id, inputs=(CT,)) for job_id in job_ids])


def test_what_comes_after_a_large_batch_is_told(services, clock):
    tables = services.tables
    changes = Changes(tables, None, since=tables.database.now())
    batch = [f"{number:032x}" for number in range(200)]
    create(tables, *batch)
    assert {line.id for line in changes.look()} == set(batch)
    clock.advance(SETTLING_SECONDS / 4)
    create(tables, "f" * 32)
    assert [line.id for line in changes.look()] == ["f" * 32]
    assert changes.look() == []


def test_a_change_that_becomes_visible_late_is_told(services, clock):
    tables = services.tables
    changes = Changes(tables, None, since=tables.database.now())
    clock.advance(SETTLING_SECONDS / 2)
    assert changes.look() == []
    clock.advance(-SETTLING_SECONDS / 2)
    create(tables, "a" * 32)  # it bears a time from before that look
    assert [line.id for line in changes.look()] == ["a" * 32]


def test_a_quiet_stream_reads_nothing_again(services, clock):
    tables = services.tables
    changes = Changes(tables, None, since=tables.database.now())
    create(tables, "a" * 32)
    clock.advance(SETTLING_SECONDS + 1)
    assert len(changes.look()) == 1
    read_again = changes.since - SETTLING_SECONDS
    assert tables.worklist.list_changes([], since=read_again) == []
    assert changes.look() == []
