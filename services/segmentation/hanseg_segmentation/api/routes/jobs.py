"""The routes of jobs: submit, look, list, follow, cancel, delete."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import GateDep, GuardedRoute, needs
from hanseg_segmentation.api.http.cursor import next_page, position_of
from hanseg_segmentation.api.http.filters import JobFilterDep
from hanseg_segmentation.api.http.headers import (
    entity_tag,
    known_version,
    none_match,
    preferred_wait,
)
from hanseg_segmentation.api.http.incoming import request_folder
from hanseg_segmentation.api.http.links import JOBS, job_document, job_path
from hanseg_segmentation.api.http.owned import JobToChange, SeenJob
from hanseg_segmentation.api.http.respond import (
    ETAG,
    LOCATION,
    RETRY_AFTER,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import (
    JobList,
    Label,
    Moment,
)
from hanseg_segmentation.api.intake.admission import (
    refuse_when_crowded,
    refuse_when_disk_is_full,
    require_priority,
)
from hanseg_segmentation.api.intake.idempotency import KeyHeader, scope_key
from hanseg_segmentation.api.intake.receiving import FORM, JSON, receive
from hanseg_segmentation.api.intake.removing import remove_job
from hanseg_segmentation.api.intake.retrying import fetch_submission, retry_key
from hanseg_segmentation.api.intake.submission import submit_checked
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_segmentation.api.watching import EventStream, job_events, wait_until_final
from hanseg_shared.access import Scope
from hanseg_shared.documents import JobDocument
from hanseg_shared.jobs.record import Job

router = APIRouter(tags=["jobs"], route_class=GuardedRoute)

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
                            "description": "The planning CT: NIfTI, NRRD or MHA, or "
                            "a zip archive of its DICOM series (which may hold the "
                            "MR's as well), or one DICOM file.",
                        },
                        "mr": {
                            "type": "string",
                            "format": "binary",
                            "description": "The T1 MR of the same patient, likewise.",
                        },
                        "reg": {
                            "type": "string",
                            "format": "binary",
                            "description": "A DICOM spatial registration of both, to "
                            "be used instead of a search; DICOM file or archive.",
                        },
                        "request": {"$ref": "#/components/schemas/JobRequest"},
                    },
                },
                "encoding": {"request": {"contentType": JSON}},
            },
            JSON: {
                "schema": {
                    "oneOf": [
                        {"$ref": "#/components/schemas/UploadedCase"},
                        {"$ref": "#/components/schemas/StudyCase"},
                    ]
                }
            },
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
    dependencies=[needs(Scope.SUBMIT)],
    responses=_ACCEPTED | describe_problems(400, 409, 413, 415, 422),
    openapi_extra=_SUBMISSION_BODY,
)
async def submit_job(
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    idempotency_key: KeyHeader = None,
) -> Response:
    """Queue a planning CT, and a T1 MR if there is one, to be contoured.

    The images come with the request, or were uploaded before and are named by id.
    They are looked at before the answer: what cannot be used is refused with a
    problem that names the file, the value and the remedy, and nothing is kept.
    """
    await run_sync(_refuse_early, context, principal, idempotency_key)
    async with request_folder(context) as folder:
        submission = await receive(request, context, folder, principal)
        require_priority(principal, submission.priority)
        job = await submit_checked(
            request,
            context,
            principal,
            submission,
            folder,
            owned_by=principal.owner,
            key=scope_key(idempotency_key, principal),
        )
    return _answer_accepted(context, job)


@router.get(
    JOBS,
    summary="List jobs",
    operation_id="list_jobs",
    dependencies=[needs(Scope.READ)],
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
    principal: PrincipalDep,
    found_by: JobFilterDep,
    created_after: Annotated[
        Moment | None,
        Query(
            description="Only jobs created after this time (ISO 8601 with zone).",
            examples=["2026-01-31T12:00:00Z"],
        ),
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
        created_after=_row_time(created_after),
        case_name=case,
        found_by=replace(found_by, owned_by=principal.sees_only),
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
    dependencies=[needs(Scope.READ)],
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
    job: SeenJob,
    gate: GateDep,
    context: ContextDep,
    principal: PrincipalDep,
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
    if wait and context.streams.take(principal.share):
        try:
            job = await wait_until_final(context, job, seconds=wait)
        finally:
            context.streams.give_back(principal.share)
        await gate.require_still_valid(principal)
    else:  # too many wait: a preference need not be honoured
        wait = wait and None
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
    dependencies=[needs(Scope.READ)],
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
    | describe_problems(404, 422, 429),
)
async def follow_job(
    job: SeenJob,
    gate: GateDep,
    context: ContextDep,
    principal: PrincipalDep,
    last_event_id: Annotated[
        str | None, Header(description="Resumes after this event.")
    ] = None,
) -> Response:
    """Stream a job's changes as server-sent events."""
    seen = known_version(last_event_id)
    if job.state.is_final and seen == job.version:
        return Response(status_code=204)
    events = job_events(
        context,
        job.id,
        seen=seen,
        may_go_on=partial(gate.is_still_valid, principal),
    )
    return EventStream(events, context.streams, principal.share)


@router.post(
    JOBS + "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    operation_id="cancel_job",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        202,
        "The job is cancelled, or will be as soon as its worker hears of it.",
        model=JobDocument,
        headers=LOCATION | RETRY_AFTER,
    )
    | describe_problems(404, 409, 422),
)
def cancel_job(job_id: JobToChange, context: ContextDep) -> Response:
    """Cancel a job that is not finished."""
    return _answer_accepted(
        context, context.services.tables.jobs.request_cancel(job_id)
    )


@router.post(
    JOBS + "/{job_id}/retry",
    status_code=202,
    summary="Try a job again",
    operation_id="retry_job",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        202,
        "A new job of the same images and options; asked again, the same new job.",
        model=JobDocument,
        headers=LOCATION | RETRY_AFTER,
    )
    | describe_problems(404, 409, 410, 413, 422),
)
async def retry_job(
    job_id: JobToChange, request: Request, context: ContextDep, principal: PrincipalDep
) -> Response:
    """Queue the images and options of a failed or cancelled job as a new job.

    The images are looked at as if they had just been sent. However often this is
    asked, one new job is made; if that fails too, it is the one to try again.
    """
    await run_sync(refuse_when_disk_is_full, context)
    async with request_folder(context) as folder:
        submission = await run_sync(fetch_submission, context, job_id, folder)
        owner = await run_sync(context.services.tables.jobs.owner, job_id)
        job = await submit_checked(
            request,
            context,
            principal,
            submission,
            folder,
            owned_by=owner,
            key=retry_key(job_id),
        )
    return _answer_accepted(context, job)


@router.delete(
    JOBS + "/{job_id}",
    status_code=204,
    summary="Delete a job's files",
    operation_id="delete_job",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(204, "The files are gone.") | describe_problems(404, 422),
)
def delete_job(job_id: JobToChange, context: ContextDep) -> Response:
    """Delete a job's images and results now, also while it is being worked on.

    What remains says that there was a job, when, with which model, and what was
    removed: no name, no organs, no files.
    """
    remove_job(context.services, job_id)
    return Response(status_code=204)


def _refuse_early(context: Context, principal: Principal, key: str | None) -> None:
    refuse_when_disk_is_full(context)
    if key is None:  # a repetition is answered even when no new job is taken
        refuse_when_crowded(context.services, owned_by=principal.owner)


def _answer_accepted(context: Context, job: Job) -> Response:
    headers = {"Location": job_path(job.id)}
    if not job.state.is_final:
        headers["Retry-After"] = str(context.pace.retry_after)
    return answer(job_document(job), status=202, headers=headers)


def _row_time(shown: datetime | None) -> float | None:
    """Return a time as rows keep it, so that "after" leaves out the job it is of."""
    return None if shown is None else shown.timestamp() + ROUNDING_SECONDS
