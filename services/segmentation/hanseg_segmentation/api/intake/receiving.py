"""A submission as it arrives: a form with files, or JSON that names what was stored."""

from __future__ import annotations

from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import Request

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.form import Form, read_form
from hanseg_segmentation.api.http.headers import media_type_of
from hanseg_segmentation.api.http.parsing import parse_document, read_json
from hanseg_segmentation.api.http.problem_responses import (
    INVALID,
    UNSUPPORTED,
    RefusedError,
)
from hanseg_segmentation.api.http.schemas import (
    JobSubmission,
    StudyCase,
    UploadedCase,
)
from hanseg_segmentation.api.intake.images import Image, fetch_upload, require_received
from hanseg_segmentation.api.intake.received import Submission
from hanseg_segmentation.api.intake.studies import fetch_study
from hanseg_segmentation.api.principal import Principal

FORM = "multipart/form-data"
JSON = "application/json"


async def receive(
    request: Request, context: Context, folder: Path, principal: Principal
) -> Submission:
    """Return what a request submits, its files as ``ct``, ``mr``, ``reg`` in a folder.

    Raises:
        RefusedError: It is neither form nor JSON, or one that does not fit.
        OptionError: It names an upload or a study that does not exist.
        JobStateError: It names an upload whose content was not sent yet.
        DiskFullError: There is no room for copies of what it names.
    """
    media_type = media_type_of(request.headers.get("content-type"))
    if media_type == FORM:
        form = await read_form(
            request,
            folder,
            files=frozenset({"ct", "mr", "reg"}),
            fields=frozenset({"request"}),
        )
        return _from_form(form)
    if media_type == JSON:
        content = await request.body()
        return await run_sync(_from_json, context, content, folder, principal.owner)
    raise RefusedError(UNSUPPORTED, f"send {FORM} or {JSON}")


def _from_form(form: Form) -> Submission:
    if "ct" not in form.files:
        raise RefusedError(INVALID, "the part 'ct', the planning CT, is missing")
    asked = parse_document(
        JobSubmission, form.fields.get("request") or b"{}", at=("request",)
    )
    mr, reg = form.files.get("mr"), form.files.get("reg")
    return Submission.of(
        asked,
        Image(*form.files["ct"]),
        Image(*mr) if mr else None,
        Image(*reg) if reg else None,
    )


def _from_json(
    context: Context, content: bytes, folder: Path, owner: str
) -> Submission:
    if _names_study(content):
        study = parse_document(StudyCase, content, at=())
        return fetch_study(context, study, folder, owner)
    case = parse_document(UploadedCase, content, at=())
    return _from_uploads(context, case, folder, owner)


def _names_study(content: bytes) -> bool:
    """Whether JSON that may be anything is meant to name a study."""
    try:
        found = read_json(content)
    except ValueError:
        return False
    return isinstance(found, dict) and "study" in found


def _from_uploads(
    context: Context, case: UploadedCase, folder: Path, owner: str
) -> Submission:
    services = context.services
    uploads = [
        require_received(services, upload_id, owner)
        for upload_id in (case.ct, case.mr, case.reg)
        if upload_id is not None
    ]
    context.room.take(sum(each.bytes for each in uploads), by=folder)
    return Submission.of(
        case,
        fetch_upload(services, case.ct, folder / "ct", owner),
        fetch_upload(services, case.mr, folder / "mr", owner) if case.mr else None,
        fetch_upload(services, case.reg, folder / "reg", owner) if case.reg else None,
    )
