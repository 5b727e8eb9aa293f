"""Whether the process lives, and whether jobs sent now will be done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from fastapi import APIRouter, Response

from hanseg_segmentation.api.admission import free_bytes, refuse_when_disk_is_full
from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.documents import Check, Liveness, Readiness
from hanseg_segmentation.api.problems import RETRY_SECONDS, problem_response
from hanseg_segmentation.api.respond import answer, described, problems
from hanseg_segmentation.model_package import find_models
from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.messages import QueueName
from hanseg_shared.problems import KINDS
from hanseg_shared.worker import ALIVE_SECONDS

router = APIRouter(tags=["health"])


@router.get(
    "/livez",
    summary="Is the process alive?",
    operation_id="livez",
    responses=described(200, "It answers.", model=Liveness) | problems(),
)
async def livez() -> Response:
    """Answer, without looking at anything else."""
    return answer(Liveness())


@router.get(
    "/readyz",
    summary="Will jobs be done?",
    operation_id="readyz",
    responses=described(200, "Everything works.", model=Readiness) | problems(),
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
    members = {"checks": [check.model_dump() for check in checks]}
    return problem_response(
        problem.model_copy(update=members), {"Retry-After": str(RETRY_SECONDS)}
    )


def _checks(context: Context) -> Iterator[Check]:
    yield _check("database", partial(_database, context))
    yield _check("broker", partial(_broker, context))
    yield _check("disk", partial(_disk, context))
    yield _check("models", partial(_models, context))
    for queue in QueueName:
        yield _check(f"{queue} worker", partial(_worker, context, queue))


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, ok=True, detail=look())
    except HansegError as error:
        return Check(name=name, ok=False, detail=error.message)


def _database(context: Context) -> str:
    context.services.repository.ping()
    return "answers"


def _broker(context: Context) -> str:
    publisher = context.services.publisher
    waiting = {queue: publisher.waiting(queue) for queue in QueueName}
    return ", ".join(
        f"{count} messages for {queue}" for queue, count in waiting.items()
    )


def _disk(context: Context) -> str:
    refuse_when_disk_is_full(context.services)
    return f"{free_bytes(context.services)} bytes free"


def _models(context: Context) -> str:
    found = [model.package.name for model in find_models(context.model_folders)]
    if not found:
        raise ServiceUnavailableError("no model is installed")
    return ", ".join(found)


def _worker(context: Context, queue: QueueName) -> str:
    live = context.services.repository.live_workers(seen_within_seconds=ALIVE_SECONDS)
    names = live.get(queue, [])
    if not names:
        raise ServiceUnavailableError(
            f"no worker of the {queue} queue was heard of in {ALIVE_SECONDS:.0f} s"
        )
    return f"{len(names)} alive"
