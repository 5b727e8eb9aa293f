"""The routes of corrections: contours that people have changed, sent and fetched."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import GuardedRoute, needs
from hanseg_segmentation.api.http.headers import media_type_of
from hanseg_segmentation.api.http.incoming import request_folder
from hanseg_segmentation.api.http.owned import SeenJob
from hanseg_segmentation.api.http.parameters import IfNoneMatch
from hanseg_segmentation.api.http.problem_responses import UNSUPPORTED, RefusedError
from hanseg_segmentation.api.http.respond import (
    ETAG,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.intake.admission import refuse_when_disk_is_full
from hanseg_segmentation.api.intake.checking import check_and_make
from hanseg_segmentation.api.intake.correcting import correct, receive_file
from hanseg_segmentation.api.intake.reviewing import open_review, require_organ
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_segmentation.api.routes.results import (
    refuse_without_results,
    send_whole,
)
from hanseg_segmentation.api.routes.review import (
    REVIEW,
    SAVED,
    IfMatch,
    Organ,
    Version,
    answer_review,
)
from hanseg_shared.access import Scope
from hanseg_shared.documents import ResultFile
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.record import Job

router = APIRouter(tags=["review"], route_class=GuardedRoute)

GZIP = "application/gzip"
ANY = "application/octet-stream"


def _body(kind: str, description: str) -> dict[str, Any]:
    schema = {"type": "string", "format": "binary"}
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {kind: {"schema": schema}},
        }
    }


@router.put(
    REVIEW + "/organs/{organ}/mask",
    summary="Save a painted correction",
    operation_id="save_mask",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(404, 409, 410, 412, 413, 415, 422),
    openapi_extra=_body(
        GZIP,
        "gzip of one byte a voxel of the CT's grid, 0 or 1, x fastest, then y, then z.",
    ),
)
async def save_mask(
    job: SeenJob,
    organ: Organ,
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    if_match: IfMatch = None,
) -> Response:
    """Save an organ's whole corrected mask as a new version, beside the model's own.

    A mask that equals the model's own makes none.
    """
    require_organ(organ)
    if media_type_of(request.headers.get("content-type")) != GZIP:
        raise RefusedError(UNSUPPORTED, f"send the mask as {GZIP}")
    return await _correct(
        request,
        context,
        principal,
        job,
        organ=organ,
        painted=True,
        if_match=if_match,
    )


@router.post(
    REVIEW + "/corrections",
    summary="Send corrected contours",
    operation_id="send_correction",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(404, 409, 410, 412, 413, 415, 422),
    openapi_extra=_body(
        ANY,
        "An RTSTRUCT, a DICOM segmentation, or a label map as NIfTI, NRRD (also "
        "3D Slicer's .seg.nrrd) or MHA.",
    ),
)
async def send_correction(
    job: SeenJob,
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    organ: Annotated[
        str | None,
        Query(description="Whose the one mask of an image file is."),
    ] = None,
    if_match: IfMatch = None,
) -> Response:
    """Send contours that were corrected elsewhere: each that differs is edited now.

    Each is compared with the model's own at once. Organs that the file does not have
    keep what was said of them.
    """
    if organ is not None:
        require_organ(organ)
    return await _correct(
        request, context, principal, job, organ=organ, if_match=if_match
    )


@router.get(
    REVIEW + "/versions/{version}/masks/{organ}",
    summary="Fetch a corrected mask",
    operation_id="fetch_mask",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The mask, in the form in which it is painted.",
            "content": {GZIP: {"schema": {"type": "string", "format": "binary"}}},
            "headers": ETAG,
        }
    }
    | describe_answer(304, "It is the mask that is known.", headers=ETAG)
    | describe_problems(404, 409, 410, 422),
)
def fetch_mask(
    job: SeenJob,
    version: Version,
    organ: Organ,
    context: ContextDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return an organ's corrected mask, as it is in a version of the review."""
    refuse_without_results(job)
    said = context.services.tables.reviews.get(job.id, version).organ(organ)
    if said is None or said.mask is None:
        raise JobNotFoundError(
            f"in version {version} of the review that organ has no corrected mask"
        )
    mask = said.mask
    file = ResultFile(
        name=f"{organ}.gz", sha256=mask.sha256, bytes=mask.bytes, media_type=GZIP
    )
    return send_whole(context, job.id, file, if_none_match)


async def _correct(
    request: Request,
    context: Context,
    principal: Principal,
    job: Job,
    *,
    organ: str | None = None,
    painted: bool = False,
    if_match: str | None = None,
) -> Response:
    services = context.services
    refuse_without_results(job)
    # before anything of the body is received
    await run_sync(partial(open_review, services.tables, job, if_match=if_match))
    await run_sync(refuse_when_disk_is_full, context)
    async with request_folder(context) as folder:
        sent = await receive_file(request, folder)
        review = await check_and_make(
            request,
            context.checking,
            principal,
            lambda halt: correct(
                context,
                job,
                sent,
                principal,
                halt,
                organ=organ,
                painted=painted,
                if_match=if_match,
            ),
            seconds=services.settings.check_seconds,
        )
    return answer_review(job, review)
