"""The routes of batches: many cases queued by one request, all of them or none."""

from __future__ import annotations

from functools import partial

from anyio.to_thread import run_sync
from fastapi import APIRouter, Request, Response

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.incoming import request_folder
from hanseg_segmentation.api.http.links import BATCHES, batch_jobs_path, batch_path
from hanseg_segmentation.api.http.owned import BatchToChange, BatchToSee
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.respond import (
    LOCATION,
    RETRY_AFTER,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import BatchDocument, BatchRequest
from hanseg_segmentation.api.intake.admission import (
    refuse_when_disk_is_full,
    require_priority,
)
from hanseg_segmentation.api.intake.batch_submission import submit_batch
from hanseg_segmentation.api.intake.checking import check_and_make
from hanseg_segmentation.api.intake.idempotency import KeyHeader, scope_key
from hanseg_segmentation.api.intake.removing import remove_batch
from hanseg_segmentation.api.principal import PrincipalDep
from hanseg_shared.access import Scope
from hanseg_shared.jobs.record import Batch, moment

router = APIRouter(tags=["batches"], route_class=StrictRoute)


@router.post(
    BATCHES,
    status_code=202,
    summary="Submit many cases",
    operation_id="submit_batch",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        202,
        "All cases are queued.",
        model=BatchDocument,
        headers=LOCATION | RETRY_AFTER,
    )
    | describe_problems(400, 409, 413, 422),
)
async def post_batch(
    request: Request,
    asked: BatchRequest,
    context: ContextDep,
    principal: PrincipalDep,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Queue many cases: uploaded images, or a folder that the service may read.

    Every case is looked at first, which takes a few seconds each. If one cannot be
    used, none is queued and the problem names all that are at fault.
    """
    require_priority(principal, asked.priority)
    await run_sync(refuse_when_disk_is_full, context)
    async with request_folder(context) as folder:
        batch = await check_and_make(
            request,
            context.checking_batches,
            principal,
            partial(
                submit_batch,
                context,
                asked,
                folder,
                owned_by=principal.owner,
                key=scope_key(idempotency_key, principal),
            ),
            seconds=context.services.settings.batch_check_seconds,
        )
    headers = {"Location": batch_path(batch.id)}
    if batch.unfinished:
        headers["Retry-After"] = str(context.pace.retry_after)
    return answer(_document(batch), status=202, headers=headers)


@router.get(
    BATCHES + "/{batch_id}",
    summary="Look at a batch",
    operation_id="get_batch",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(
        200,
        "How many of its jobs are in which state.",
        model=BatchDocument,
        headers=RETRY_AFTER,
    )
    | describe_problems(404, 422),
)
def get_batch(batch_id: BatchToSee, context: ContextDep) -> Response:
    """Return how far a batch is; its jobs are listed where `links.jobs` says."""
    batch = context.services.tables.batches.get(batch_id)
    waiting = {"Retry-After": str(context.pace.retry_after)}
    return answer(_document(batch), headers=waiting if batch.unfinished else {})


@router.delete(
    BATCHES + "/{batch_id}",
    status_code=204,
    summary="Delete a batch's files",
    operation_id="delete_batch",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(204, "The files are gone.") | describe_problems(404, 422),
)
def delete_batch(batch_id: BatchToChange, context: ContextDep) -> Response:
    """Delete the images and results of all jobs of a batch now, and its name."""
    remove_batch(context.services, batch_id)
    return Response(status_code=204)


def _document(batch: Batch) -> BatchDocument:
    return BatchDocument(
        id=batch.id,
        name=batch.name,
        created_at=moment(batch.created_at),
        total=batch.total,
        unfinished=batch.unfinished,
        counts=batch.counts,
        links={"self": batch_path(batch.id), "jobs": batch_jobs_path(batch.id)},
    )
