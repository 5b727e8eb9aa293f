"""Whether the process lives, and whether jobs sent now will be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from fastapi import APIRouter, Response

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.problem_responses import (
    RETRY_SECONDS,
    problem_response,
)
from hanseg_segmentation.api.http.respond import (
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import HealthCheck, Liveness, Readiness
from hanseg_segmentation.api.intake.admission import (
    free_bytes,
    refuse_when_disk_is_full,
)
from hanseg_segmentation.packages.installed import DEFAULT_MODEL, offered_models
from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.record import WorkerState, WorkerStatus, moment
from hanseg_shared.jobs.worker import ALIVE_SECONDS
from hanseg_shared.problems import KINDS

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Is the process alive?",
    operation_id="livez",
    responses=describe_answer(200, "It answers.", model=Liveness) | describe_problems(),
)
async def livez() -> Response:
    """Answer, without looking at anything else."""
    return answer(Liveness())


@router.get(
    "/readyz",
    summary="Will jobs be done?",
    operation_id="readyz",
    responses=describe_answer(200, "Everything works.", model=Readiness)
    | describe_problems(),
)
def readyz(context: ContextDep) -> Response:
    """Look at the database, the broker, the disk, the models and both workers.

    If one of them does not work, the problem's `checks` say of each what is wrong.
    """
    checks = tuple(_checks(context))
    wrong = [f"{check.name}: {check.detail}" for check in checks if not check.ok]
    if not wrong:
        return answer(Readiness(ready=True, checks=checks))
    problem = KINDS[ServiceUnavailableError].problem(
        "; ".join(wrong), instance="/readyz"
    )
    members = {"checks": [check.model_dump(mode="json") for check in checks]}
    return problem_response(
        problem.model_copy(update=members), {"Retry-After": str(RETRY_SECONDS)}
    )


def _checks(context: Context) -> Iterator[HealthCheck]:
    yield _run_check("database", partial(_check_database, context))
    yield _run_check("broker", partial(_check_broker, context))
    yield _run_check("disk", partial(_check_disk, context))
    yield _run_check("models", partial(_check_models, context))
    for queue in QueueName:
        yield _check_worker(context, queue)


def _run_check(name: str, look: Callable[[], str]) -> HealthCheck:
    try:
        return HealthCheck(name=name, ok=True, detail=look())
    except HansegError as error:
        return HealthCheck(name=name, ok=False, detail=error.message)


def _check_database(context: Context) -> str:
    context.services.tables.database.ping()
    return "answers"


def _check_broker(context: Context) -> str:
    publisher = context.services.publisher
    waiting = {queue: publisher.waiting(queue) for queue in QueueName}
    return ", ".join(
        f"{count} messages for {queue}" for queue, count in waiting.items()
    )


def _check_disk(context: Context) -> str:
    refuse_when_disk_is_full(context.services)
    return f"{free_bytes(context.services)} bytes free"


def _check_models(context: Context) -> str:
    found = offered_models(context.model_folders)
    said = [f"{each.folder.name} ({each.reason})" for each in found.left_out]
    left_out = f"left out: {'; '.join(said)}" if said else ""
    if DEFAULT_MODEL not in found.names:
        lacking = f"the model {DEFAULT_MODEL}, which a job gets when it names none,"
        raise ServiceUnavailableError(
            f"{lacking} cannot be used; {left_out}"
            if found.reason_against(DEFAULT_MODEL)
            else f"{lacking} is not installed; {left_out}".removesuffix("; ")
        )
    return "; ".join(part for part in (", ".join(found.names), left_out) if part)


def _check_worker(context: Context, queue: QueueName) -> HealthCheck:
    name = f"{queue} worker"
    tables = context.services.tables
    try:
        live = tables.workers.list_live(seen_within_seconds=ALIVE_SECONDS)
        said = [s for s in tables.workers.statuses() if s.queue == queue]
    except HansegError as error:
        return HealthCheck(name=name, ok=False, detail=error.message)
    names = live.get(queue, [])
    if names:
        since = min((s.since for s in said if s.name in names), default=None)
        return HealthCheck(
            name=name,
            ok=True,
            detail=f"{len(names)} alive",
            state="ready",
            since=None if since is None else moment(since),
        )
    return _check_unready_worker(name, said, now=tables.database.now())


def _check_unready_worker(
    name: str, said: list[WorkerStatus], *, now: float
) -> HealthCheck:
    """Return the check of a worker that is getting ready, or that is gone."""
    loading = [
        status
        for status in said
        if status.state is WorkerState.LOADING and status.silent_seconds < ALIVE_SECONDS
    ]
    if loading:
        first = min(loading, key=lambda status: status.since)
        seconds = max(0.0, now - first.since)
        detail = f"no {name} is ready: one is loading since {seconds:.0f} s"
        trouble = next((s.trouble for s in loading if s.trouble), None)
        if trouble:
            detail += f" and cannot start yet: {trouble}"
        return HealthCheck(
            name=name,
            ok=False,
            detail=detail,
            state="loading",
            since=moment(first.since),
        )
    detail = f"no {name} was heard of in {ALIVE_SECONDS:.0f} s"
    if not said:
        detail += "; none was started, or the last one was stopped"
        return HealthCheck(name=name, ok=False, detail=detail, state="dead")
    silent = min(status.silent_seconds for status in said)
    detail += f"; the last one fell silent {silent:.0f} s ago"
    return HealthCheck(
        name=name, ok=False, detail=detail, state="dead", since=moment(now - silent)
    )
