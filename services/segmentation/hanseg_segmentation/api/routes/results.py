"""The routes of results: the manifest, and each file, whole or in ranges."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import GuardedRoute, needs
from hanseg_segmentation.api.http.headers import (
    DICOM,
    ByteRange,
    UnsatisfiableRangeError,
    attachment,
    digest_field,
    entity_tag,
    none_match,
    parse_range,
    range_applies,
    wants_multipart_dicom,
)
from hanseg_segmentation.api.http.links import (
    JOBS,
    job_path,
    result_path,
    zip_path,
)
from hanseg_segmentation.api.http.owned import SeenJob
from hanseg_segmentation.api.http.parameters import IfNoneMatch, IfRange, Range
from hanseg_segmentation.api.http.problem_responses import (
    NOT_ACCEPTABLE,
    NOT_FINISHED,
    NOT_REVIEWED,
    RANGE,
    RefusedError,
)
from hanseg_segmentation.api.http.respond import (
    ETAG,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import ResultList
from hanseg_segmentation.api.intake.redirecting import may_redirect, sign_download
from hanseg_segmentation.api.principal import PrincipalDep
from hanseg_shared.access import Scope
from hanseg_shared.documents import JobState, ListedFile, ResultFile
from hanseg_shared.errors import JobNotFoundError, StoreError
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.problems import EXPIRED, INTERNAL
from hanseg_shared.result_files import REVIEWED

logger = logging.getLogger(__name__)

router = APIRouter(tags=["results"], route_class=GuardedRoute)

RELATED = "multipart/related"

ACCEPT_RANGES = {
    "Accept-Ranges": {
        "description": "`bytes`: ranges are answered.",
        "schema": {"type": "string"},
        "required": True,
    }
}
CONTENT_RANGE = {
    "Content-Range": {
        "description": "Which bytes of how many.",
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
    "application/pdf": {"schema": {"type": "string", "format": "binary"}},
    DICOM: {"schema": {"type": "string", "format": "binary"}},
    "image/png": {"schema": {"type": "string", "format": "binary"}},
    "text/plain": {"schema": {"type": "string"}},
}
_WHOLE = {
    200: {
        "description": "The file.",
        "content": _FILE,
        "headers": ETAG | ACCEPT_RANGES | _DIGEST,
    }
}
_PART = {
    206: {
        "description": "The bytes that were asked for.",
        "content": _FILE,
        "headers": ETAG | _DIGEST | CONTENT_RANGE,
    }
}
_LISTED = describe_answer(200, "The files and where they are.", model=ResultList)
_LISTED[200]["content"] = {
    RELATED: {"schema": {"type": "string", "format": "binary"}},
}

_UNCHANGED = describe_answer(304, "The file is the one that is known.", headers=ETAG)

_ELSEWHERE = describe_answer(
    307,
    "Where the site lets owners fetch large files from its object store: the address, "
    "for some seconds and without a key. Compare the file with its SHA-256.",
    headers=ETAG,
)

Name = Annotated[
    str, Path(description="From the manifest.", examples=["segmentation.nii.gz"])
]


@router.get(
    JOBS + "/{job_id}/results",
    summary="List a job's results",
    operation_id="list_results",
    dependencies=[needs(Scope.READ)],
    responses=_LISTED | describe_problems(404, 406, 409, 410, 422),
)
def list_results(
    job: SeenJob,
    context: ContextDep,
    accept: Annotated[
        str | None,
        Header(
            description='`multipart/related; type="application/dicom"`: all DICOM '
            "objects in one answer (PS3.18)."
        ),
    ] = None,
) -> Response:
    """List the files of a job that has succeeded, or send all that are DICOM."""
    refuse_without_results(job)
    if wants_multipart_dicom(accept):
        return _stream_dicom(context, job)
    files = tuple(
        ListedFile(
            **file.model_dump(),
            href=result_path(job.id, file.name),
            withheld=why_withheld(context, file),
        )
        for file in job.files
    )
    path = job_path(job.id)
    return answer(
        ResultList(
            job=job.id,
            state=job.state,
            files=files,
            links={"self": f"{path}/results", "zip": zip_path(job.id), "job": path},
        ),
        headers={"Vary": "Accept"},
    )


def _stream_dicom(context: Context, job: Job) -> Response:
    """Return the DICOM files of a job as the parts of one body (PS3.18 8.6.1.2)."""
    files = [file for file in job.files if file.media_type == DICOM]
    if not files:
        raise RefusedError(
            NOT_ACCEPTABLE,
            "the job has no DICOM objects among its results; list them as JSON",
        )
    reviewed = [file for file in files if file.name.startswith(f"{REVIEWED}/")]
    files = reviewed or files
    for file in files:
        _require_released(context, file)
    for file in files:
        require_unaltered(context, job.id, file)
    boundary = f"hanseg-{job.id}"
    return StreamingResponse(
        _dicom_parts(context.services.store, job.id, files, boundary),
        headers={"Vary": "Accept", "Cache-Control": "private, no-store"},
        media_type=f'{RELATED}; type="{DICOM}"; boundary={boundary}',
    )


def _dicom_parts(
    store: PayloadStore, job_id: str, files: Sequence[ResultFile], boundary: str
) -> Iterator[bytes]:
    for file in files:
        head = (
            f"--{boundary}\r\nContent-Type: {DICOM}\r\n"
            f"Content-Length: {file.bytes}\r\n"
            f"Content-Location: {result_path(job_id, file.name)}\r\n\r\n"
        )
        yield head.encode()
        yield from store.read_range(job_id, file.sha256, 0, file.bytes)
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode()


@router.get(
    JOBS + "/{job_id}/results/{name:path}",
    summary="Fetch a result file",
    operation_id="fetch_result",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses=_WHOLE
    | _PART
    | _ELSEWHERE
    | _UNCHANGED
    | describe_problems(404, 409, 410, 416, 422),
)
async def fetch_result(
    job: SeenJob,
    name: Name,
    context: ContextDep,
    principal: PrincipalDep,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
    if_range: IfRange = None,
) -> Response:
    """Return a result file, whole or one range of it, or where the store has it."""
    file = await run_sync(_find_file, context, job, name)
    headers = make_headers(file)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=make_validators(headers))
    asked = range_ if range_applies(if_range, headers["ETag"]) else None
    part = find_range(asked, file.bytes)
    if may_redirect(context.services.settings, principal, job, file):
        address = await run_sync(sign_download, context, job.id, file)
        if address is not None:
            return Response(
                status_code=307,
                headers=make_validators(headers) | {"Location": address},
            )
    await run_sync(require_unaltered, context, job.id, file)
    if part is None:
        headers["Content-Digest"] = headers["Repr-Digest"]
        return stream(
            context, job.id, file, ByteRange(0, file.bytes, file.bytes), headers
        )
    headers["Content-Range"] = part.content_range
    return stream(context, job.id, file, part, headers, status=206)


@router.head(
    JOBS + "/{job_id}/results/{name:path}",
    summary="Look at a result file",
    operation_id="head_result",
    dependencies=[needs(Scope.READ)],
    response_class=Response,
    responses={
        200: {
            "description": "What a GET would answer, without the bytes.",
            "content": _FILE,
            "headers": ETAG | ACCEPT_RANGES | _DIGEST,
        }
    }
    | _UNCHANGED
    | describe_problems(404, 409, 410, 422),
)
def head_result(
    job: SeenJob, name: Name, context: ContextDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the headers of a result file: size, digest, type."""
    file = _find_file(context, job, name)
    headers = make_headers(file)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=make_validators(headers))
    headers["Content-Length"] = str(file.bytes)
    return Response(headers=headers, media_type=file.media_type)


def refuse_without_results(job: Job) -> None:
    """Raise `RefusedError` if a job has no results, or none any more."""
    if job.state is JobState.EXPIRED:
        raise RefusedError(EXPIRED, job.error.detail if job.error else "")
    if job.state is not JobState.SUCCEEDED:
        hint = "" if job.state.is_final else "; ask again when it has succeeded"
        raise RefusedError(
            NOT_FINISHED,
            f"the job is {job.state} and has no results{hint}",
            members={"state": job.state},
        )


def _find_file(context: Context, job: Job, name: str) -> ResultFile:
    refuse_without_results(job)
    file = job.file(name)
    if file is None:
        raise JobNotFoundError(
            f"job {job.id} has no result of that name; its manifest lists them"
        )
    _require_released(context, file)
    _require_stored(context, job.id, file)
    return file


def why_withheld(context: Context, file: ResultFile) -> str | None:
    """Return why a file is not sent; None if it is."""
    if not context.services.settings.require_review or file.media_type != DICOM:
        return None
    if file.name.startswith(f"{REVIEWED}/"):
        return None
    return (
        "DICOM objects leave this service only once a review is signed; then they are "
        f"in {REVIEWED}/"
    )


def _require_released(context: Context, file: ResultFile) -> None:
    """Return if a file may be sent.

    Raises:
        RefusedError: It waits for a review, or gives way to what was signed.
    """
    if why := why_withheld(context, file):
        raise RefusedError(NOT_REVIEWED, why)


def _require_stored(context: Context, job_id: str, file: ResultFile) -> None:
    if not context.services.store.exists(job_id, file.sha256):
        # it may have been deleted just now
        refuse_without_results(context.services.tables.jobs.get(job_id))
        raise StoreError(f"result {file.name} of job {job_id} is not in the store")


def send_whole(
    context: Context, job_id: str, file: ResultFile, if_none_match: str | None
) -> Response:
    """Return a whole file of a job, or that it is the one that the client knows.

    Raises:
        RefusedError: It was altered in the store.
    """
    headers = make_headers(file)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=make_validators(headers))
    require_unaltered(context, job_id, file)
    return stream(context, job_id, file, ByteRange(0, file.bytes, file.bytes), headers)


def require_unaltered(context: Context, job_id: str, file: ResultFile) -> None:
    """Refuse to send a file whose bytes are not those that the job wrote.

    It is read twice, here and to be sent, so that nothing wrong is ever sent under the
    right hash; the second time it comes from memory, most often.

    Raises:
        RefusedError: It was altered; the problem names it.
    """
    for _ in read_unaltered(context, job_id, file):
        pass


def read_unaltered(context: Context, job_id: str, file: ResultFile) -> Iterator[bytes]:
    """Yield a file's bytes, and raise at their end if the job wrote others.

    Raises:
        RefusedError: It was altered; the problem names it.
    """
    _require_stored(context, job_id, file)
    digest, size = hashlib.sha256(), 0
    for chunk in context.services.store.read_range(
        job_id, file.sha256, 0, file.bytes + 1
    ):
        digest.update(chunk)
        size += len(chunk)
        yield chunk
    if size == file.bytes and digest.hexdigest() == file.sha256:
        return
    logger.error("result %s of job %s was altered in the store", file.name, job_id)
    raise RefusedError(
        INTERNAL,
        f"the result {file.name} was altered in the store and is not sent; send the "
        "case again, and have the disk looked at",
    )


def make_headers(file: ResultFile) -> dict[str, str]:
    """Return what is said of a file, sent or not."""
    return {
        "ETag": entity_tag(file.sha256),
        "Accept-Ranges": "bytes",
        "Repr-Digest": digest_field(file.sha256),
        "Cache-Control": "private, no-store",
        "Content-Disposition": attachment(file.name),
    }


def make_validators(headers: Mapping[str, str]) -> dict[str, str]:
    """Return what is said of a file that is not sent."""
    return {name: headers[name] for name in ("ETag", "Cache-Control")}


def find_range(asked: str | None, size: int) -> ByteRange | None:
    """Return the range that is asked for of `size` bytes; None if all are.

    Raises:
        RefusedError: There are no such bytes.
    """
    try:
        return parse_range(asked, size)
    except UnsatisfiableRangeError as error:
        raise RefusedError(
            RANGE, str(error), headers={"Content-Range": f"bytes */{size}"}
        ) from None


def stream(
    context: Context,
    job_id: str,
    file: ResultFile,
    part: ByteRange,
    headers: Mapping[str, str],
    *,
    status: int = 200,
) -> Response:
    """Return a part of a file as an answer."""
    store = context.services.store
    return StreamingResponse(
        store.read_range(job_id, file.sha256, part.start, part.stop),
        status_code=status,
        headers={**headers, "Content-Length": str(part.stop - part.start)},
        media_type=file.media_type,
    )
