"""An API that is killed at any step of a submission makes one job of it at most."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.intake.idempotency import make_once
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.tables.keys import LEASE_SECONDS, KeyClaim, KeyState
from tests.api import dying
from tests.jobs.conftest import database  # noqa: F401 - a fixture
from tests.jobs.fakes import CT as CT_INPUT

CALLERS = 20

FEWEST_STEPS = 15
"""A submission has more; fewer would say that nothing died."""


@pytest.fixture
def context(database: str, tmp_path: Path, models: Path):  # noqa: F811
    dying.prepare(tmp_path)
    found = dying.open_context(
        database, tmp_path, models, later_seconds=LEASE_SECONDS + 5.0
    )
    yield found
    found.services.tables.close()


def kill_at_every_step(database: str, folder: Path, models: Path, kind: str) -> int:  # noqa: F811
    told = json.dumps([database, str(folder), str(models), kind])
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.dying", told],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return int(done.stdout)


def jobs_of(context: Context) -> list[Job]:
    return list(context.services.tables.jobs.list_page(limit=10_000).jobs)


@pytest.mark.parametrize("kind", dying.KINDS)
def test_a_killed_submission_sent_again_is_one_job(
    kind: str,
    database: str,  # noqa: F811
    context: Context,
    tmp_path: Path,
    models: Path,
):
    steps = kill_at_every_step(database, tmp_path, models, kind)
    made = len(jobs_of(context))
    assert steps > FEWEST_STEPS
    assert 0 < made < steps * 2  # some died before, some after

    for step in range(1, steps + 1):  # after the lease of the dead
        key = f"{kind}-{step}"
        assert dying.send(context, kind, key) == dying.send(context, kind, key)

    found = jobs_of(context)
    assert len(found) == (steps if kind == "job" else 2 * steps)
    assert len({(job.case_name, job.batch_id) for job in found}) == len(found)
    store = context.services.store
    assert all(store.exists(job.id, job.inputs[0].sha256) for job in found)


def test_twenty_callers_with_one_key_make_one_job(context: Context):
    def call(_: int) -> str | None:
        try:
            return dying.send(context, "job", "one")
        except RefusedError as refused:
            return None if "Retry-After" in refused.headers else "no time"

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = set(pool.map(call, range(CALLERS)))
    (job,) = jobs_of(context)
    assert answers - {None} == {job.id}
    assert dying.send(context, "job", "one") == job.id


def test_a_slow_request_keeps_its_key(context: Context, monkeypatch):
    module = "hanseg_segmentation.api.intake.idempotency.RENEWAL_SECONDS"
    monkeypatch.setattr(module, 0.001)
    tables = context.services.tables
    enough = threading.Semaphore(0)
    renew = tables.keys.renew

    def renew_and_tell(claim: KeyClaim) -> bool:
        held = renew(claim)
        enough.release()
        return held

    monkeypatch.setattr(tables.keys, "renew", renew_and_tell)

    def work(claim: KeyClaim | None) -> Job:
        assert all(enough.acquire(timeout=10) for _ in range(3))
        return tables.jobs.create(NewJob("slow", (CT_INPUT,)), key=claim)

    made = make_once(tables.keys, "key", "hash", work, find=tables.jobs.get)
    assert made.id == "slow"
    assert tables.keys.reserve("key", "hash") == KeyState("hash", "slow")
