"""Whether the process lives, and whether jobs sent now will be done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from fastapi import APIRouter, Response

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import OPEN, GuardedRoute
from hanseg_segmentation.api.http.problem_responses import problem_response
from hanseg_segmentation.api.http.respond import (
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import HealthCheck, Liveness, Readiness
from hanseg_segmentation.api.intake.admission import (
    free_bytes,
    require_free_space,
)
from hanseg_segmentation.packages.installed import DEFAULT_MODEL, offered_models
from hanseg_shared.deadlines import Silence
from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.pulse import ALIVE_SECONDS
from hanseg_shared.jobs.record import WorkerState, WorkerStatus, moment
from hanseg_shared.jobs.worker import is_ready
from hanseg_shared.jobs.worker_child import STALE_SECONDS
from hanseg_shared.problems import KINDS

CHECK_SECONDS = 1.5
"""How long all checks together may take; whoever asks has a deadline too."""

router = APIRouter(tags=["health"], route_class=GuardedRoute)


@router.get(
    "/livez",
    summary="Is the process alive?",
    operation_id="livez",
    dependencies=[OPEN],
    responses=describe_answer(200, "It answers.", model=Liveness) | describe_problems(),
)
async def livez() -> Response:
    """Answer, without looking at anything else."""
    return answer(Liveness())


@router.get(
    "/readyz",
    summary="Will jobs be done?",
    operation_id="readyz",
    dependencies=[OPEN],
    responses=describe_answer(200, "Everything works.", model=Readiness)
    | describe_problems(),
)
async def readyz(context: ContextDep) -> Response:
    """Look at database, broker, disk, payload store, models and both workers.

    If one of them does not work, the problem's `checks` say of each what is wrong.
    What does not answer within `CHECK_SECONDS` does not work.
    """
    asked = await context.health.ask(_list_checks(context), seconds=CHECK_SECONDS)
    checks = tuple(_judge(name, found) for name, found in asked.items())
    wrong = [f"{check.name}: {check.detail}" for check in checks if not check.ok]
    if not wrong:
        return answer(Readiness(ready=True, checks=checks))
    problem = KINDS[ServiceUnavailableError].problem(
        "; ".join(wrong), instance="/readyz"
    )
    members = {"checks": [check.model_dump(mode="json") for check in checks]}
    return problem_response(problem.model_copy(update=members))


def _list_checks(context: Context) -> Mapping[str, Callable[[], HealthCheck]]:
    looks = {
        "database": _check_database,
        "broker": _check_broker,
        "disk": _check_disk,
        "store": _check_store,
        "models": _check_models,
    }
    return {
        name: partial(_run_check, name, look, context) for name, look in looks.items()
    } | {
        _name_worker(queue): partial(_check_worker, context, queue)
        for queue in QueueName
    }


def _run_check(
    name: str, look: Callable[[Context], str], context: Context
) -> HealthCheck:
    try:
        return HealthCheck(name=name, ok=True, detail=look(context))
    except HansegError as error:
        return HealthCheck(name=name, ok=False, detail=error.message)
    except OSError as error:
        return HealthCheck(name=name, ok=False, detail=error.strerror or "unknown")


def _judge(name: str, found: HealthCheck | Silence) -> HealthCheck:
    if isinstance(found, HealthCheck):
        return found
    return HealthCheck(
        name=name, ok=False, detail=f"no answer for {found.seconds:.1f} s"
    )


def _name_worker(queue: QueueName) -> str:
    return f"{queue} worker"


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
    require_free_space(context.services)
    return f"{free_bytes(context.services)} bytes free"


def _check_store(context: Context) -> str:
    context.services.store.ping()
    return "answers"


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
    name = _name_worker(queue)
    tables = context.services.tables
    try:
        said = [s for s in tables.workers.statuses() if s.queue == queue]
    except HansegError as error:
        return HealthCheck(name=name, ok=False, detail=error.message)
    ready = [status for status in said if is_ready(status)]
    if ready:
        proven = min(status.proven_seconds or 0.0 for status in ready)
        return HealthCheck(
            name=name,
            ok=True,
            detail=f"{len(ready)} alive, proven {proven:.0f} s ago that it can work",
            state="ready",
            since=moment(min(status.since for status in ready)),
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
        detail = f"no {name} is ready: one has been loading for {seconds:.0f} s"
        trouble = next((s.trouble for s in loading if s.trouble), None)
        if trouble:
            detail += f" and cannot work yet: {trouble}"
        return HealthCheck(
            name=name,
            ok=False,
            detail=detail,
            state="loading",
            since=moment(first.since),
        )
    unproven = [
        status
        for status in said
        if status.state is WorkerState.READY and status.silent_seconds < ALIVE_SECONDS
    ]
    if unproven:
        detail = f"no {name} has proven in {STALE_SECONDS:.0f} s that it can work"
        return HealthCheck(name=name, ok=False, detail=detail, state="loading")
    detail = f"no {name} was heard of in {ALIVE_SECONDS:.0f} s"
    if not said:
        detail += "; none was started, or the last one was stopped"
        return HealthCheck(name=name, ok=False, detail=detail, state="dead")
    silent = min(status.silent_seconds for status in said)
    detail += f"; the last one fell silent {silent:.0f} s ago"
    return HealthCheck(
        name=name, ok=False, detail=detail, state="dead", since=moment(now - silent)
    )
