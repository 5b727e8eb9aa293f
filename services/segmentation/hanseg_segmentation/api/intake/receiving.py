"""A submission as it arrives: a form with images, or JSON that names uploads."""

from __future__ import annotations

from pathlib import Path

from anyio.to_thread import run_sync
from fastapi import Request

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.form import Form, read_form
from hanseg_segmentation.api.http.parsing import parse_document
from hanseg_segmentation.api.http.problem_responses import (
    INVALID,
    UNSUPPORTED,
    RefusedError,
)
from hanseg_segmentation.api.http.schemas import JobSubmission, UploadedCase
from hanseg_segmentation.api.intake.images import Image, fetch_upload
from hanseg_segmentation.api.intake.submission import Submission

FORM = "multipart/form-data"
JSON = "application/json"


async def receive(request: Request, context: Context, folder: Path) -> Submission:
    """Return what a request submits, its images as ``ct`` and ``mr`` in a folder.

    Raises:
        RefusedError: It is neither form nor JSON, or one that does not fit.
        OptionError: It names an upload that does not exist.
        JobStateError: It names an upload whose content was not sent yet.
    """
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type == FORM:
        form = await read_form(
            request,
            folder,
            files=frozenset({"ct", "mr"}),
            fields=frozenset({"request"}),
        )
        return _from_form(form)
    if media_type == JSON:
        case = parse_document(UploadedCase, await request.body(), at=())
        return await run_sync(_from_uploads, context, case, folder)
    raise RefusedError(UNSUPPORTED, f"send {FORM} or {JSON}")


def _from_form(form: Form) -> Submission:
    if "ct" not in form.files:
        raise RefusedError(INVALID, "the part 'ct', the planning CT, is missing")
    asked = parse_document(
        JobSubmission, form.fields.get("request") or b"{}", at=("request",)
    )
    mr = form.files.get("mr")
    return Submission(
        ct=Image(*form.files["ct"]),
        mr=Image(*mr) if mr else None,
        options=asked.options,
        case=asked.case,
    )


def _from_uploads(context: Context, case: UploadedCase, folder: Path) -> Submission:
    services = context.services
    return Submission(
        ct=fetch_upload(services, case.ct, folder / "ct"),
        mr=fetch_upload(services, case.mr, folder / "mr") if case.mr else None,
        options=case.options,
        case=case.case,
    )
