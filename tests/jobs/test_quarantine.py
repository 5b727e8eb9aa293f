"""A row that cannot be read fails alone: every other job is served."""

from __future__ import annotations

import json

import pytest
import sqlalchemy as sa

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.schema import jobs, quarantine
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.problems import DAMAGED
from tests.jobs.fakes import PROBLEM, claim, new_job, watch

SECRET = "SECRET^PATIENT"

SHAPES = [
    ("options", json.dumps({"registration": SECRET})),
    ("options", "[]"),
    ("inputs", json.dumps([{"role": SECRET}])),
    ("remarks", "7"),
    ("stages", '{"name": 1}'),
    ("organs", "[1]"),
    ("versions", "[]"),
    ("progress", '"half"'),
    ("error", "[]"),
    ("state", "quarrelling"),
    ("created_at", "-5"),
    ("updated_at", "1e300"),
]
"""What PostgreSQL takes too: JSON and numbers, but not what they should be."""

NONSENSE = [
    ("options", f"{{half of {SECRET}"),
    ("organs", ""),
    ("files", "\x00\x01"),
    ("created_at", "yesterday"),
    ("attempts", "some"),
    ("version", "many"),
    ("finished_at", "never"),
    ("expires_at", "tomorrow"),
    ("case_name", b"\xff\xfe"),
]
"""What only SQLite takes, whose columns hold anything."""


def damage(tables: Tables, job: Job, column: str, value: object) -> None:
    if isinstance(value, str) and column in {"created_at", "updated_at"}:
        value = float(value) if value[0] in "-1" else value
    raw = sa.text(f"UPDATE jobs SET {column} = :value WHERE id = :id")
    if isinstance(jobs.c[column].type, sa.JSON):
        kind = {"postgresql": "JSON"}.get(tables.database.engine.dialect.name, "TEXT")
        raw = sa.text(
            f"UPDATE jobs SET {column} = CAST(:value AS {kind}) WHERE id = :id"
        )
    with tables.database.write() as connection:
        connection.execute(raw, {"value": value, "id": job.id})


def kept(tables: Tables) -> list[str]:
    with tables.database.read() as connection:
        return list(connection.execute(sa.select(quarantine.c.job_id)).scalars())


def requires_sqlite(tables: Tables) -> None:
    if tables.database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL does not take this")


@pytest.mark.parametrize(("column", "value"), SHAPES)
def test_a_damaged_job_fails_and_says_which_column(tables, column, value, caplog):
    job, other = new_job(tables), new_job(tables)
    damage(tables, job, column, value)
    read = tables.jobs.get(job.id)

    assert read.state is JobState.FAILED
    assert read.error is not None
    assert read.error.type == DAMAGED.type
    assert f"is damaged ({column})" in read.error.detail
    assert read.document().id == job.id
    assert SECRET not in caplog.text + read.error.detail
    assert kept(tables) == [job.id]
    assert tables.jobs.get(other.id).state is JobState.QUEUED


@pytest.mark.parametrize(("column", "value"), NONSENSE)
def test_nonsense_in_any_column_is_put_aside(tables, column, value):
    requires_sqlite(tables)
    job = new_job(tables)
    damage(tables, job, column, value)

    assert tables.jobs.get(job.id).state is JobState.FAILED
    assert kept(tables) == [job.id]


def test_lists_show_every_job(tables):
    found = [new_job(tables) for _ in range(5)]
    damage(tables, found[2], "organs", "[1]")
    page = tables.jobs.list_page(limit=3)
    rest = tables.jobs.list_page(limit=3, before=page.next_position)

    assert {job.id for job in (*page.jobs, *rest.jobs)} == {job.id for job in found}
    assert tables.tallies.take_ended() == 1


def test_counts_leave_out_states_that_nobody_knows(tables, reconciler):
    job = new_job(tables)
    new_job(tables)
    damage(tables, job, "state", "quarrelling")
    assert tables.jobs.count_by_state()[JobState.QUEUED] == 1
    assert tables.outbox.count_waiting() == {JobState.QUEUED: 1}

    reconciler.run_once()
    assert tables.jobs.count_by_state()[JobState.FAILED] == 1


def test_all_others_are_sent_again(tables, reconciler, publisher, clock):
    found = [new_job(tables) for _ in range(3)]
    damage(tables, found[0], "options", "[]")
    reconciler.run_once()
    publisher.flush()
    watch(reconciler, clock, 3600.0)

    assert {job_id for _, job_id in publisher.sent} >= {found[1].id, found[2].id}


def test_a_lost_worker_leaves_no_job_stuck(tables, reconciler, clock):
    damaged = claim(tables, new_job(tables))
    damage(tables, damaged, "remarks", "7")
    watch(reconciler, clock, 31.0)

    assert tables.claims.claim(damaged.id, Stage.REGISTER, lease_seconds=30.0) is None
    assert tables.jobs.get(damaged.id).state is JobState.FAILED
    assert tables.jobs.get(damaged.id).token is None


def test_a_worker_that_has_a_damaged_job_is_fenced_off(tables):
    job = claim(tables, new_job(tables))
    damage(tables, job, "organs", "[1]")
    tables.jobs.get(job.id)

    assert tables.claims.renew(job.id, job.token, lease_seconds=30.0) is None
    assert not tables.claims.fail(job, PROBLEM)


def test_what_was_put_aside_goes_with_the_job(tables):
    job = new_job(tables, case_name=SECRET)
    damage(tables, job, "organs", "[1]")
    tables.jobs.get(job.id)
    tables.jobs.expire(job.id, PROBLEM)

    assert kept(tables) == []
    assert tables.jobs.get(job.id).case_name is None


def test_a_damaged_tombstone_stays_one(tables):
    job = new_job(tables)
    tables.jobs.expire(job.id, PROBLEM)
    damage(tables, job, "inputs", "7")

    assert tables.jobs.get(job.id).state is JobState.EXPIRED


def test_a_job_that_can_be_read_is_never_put_aside(tables):
    job = new_job(tables)
    tables.reader.put_aside(job.id)
    tables.reader.put_aside("nobody")

    assert tables.jobs.get(job.id) == job
    assert kept(tables) == []
