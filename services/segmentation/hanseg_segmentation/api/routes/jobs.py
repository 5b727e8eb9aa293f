"""The routes of jobs: submit, look, list, follow, cancel, delete."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.caller import CallerDep
from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.cursor import next_page, position_of
from hanseg_segmentation.api.http.headers import (
    entity_tag,
    known_version,
    none_match,
    preferred_wait,
)
from hanseg_segmentation.api.http.ids import JobId
from hanseg_segmentation.api.http.incoming import request_folder
from hanseg_segmentation.api.http.links import JOBS, job_document, job_path
from hanseg_segmentation.api.http.respond import (
    ETAG,
    LOCATION,
    RETRY_AFTER,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import (
    Id,
    JobList,
    Label,
    Moment,
)
from hanseg_segmentation.api.intake.admission import (
    refuse_when_crowded,
    refuse_when_disk_is_full,
)
from hanseg_segmentation.api.intake.checking import check_and_make
from hanseg_segmentation.api.intake.idempotency import KeyHeader, scope_key
from hanseg_segmentation.api.intake.receiving import FORM, JSON, receive
from hanseg_segmentation.api.intake.retrying import fetch_submission, retry_key
from hanseg_segmentation.api.intake.submission import submit
from hanseg_segmentation.api.watching import job_events, wait_until_final
from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.jobs.record import Job
from hanseg_shared.problems import EXPIRED

router = APIRouter(tags=["jobs"])

ROUNDING_SECONDS = 0.75e-6
"""How much later a row's time may be than the microsecond that is shown of it."""

_SUBMISSION_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["ct"],
                    "additionalProperties": False,
                    "properties": {
                        "ct": {
                            "type": "string",
                            "format": "binary",
                            "description": "The planning CT: NIfTI, NRRD or MHA.",
                        },
                        "mr": {
                            "type": "string",
                            "format": "binary",
                            "description": "The T1 MR of the same patient.",
                        },
                        "request": {"$ref": "#/components/schemas/JobRequest"},
                    },
                },
                "encoding": {"request": {"contentType": JSON}},
            },
            JSON: {"schema": {"$ref": "#/components/schemas/UploadedCase"}},
        },
    }
}

_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`."},
        "event": {"const": "job"},
        "data": {
            "type": "string",
            "contentMediaType": JSON,
            "contentSchema": {"$ref": "#/components/schemas/JobDocument"},
        },
    },
}

_ACCEPTED = describe_answer(
    202, "The job is queued.", model=JobDocument, headers=LOCATION | RETRY_AFTER
)


@router.post(
    JOBS,
    status_code=202,
    summary="Submit a case",
    operation_id="submit_job",
    responses=_ACCEPTED | describe_problems(400, 409, 413, 415, 422),
    openapi_extra=_SUBMISSION_BODY,
)
async def submit_job(
    request: Request,
    context: ContextDep,
    caller: CallerDep,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Queue a planning CT, and a T1 MR if there is one, to be contoured.

    The images come with the request, or were uploaded before and are named by id.
    They are looked at before the answer: what cannot be used is refused with a
    problem that names the file, the value and the remedy, and nothing is kept.
    """
    await run_sync(_refuse_early, context, idempotency_key)
    async with request_folder(context.services.settings) as folder:
        submission = await receive(request, context, folder)
        job = await check_and_make(
            request,
            context.checking,
            caller,
            partial(
                submit, context, submission, key=scope_key(idempotency_key, caller)
            ),
            seconds=context.services.settings.check_seconds,
        )
    return _answer_accepted(context, job)


@router.get(
    JOBS,
    summary="List jobs",
    operation_id="list_jobs",
    responses=describe_answer(
        200,
        "A page of jobs, newest first.",
        model=JobList,
        headers={
            "Link": {
                "description": 'The next page, as `<...>; rel="next"` (RFC 8288).',
                "schema": {"type": "string"},
            }
        },
    )
    | describe_problems(422),
)
def list_jobs(
    request: Request,
    context: ContextDep,
    state: Annotated[
        list[JobState] | None, Query(description="Only jobs in one of these states.")
    ] = None,
    created_after: Annotated[
        Moment | None,
        Query(
            description="Only jobs created after this time (ISO 8601 with zone).",
            examples=["2026-01-31T12:00:00Z"],
        ),
    ] = None,
    batch: Annotated[
        Id | None, Query(description="Only the jobs of this batch.")
    ] = None,
    case: Annotated[
        Label | None,
        Query(
            description="Only jobs of the case with exactly this name; both are "
            "compared in Unicode's composed form (NFC).",
            examples=["case_01"],
        ),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=200, description="Jobs a page.")] = 50,
    cursor: Annotated[
        str | None,
        Query(max_length=200, description="From the `next` of the page before."),
    ] = None,
) -> Response:
    """List jobs, newest first, a page at a time."""
    page = context.services.tables.jobs.list_page(
        limit=limit,
        before=position_of(cursor),
        states=tuple(state or ()),
        created_after=_row_time(created_after),
        batch_id=batch,
        case_name=case,
    )
    documents = tuple(job_document(job) for job in page.jobs)
    if page.next_position is None:
        return answer(JobList(jobs=documents))
    url = next_page(request.url, page.next_position)
    return answer(
        JobList(jobs=documents, next=url), headers={"Link": f'<{url}>; rel="next"'}
    )


@router.get(
    JOBS + "/{job_id}",
    summary="Look at a job",
    operation_id="get_job",
    responses=describe_answer(
        200,
        "The job as it stands; also when it has failed.",
        model=JobDocument,
        headers=ETAG
        | RETRY_AFTER
        | {
            "Preference-Applied": {
                "description": "`wait`, as far as it was honoured (RFC 7240).",
                "schema": {"type": "string"},
            }
        },
    )
    | describe_answer(304, "The job has not changed.", headers=ETAG)
    | describe_problems(404, 422),
)
async def get_job(
    job_id: JobId,
    context: ContextDep,
    if_none_match: Annotated[
        str | None, Header(description="ETag of the version that is known.")
    ] = None,
    prefer: Annotated[
        str | None,
        Header(
            description="`wait=20`: answer when the job is final, or after 20 s.",
            examples=["wait=20"],
        ),
    ] = None,
) -> Response:
    """Return where a job stands: its state, stages, verdict and all 30 organs."""
    wait = preferred_wait(prefer, at_most=context.pace.longest_wait)
    job = await wait_until_final(context, job_id, seconds=wait or 0)
    headers = {"ETag": entity_tag(str(job.version)), "Vary": "Prefer"}
    if wait is not None:
        headers["Preference-Applied"] = f"wait={wait}"
    if not job.state.is_final:
        headers["Retry-After"] = str(context.pace.retry_after)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return answer(job_document(job), headers=headers)


@router.get(
    JOBS + "/{job_id}/events",
    summary="Follow a job",
    operation_id="follow_job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": (
                "Server-sent events: `job`, its data the job's document, at every "
                "change; the stream ends after the final state."
            ),
            "content": {
                "text/event-stream": {
                    "schema": _EVENT,
                    "example": 'id: 3\nevent: job\ndata: {"id": "...", ...}\n\n',
                }
            },
        }
    }
    | describe_answer(
        204, "The final state is known to the client: do not connect again."
    )
    | describe_problems(404, 422),
)
async def follow_job(
    job_id: JobId,
    context: ContextDep,
    last_event_id: Annotated[
        str | None, Header(description="Resumes after this event.")
    ] = None,
) -> Response:
    """Stream a job's changes as server-sent events."""
    job = await wait_until_final(context, job_id, seconds=0)
    seen = known_version(last_event_id)
    if job.state.is_final and seen == job.version:
        return Response(status_code=204)
    return StreamingResponse(
        job_events(context, job_id, seen=seen),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post(
    JOBS + "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    operation_id="cancel_job",
    responses=describe_answer(
        202,
        "The job is cancelled, or will be as soon as its worker hears of it.",
        model=JobDocument,
        headers=LOCATION | RETRY_AFTER,
    )
    | describe_problems(404, 409, 422),
)
def cancel_job(job_id: JobId, context: ContextDep) -> Response:
    """Cancel a job that is not finished."""
    return _answer_accepted(
        context, context.services.tables.jobs.request_cancel(job_id)
    )


@router.post(
    JOBS + "/{job_id}/retry",
    status_code=202,
    summary="Try a job again",
    operation_id="retry_job",
    responses=describe_answer(
        202,
        "A new job of the same images and options; asked again, the same new job.",
        model=JobDocument,
        headers=LOCATION | RETRY_AFTER,
    )
    | describe_problems(404, 409, 410, 413, 422),
)
async def retry_job(
    job_id: JobId, request: Request, context: ContextDep, caller: CallerDep
) -> Response:
    """Queue the images and options of a failed or cancelled job as a new job.

    The images are looked at as if they had just been sent. However often this is
    asked, one new job is made; if that fails too, it is the one to try again.
    """
    await run_sync(refuse_when_disk_is_full, context.services)
    async with request_folder(context.services.settings) as folder:
        submission = await run_sync(fetch_submission, context, job_id, folder)
        job = await check_and_make(
            request,
            context.checking,
            caller,
            partial(submit, context, submission, key=retry_key(job_id)),
            seconds=context.services.settings.check_seconds,
        )
    return _answer_accepted(context, job)


@router.delete(
    JOBS + "/{job_id}",
    status_code=204,
    summary="Delete a job's files",
    operation_id="delete_job",
    responses=describe_answer(204, "The files are gone.") | describe_problems(404, 422),
)
def delete_job(job_id: JobId, context: ContextDep) -> Response:
    """Delete a job's images and results now, also while it is being worked on.

    What remains says that there was a job, when, and with which model: no name, no
    organs, no files.
    """
    services = context.services
    services.tables.jobs.expire(
        job_id, EXPIRED.problem("the job's files were deleted on request")
    )
    services.store.purge(job_id)
    return Response(status_code=204)


def _refuse_early(context: Context, key: str | None) -> None:
    refuse_when_disk_is_full(context.services)
    if key is None:  # a repetition is answered even when no new job is taken
        refuse_when_crowded(context.services)


def _answer_accepted(context: Context, job: Job) -> Response:
    headers = {"Location": job_path(job.id)}
    if not job.state.is_final:
        headers["Retry-After"] = str(context.pace.retry_after)
    return answer(job_document(job), status=202, headers=headers)


def _row_time(shown: datetime | None) -> float | None:
    """Return a time as rows keep it, so that "after" leaves out the job it is of."""
    return None if shown is None else shown.timestamp() + ROUNDING_SECONDS
