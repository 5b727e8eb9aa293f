"""The route of all results of a job as one zip archive."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import GuardedRoute, needs
from hanseg_segmentation.api.http.headers import (
    ByteRange,
    attachment,
    entity_tag,
    none_match,
    range_applies,
)
from hanseg_segmentation.api.http.links import JOBS
from hanseg_segmentation.api.http.owned import SeenJob
from hanseg_segmentation.api.http.parameters import IfNoneMatch, IfRange, Range
from hanseg_segmentation.api.http.respond import (
    ETAG,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.zip_layout import MEDIA_TYPE, Archive, Entry, lay_out
from hanseg_segmentation.api.routes.results import (
    ACCEPT_RANGES,
    CONTENT_RANGE,
    find_range,
    make_validators,
    read_unaltered,
    refuse_without_results,
    why_withheld,
)
from hanseg_shared.access import Scope
from hanseg_shared.documents import ResultFile
from hanseg_shared.jobs.record import Job

router = APIRouter(tags=["results"], route_class=GuardedRoute)

PATH = JOBS + "/{job_id}/results.zip"

_ZIP: dict[str, Any] = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}

_WHOLE = {
    200: {
        "description": "The archive: every result that is not withheld, by its name.",
        "content": _ZIP,
        "headers": ETAG | ACCEPT_RANGES,
    }
}
_PART = {
    206: {
        "description": "The bytes that were asked for.",
        "content": _ZIP,
        "headers": ETAG | CONTENT_RANGE,
    }
}
_UNCHANGED = describe_answer(304, "The archive is the one that is known.", headers=ETAG)


@router.get(
    PATH,
    summary="Fetch all results",
    operation_id="fetch_results_zip",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses=_WHOLE | _PART | _UNCHANGED | describe_problems(404, 409, 410, 416, 422),
)
async def fetch_results_zip(
    job: SeenJob,
    context: ContextDep,
    if_none_match: IfNoneMatch = None,
    range_: Range = None,
    if_range: IfRange = None,
) -> Response:
    """Return all results of a job in one archive, or one range of it.

    The files are stored in it as they are; the signed manifest among them has the
    SHA-256 of each. Nothing is sent unless all are what the job wrote.
    """
    files = _list_files(context, job)
    headers = _make_headers(job, files)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=make_validators(headers))
    size = _lay_out(job, files).size
    asked = range_ if range_applies(if_range, headers["ETag"]) else None
    part = find_range(asked, size)
    sums = await run_sync(_sum_unaltered, context, job.id, files)
    archive = _lay_out(job, files, sums)
    if part is not None:
        headers["Content-Range"] = part.content_range
    return _stream(context, job.id, files, archive, part, headers)


@router.head(
    PATH,
    summary="Look at all results",
    operation_id="head_results_zip",
    dependencies=[needs(Scope.READ)],
    response_class=Response,
    responses=_WHOLE | _UNCHANGED | describe_problems(404, 409, 410, 422),
)
def head_results_zip(
    job: SeenJob, context: ContextDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Return the headers of the archive of all results: its size and its tag."""
    files = _list_files(context, job)
    headers = _make_headers(job, files)
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=make_validators(headers))
    headers["Content-Length"] = str(_lay_out(job, files).size)
    return Response(headers=headers, media_type=MEDIA_TYPE)


def _list_files(context: Context, job: Job) -> tuple[ResultFile, ...]:
    """Return the results of a job that may leave the service."""
    refuse_without_results(job)
    return tuple(file for file in job.files if why_withheld(context, file) is None)


def _make_headers(job: Job, files: Sequence[ResultFile]) -> dict[str, str]:
    digest = hashlib.sha256(f"{_made_at(job).isoformat()}\n".encode())
    for file in files:
        digest.update(f"{file.sha256} {file.name}\n".encode())
    return {
        "ETag": entity_tag(digest.hexdigest()),
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Disposition": attachment(f"hanseg-{job.id}.zip"),
    }


def _made_at(job: Job) -> datetime:
    return datetime.fromtimestamp(job.finished_at or job.updated_at, UTC)


def _lay_out(
    job: Job, files: Sequence[ResultFile], sums: Sequence[int] | None = None
) -> Archive:
    """Return the archive; without the files' CRC-32, which it needs to be sent."""
    entries = [
        Entry(file.name, file.bytes, crc32)
        for file, crc32 in zip(files, sums or [0] * len(files), strict=True)
    ]
    return lay_out(entries, _made_at(job))


def _sum_unaltered(
    context: Context, job_id: str, files: Sequence[ResultFile]
) -> list[int]:
    """Return the CRC-32 of each file.

    Raises:
        RefusedError: One is not what the job wrote; the problem names it.
    """
    return [_crc32(read_unaltered(context, job_id, file)) for file in files]


def _crc32(chunks: Iterator[bytes]) -> int:
    found = 0
    for chunk in chunks:
        found = zlib.crc32(chunk, found)
    return found


def _stream(
    context: Context,
    job_id: str,
    files: Sequence[ResultFile],
    archive: Archive,
    part: ByteRange | None,
    headers: dict[str, str],
) -> Response:
    start, stop = (0, archive.size) if part is None else (part.start, part.stop)
    read = partial(_read_file, context, job_id, files)
    return StreamingResponse(
        archive.read(start, stop, read),
        status_code=200 if part is None else 206,
        headers={**headers, "Content-Length": str(stop - start)},
        media_type=MEDIA_TYPE,
    )


def _read_file(
    context: Context,
    job_id: str,
    files: Sequence[ResultFile],
    position: int,
    start: int,
    stop: int,
) -> Iterator[bytes]:
    store = context.services.store
    return store.read_range(job_id, files[position].sha256, start, stop)
