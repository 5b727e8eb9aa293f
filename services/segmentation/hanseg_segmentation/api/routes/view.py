"""The routes of what the viewer shows beside the results: the CT and the MR."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from fastapi import APIRouter, Path, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import GuardedRoute, needs
from hanseg_segmentation.api.http.links import JOBS
from hanseg_segmentation.api.http.owned import SeenJob
from hanseg_segmentation.api.http.parameters import IfNoneMatch
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.http.respond import (
    ETAG,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.routes.results import (
    refuse_without_results,
    send_whole,
)
from hanseg_shared.access import Scope
from hanseg_shared.documents import MrVerdict, ResultFile
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.record import Job
from hanseg_shared.problems import EXPIRED
from hanseg_shared.result_files import VIEW_CT, VIEW_MR

router = APIRouter(tags=["results"], route_class=GuardedRoute)


class ViewFile(StrEnum):
    """An image that the viewer shows."""

    CT = "ct.nii.gz"
    MR = "mr.nii.gz"


NAMES = {ViewFile.CT: VIEW_CT, ViewFile.MR: VIEW_MR}


@router.get(
    JOBS + "/{job_id}/view/{image}",
    summary="Fetch an image to look at",
    operation_id="fetch_view",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "NIfTI on the CT's grid: the CT as int16 in HU, the "
            "registered MR as uint8, 0 outside its field of view.",
            "content": {
                "application/gzip": {"schema": {"type": "string", "format": "binary"}}
            },
            "headers": ETAG,
        }
    }
    | describe_answer(304, "It is the image that is known.", headers=ETAG)
    | describe_problems(404, 409, 410, 422),
)
def fetch_view(
    job: SeenJob,
    image: Annotated[ViewFile, Path(description="Which of the two.")],
    context: ContextDep,
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return the CT or the registered MR, as long as the images that were sent stay."""
    return send_whole(context, job.id, _find_view(job, image), if_none_match)


def _find_view(job: Job, image: ViewFile) -> ResultFile:
    """Return the file of an image.

    Raises:
        JobNotFoundError: The job has none.
        RefusedError: The job has no results, or its images were deleted.
    """
    refuse_without_results(job)
    name = NAMES[image]
    file = next((each for each in job.intermediate if each.name == name), None)
    if file is not None:
        return file
    if job.removed:
        raise RefusedError(
            EXPIRED,
            f"the images of job {job.id} are gone; its contours are still there",
        )
    verdict = job.registration.verdict if job.registration else MrVerdict.ABSENT
    if image is ViewFile.MR and verdict is MrVerdict.ABSENT:
        raise JobNotFoundError(f"job {job.id} has no MR")
    raise JobNotFoundError(
        f"job {job.id} was made before this service had a viewer; send the case again"
    )
