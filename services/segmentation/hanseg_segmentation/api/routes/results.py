"""The routes of results: the manifest, and each file, whole or in ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.headers import (
    ByteRange,
    UnsatisfiableRangeError,
    attachment,
    digest_field,
    entity_tag,
    none_match,
    parse_range,
    range_applies,
)
from hanseg_segmentation.api.http.ids import JobId
from hanseg_segmentation.api.http.links import JOBS, job_path, result_path
from hanseg_segmentation.api.http.problem_responses import (
    NOT_FINISHED,
    RANGE,
    RefusedError,
)
from hanseg_segmentation.api.http.respond import (
    ETAG,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import ResultLink, ResultList
from hanseg_shared.documents import JobState, ResultFile
from hanseg_shared.errors import JobNotFoundError, StoreError
from hanseg_shared.jobs.record import Job
from hanseg_shared.problems import EXPIRED

router = APIRouter(tags=["results"])

_ACCEPT_RANGES = {
    "Accept-Ranges": {
        "description": "`bytes`: ranges are answered.",
        "schema": {"type": "string"},
        "required": True,
    }
}
_DIGEST = {
    "Repr-Digest": {
        "description": "SHA-256 of the whole file (RFC 9530).",
        "schema": {"type": "string"},
        "required": True,
    }
}
_FILE: dict[str, Any] = {
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
    "application/gzip": {"schema": {"type": "string", "format": "binary"}},
    "application/json": {"schema": {}},
    "application/dicom": {"schema": {"type": "string", "format": "binary"}},
    "image/png": {"schema": {"type": "string", "format": "binary"}},
    "text/plain": {"schema": {"type": "string"}},
}
_WHOLE = {
    200: {
        "description": "The file.",
        "content": _FILE,
        "headers": ETAG | _ACCEPT_RANGES | _DIGEST,
    }
}
_PART = {
    206: {
        "description": "The bytes that were asked for.",
        "content": _FILE,
        "headers": ETAG
        | _DIGEST
        | {
            "Content-Range": {
                "description": "Which bytes of how many.",
                "schema": {"type": "string"},
                "required": True,
            }
        },
    }
}
_UNCHANGED = describe_answer(304, "The file is the one that is known.", headers=ETAG)

Name = Annotated[
    str, Path(description="From the manifest.", examples=["segmentation.nii.gz"])
]
IfNoneMatch = Annotated[
    str | None, Header(description="ETag of the file that is known.")
]


@router.get(
    JOBS + "/{job_id}/results",
    summary="List a job's results",
    operation_id="list_results",
    responses=describe_answer(200, "The files and where they are.", model=ResultList)
    | describe_problems(404, 409, 410, 422),
)
def list_results(job_id: JobId, context: ContextDep) -> Response:
    """List the files of a job that has succeeded."""
    job = require_results(context, job_id)
    files = tuple(
        ResultLink(**file.model_dump(), href=result_path(job.id, file.name))
        for file in job.files
    )
    path = job_path(job.id)
    return answer(
        ResultList(
            job=job.id,
            state=job.state,
            files=files,
            links={"self": f"{path}/results", "job": path},
        )
    )


@router.get(
    JOBS + "/{job_id}/results/{name:path}",
    summary="Fetch a result file",
    operation_id="fetch_result",
    response_class=StreamingResponse,
    responses=_WHOLE | _PART | _UNCHANGED | describe_problems(404, 409, 410, 416, 422),
)
async def fetch_result(
    job_id: JobId,
    name: Name,
    context: ContextDep,
    if_none_match: IfNoneMatch = None,
    range_: Annotated[
        str | None,
        Header(
            alias="Range", description="One range of bytes.", examples=["bytes=0-1023"]
        ),
    ] = None,
    if_range: Annotated[
        str | None, Header(description="The ETag that the range belongs to.")
    ] = None,
) -> Response:
    """Return a result file, whole or one range of it."""
    file = await run_sync(_find_file, context, job_id, name)
    headers = _make_headers(file)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=_validators(headers))
    asked = range_ if range_applies(if_range, headers["ETag"]) else None
    part = _parse_range(asked, file.bytes)
    if part is None:
        headers["Content-Digest"] = headers["Repr-Digest"]
        return _stream(
            context, job_id, file, ByteRange(0, file.bytes, file.bytes), headers
        )
    headers["Content-Range"] = part.content_range
    return _stream(context, job_id, file, part, headers, status=206)


@router.head(
    JOBS + "/{job_id}/results/{name:path}",
    summary="Look at a result file",
    operation_id="head_result",
    response_class=Response,
    responses={
        200: {
            "description": "What a GET would answer, without the bytes.",
            "content": _FILE,
            "headers": ETAG | _ACCEPT_RANGES | _DIGEST,
        }
    }
    | _UNCHANGED
    | describe_problems(404, 409, 410, 422),
)
def head_result(
    job_id: JobId, name: Name, context: ContextDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the headers of a result file: size, digest, type."""
    file = _find_file(context, job_id, name)
    headers = _make_headers(file)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=_validators(headers))
    headers["Content-Length"] = str(file.bytes)
    return Response(headers=headers, media_type=file.media_type)


def require_results(context: Context, job_id: str) -> Job:
    """Return a job that has results.

    Raises:
        JobNotFoundError: There is none of that id.
        RefusedError: It has none, or none any more.
    """
    job = context.services.tables.jobs.get(job_id)
    if job.state is JobState.EXPIRED:
        raise RefusedError(EXPIRED, job.error.detail if job.error else "")
    if job.state is not JobState.SUCCEEDED:
        hint = "" if job.state.is_final else "; ask again when it has succeeded"
        raise RefusedError(
            NOT_FINISHED,
            f"the job is {job.state} and has no results{hint}",
            members={"state": job.state},
        )
    return job


def _find_file(context: Context, job_id: str, name: str) -> ResultFile:
    job = require_results(context, job_id)
    file = job.file(name)
    if file is None:
        raise JobNotFoundError(
            f"job {job_id} has no result of that name; its manifest lists them"
        )
    if not context.services.store.exists(job_id, file.sha256):
        require_results(context, job_id)  # it may have been deleted just now
        raise StoreError(f"result {name} of job {job_id} is not in the store")
    return file


def _make_headers(file: ResultFile) -> dict[str, str]:
    return {
        "ETag": entity_tag(file.sha256),
        "Accept-Ranges": "bytes",
        "Repr-Digest": digest_field(file.sha256),
        "Cache-Control": "private, no-store",
        "Content-Disposition": attachment(file.name),
    }


def _validators(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("ETag", "Cache-Control")}


def _parse_range(asked: str | None, size: int) -> ByteRange | None:
    try:
        return parse_range(asked, size)
    except UnsatisfiableRangeError as error:
        raise RefusedError(
            RANGE, str(error), headers={"Content-Range": f"bytes */{size}"}
        ) from None


def _stream(
    context: Context,
    job_id: str,
    file: ResultFile,
    part: ByteRange,
    headers: Mapping[str, str],
    *,
    status: int = 200,
) -> Response:
    store = context.services.store
    return StreamingResponse(
        store.read_range(job_id, file.sha256, part.start, part.stop),
        status_code=status,
        headers={**headers, "Content-Length": str(part.stop - part.start)},
        media_type=file.media_type,
    )
