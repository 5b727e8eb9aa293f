"""The routes of uploads: announce a file by size and hash, send it, name it in a job.

For large images: streamed, verified before they are used, and safe to repeat.
"""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Request, Response

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.headers import declared_digest
from hanseg_segmentation.api.http.incoming import FileSink, request_folder
from hanseg_segmentation.api.http.links import UPLOADS, upload_path
from hanseg_segmentation.api.http.owned import UploadToChange
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.problem_responses import (
    CONTENT_MISMATCH,
    TOO_LARGE,
    UNSUPPORTED,
    RefusedError,
    translate_disk_faults,
)
from hanseg_segmentation.api.http.respond import (
    LOCATION,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import UploadDocument, UploadRequest
from hanseg_segmentation.api.intake.admission import refuse_when_disk_is_full
from hanseg_segmentation.api.principal import PrincipalDep
from hanseg_segmentation.api.reservations import COPIES
from hanseg_shared.access import Scope
from hanseg_shared.errors import JobNotFoundError, StoreError
from hanseg_shared.jobs.record import Upload, moment
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stores.files import Payload
from hanseg_shared.jobs.sweeper import ANNOUNCED_SECONDS, UPLOAD_SECONDS

router = APIRouter(tags=["uploads"], route_class=StrictRoute)

_CONTENT_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file's bytes.",
        "content": {
            "application/octet-stream": {
                "schema": {"type": "string", "format": "binary"}
            }
        },
    }
}


@router.post(
    UPLOADS,
    status_code=201,
    summary="Announce a file",
    operation_id="announce_upload",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        201, "Where to send it.", model=UploadDocument, headers=LOCATION
    )
    | describe_problems(400, 413, 422),
)
def announce_upload(
    announced: UploadRequest, context: ContextDep, principal: PrincipalDep
) -> Response:
    """Announce a file by its size and SHA-256, to be sent next.

    Room for it is reserved for two hours; then, if it has not come, it is forgotten.
    """
    services = context.services
    refuse_when_disk_is_full(context)
    most = services.settings.max_upload_bytes
    if announced.bytes > most:
        raise RefusedError(
            TOO_LARGE, f"{announced.bytes} bytes are more than the {most} accepted"
        )
    with context.room.checked(COPIES * announced.bytes):
        upload = services.tables.uploads.create(
            size=announced.bytes,
            sha256=announced.sha256,
            owned_by=principal.owner,
            most=services.settings.max_announced_uploads_a_caller,
        )
    return answer(
        _document(upload), status=201, headers={"Location": upload_path(upload.id)}
    )


@router.get(
    UPLOADS + "/{upload_id}",
    summary="Look at an upload",
    operation_id="get_upload",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(200, "The announced file.", model=UploadDocument)
    | describe_problems(404, 422),
)
def get_upload(upload_id: UploadToChange, context: ContextDep) -> Response:
    """Return whether an announced file has been received."""
    return answer(_document(context.services.tables.uploads.get(upload_id)))


@router.put(
    UPLOADS + "/{upload_id}/content",
    status_code=204,
    summary="Send an announced file",
    operation_id="send_upload",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(204, "The file is there, and is what was announced.")
    | describe_problems(404, 413, 415, 422),
    openapi_extra=_CONTENT_BODY,
)
async def send_upload(
    upload_id: UploadToChange,
    request: Request,
    context: ContextDep,
    content_digest: Annotated[
        str | None, Header(description="`sha-256=:...:` of the content (RFC 9530).")
    ] = None,
    content_encoding: Annotated[
        str | None, Header(description="Only `identity` is accepted.")
    ] = None,
) -> Response:
    """Receive an announced file; repeating it changes nothing."""
    services = context.services
    upload = await run_sync(services.tables.uploads.get, upload_id)
    _refuse_encoded(content_encoding)
    _refuse_other(upload, request.headers.get("content-length"), content_digest)
    await run_sync(refuse_when_disk_is_full, context)
    async with request_folder(context) as folder:
        path, payload = await _receive_content(request, upload, folder)
        _refuse_mismatch(upload, payload)
        await run_sync(_keep, services, upload, path)
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete(
    UPLOADS + "/{upload_id}",
    status_code=204,
    summary="Delete an upload",
    operation_id="delete_upload",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(204, "The file is gone.") | describe_problems(404, 422),
)
def delete_upload(upload_id: UploadToChange, context: ContextDep) -> Response:
    """Delete an upload now; jobs that were made of it keep copies of their own."""
    services = context.services
    upload = services.tables.uploads.get(upload_id)
    services.tables.uploads.delete(upload_id)
    services.store.purge(upload.owner)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _document(upload: Upload) -> UploadDocument:
    path = upload_path(upload.id)
    kept_seconds = UPLOAD_SECONDS if upload.received else ANNOUNCED_SECONDS
    return UploadDocument(
        id=upload.id,
        bytes=upload.bytes,
        sha256=upload.sha256,
        received=upload.received,
        created_at=moment(upload.created_at),
        expires_at=moment(upload.created_at + kept_seconds),
        links={"self": path, "content": f"{path}/content"},
    )


def _refuse_encoded(content_encoding: str | None) -> None:
    if content_encoding not in {None, "", "identity"}:
        raise RefusedError(
            UNSUPPORTED, f"send the file itself, not encoded as {content_encoding}"
        )


def _refuse_other(
    upload: Upload, content_length: str | None, content_digest: str | None
) -> None:
    """Refuse, unread, content whose headers say that it is not the announced file."""
    if content_length and content_length != str(upload.bytes):
        raise _mismatch(f"{content_length} bytes", f"{upload.bytes} bytes")
    digest = declared_digest(content_digest)
    if digest is not None and digest != upload.sha256:
        raise _mismatch("a Content-Digest of its own", f"SHA-256 {upload.sha256}")


async def _receive_content(
    request: Request, upload: Upload, folder: Path
) -> tuple[Path, Payload]:
    sink = FileSink(folder / "content")
    try:
        async for chunk in request.stream():
            if sink.received + len(chunk) > upload.bytes:
                raise _mismatch("more bytes", f"{upload.bytes} bytes")
            await sink.write(chunk)
        return sink.path, await sink.finish()
    finally:
        sink.close()


def _refuse_mismatch(upload: Upload, payload: Payload) -> None:
    if payload.bytes != upload.bytes:
        raise _mismatch(f"{payload.bytes} bytes", f"{upload.bytes} bytes")
    if payload.sha256 != upload.sha256:
        raise _mismatch(f"SHA-256 {payload.sha256}", f"SHA-256 {upload.sha256}")


def _mismatch(sent: str, announced: str) -> RefusedError:
    return RefusedError(
        CONTENT_MISMATCH,
        f"the content has {sent}, but {announced} were announced; send it again",
    )


def _keep(services: Services, upload: Upload, path: Path) -> None:
    """Store a file whose upload may be deleted at any moment: then nothing stays.

    Raises:
        JobNotFoundError: It was deleted.
    """
    try:
        with translate_disk_faults():
            services.store.put(upload.owner, path)
    except StoreError:  # its folder went while it was written, perhaps
        services.tables.uploads.get(upload.id)
        raise
    if not services.tables.uploads.mark_received(upload.id):
        services.store.purge(upload.owner)
        raise JobNotFoundError(
            f"upload {upload.id} was deleted while its content came; announce it again"
        )
