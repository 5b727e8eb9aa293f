"""A lease is kept through faults, and given up when it can no longer be ours."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from hanseg_shared.documents import JobOptions, JobState
from hanseg_shared.errors import (
    JobCancelledError,
    LeaseLostError,
    ServiceUnavailableError,
)
from hanseg_shared.jobs.lease import Lease
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.settings import Settings

JOB = Job("j1", JobState.REGISTERING, JobOptions(), (), 0.0, 0.0, token="t")

DOWN = ServiceUnavailableError("the database does not work")


class FakeClaims:
    """Answers renewals as told; the last answer again and again."""

    def __init__(self, *answers) -> None:
        self._answers = list(answers)
        self._asked = threading.Semaphore(0)

    def renew(self, *_, **__):
        self._asked.release()
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def wait_for(self, renewals: int) -> None:
        """Return when so many renewals have been answered, and the answers seen."""
        for _ in range(renewals + 1):
            assert self._asked.acquire(timeout=10), "nobody renews"


def lease(claims: FakeClaims, seconds: float) -> Lease:
    settings = Settings(data=Path("unused"), lease_seconds=seconds)
    services = Services(
        SimpleNamespace(claims=claims),  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        settings,
    )
    return Lease(services, JOB, Stage.REGISTER)


def test_a_lease_that_is_renewed_lets_the_work_go_on():
    claims = FakeClaims(True)
    with lease(claims, 0.03) as held:
        claims.wait_for(3)
        held.check()
        held.progress(0.5)


def test_a_cancel_is_seen_within_a_renewal():
    claims = FakeClaims(True, False)
    with lease(claims, 0.03) as held:
        claims.wait_for(2)
        with pytest.raises(JobCancelledError, match="job j1 was cancelled"):
            held.check()


def test_a_lost_job_is_not_renewed_any_more():
    with lease(FakeClaims(None), 0.03) as held:
        held._thread.join(10)
        with pytest.raises(LeaseLostError, match="another worker"):
            held.progress(0.5)


@pytest.mark.parametrize("fault", [DOWN, RuntimeError("anything")])
def test_a_fault_that_passes_costs_nothing(fault):
    claims = FakeClaims(fault, fault, True)
    with lease(claims, 0.3) as held:
        claims.wait_for(3)
        held.check()


def test_a_database_that_stays_away_longer_than_the_lease_costs_nothing():
    # the reconciler cannot reach it either; and what a loser writes is fenced off
    claims = FakeClaims(*[DOWN] * 20, True)
    with lease(claims, 0.01) as held:
        claims.wait_for(22)
        held.check()
