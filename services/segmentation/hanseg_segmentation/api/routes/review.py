"""The routes of a review: what is said of organs and of the MR, and the signature."""

from __future__ import annotations

from functools import partial
from pathlib import Path as FilePath
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import APIRouter, Header, Path, Request, Response

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.headers import entity_tag, none_match
from hanseg_segmentation.api.http.incoming import request_folder
from hanseg_segmentation.api.http.links import (
    JOBS,
    review_document,
    review_versions,
)
from hanseg_segmentation.api.http.owned import SeenJob
from hanseg_segmentation.api.http.parameters import IfNoneMatch
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.http.respond import (
    ETAG,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.intake.checking import check_and_make
from hanseg_segmentation.api.intake.retrying import ct_only_key, fetch_without_mr
from hanseg_segmentation.api.intake.reviewing import (
    judge_organs,
    judge_registration,
    list_unjudged,
    make_change,
    make_signature,
    open_review,
    require_registration,
    require_signable,
    require_version,
    save,
)
from hanseg_segmentation.api.intake.signing import hand_on
from hanseg_segmentation.api.intake.submission import submit_checked
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_segmentation.api.routes.results import refuse_without_results
from hanseg_shared.access import Scope
from hanseg_shared.documents import ReviewState
from hanseg_shared.errors import JobStateError
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.record import Job
from hanseg_shared.problems import EXPIRED
from hanseg_shared.review.documents import (
    ChangeKind,
    NamedJudgement,
    OrganJudgement,
    OrgansJudged,
    RegistrationJudgement,
    RegistrationVerdict,
    ReviewDocument,
    ReviewSignature,
    ReviewVersions,
    SignatureRequest,
)

router = APIRouter(tags=["review"], route_class=StrictRoute)

REVIEW = JOBS + "/{job_id}/review"

Organ = Annotated[str, Path(description="The organ's name.", examples=["Brainstem"])]
Version = Annotated[
    int, Path(ge=0, le=2**31 - 1, description="One of its versions.", examples=[1])
]
IfMatch = Annotated[
    str | None, Header(description="ETag of the newest version, as it must be.")
]

SAVED = describe_answer(
    200, "The version that this has made.", model=ReviewDocument, headers=ETAG
)
_UNCHANGED = describe_answer(304, "It is the version that is known.", headers=ETAG)


@router.get(
    REVIEW,
    summary="Look at a job's review",
    operation_id="get_review",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(
        200, "Its newest version.", model=ReviewDocument, headers=ETAG
    )
    | _UNCHANGED
    | describe_problems(404, 409, 410, 422),
)
def get_review(
    job: SeenJob, context: ContextDep, if_none_match: IfNoneMatch = None
) -> Response:
    """Return what was said so far of a job's organs and registration."""
    refuse_without_results(job)
    review = context.services.tables.reviews.get(job.id)
    headers = {"ETag": entity_tag(str(review.version))}
    if not none_match(if_none_match, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return answer_review(job, review)


@router.get(
    REVIEW + "/versions",
    summary="List the versions of a review",
    operation_id="list_review_versions",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(200, "The newest first.", model=ReviewVersions)
    | describe_problems(404, 409, 410, 422),
)
def list_review_versions(job: SeenJob, context: ContextDep) -> Response:
    """Return who has changed a review, when, and in what."""
    refuse_without_results(job)
    changes = context.services.tables.reviews.list_changes(job.id)
    return answer(review_versions(job.id, changes))


@router.get(
    REVIEW + "/versions/{version}",
    summary="Get a version of a review",
    operation_id="get_review_version",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(200, "That version.", model=ReviewDocument, headers=ETAG)
    | describe_problems(404, 409, 410, 422),
)
def get_review_version(job: SeenJob, version: Version, context: ContextDep) -> Response:
    """Return a version of a review; what it says never changes."""
    refuse_without_results(job)
    return answer_review(job, context.services.tables.reviews.get(job.id, version))


@router.put(
    REVIEW + "/organs/{organ}",
    summary="Judge an organ",
    operation_id="judge_organ",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(400, 404, 409, 410, 412, 422),
)
def judge_organ(
    job: SeenJob,
    organ: Organ,
    said: OrganJudgement,
    context: ContextDep,
    principal: PrincipalDep,
    if_match: IfMatch = None,
) -> Response:
    """Accept or reject an organ's contour, as the model has made it.

    A verdict of null takes back what was said. Both put a correction aside; the
    version that has it stays.
    """
    named = NamedJudgement(organ=organ, verdict=said.verdict, reason=said.reason)
    return _judge(context, principal, job, (named,), if_match)


@router.post(
    REVIEW + "/organs",
    summary="Judge several organs",
    operation_id="judge_organs",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(400, 404, 409, 410, 412, 422),
)
def judge_several(
    job: SeenJob,
    said: OrgansJudged,
    context: ContextDep,
    principal: PrincipalDep,
    if_match: IfMatch = None,
) -> Response:
    """Accept or reject several organs in one version."""
    return _judge(context, principal, job, said.organs, if_match)


@router.put(
    REVIEW + "/registration",
    summary="Judge the registration",
    operation_id="review_registration",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(400, 404, 409, 410, 412, 413, 422),
)
async def review_registration(
    job: SeenJob,
    said: RegistrationJudgement,
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    if_match: IfMatch = None,
) -> Response:
    """Accept or reject the registration of the MR.

    A rejection queues the CT alone as a new job of the same case, `ct_only_job`, once;
    this job keeps its results, and cannot be signed.
    """
    refuse_without_results(job)
    require_registration(job)
    tables = context.services.tables
    review = await run_sync(lambda: open_review(tables, job, if_match=if_match))
    ct_only, remark = None, ""
    if said.verdict is RegistrationVerdict.REJECTED:
        ct_only, remark = await _queue_ct_only(request, context, principal, job)
    changed = judge_registration(
        review, said, principal, ct_only_job=ct_only, remark=remark
    )
    saved = await run_sync(save, tables, changed)
    return answer_review(job, saved)


@router.post(
    REVIEW + "/signature",
    summary="Sign a review",
    operation_id="sign_review",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(400, 404, 409, 410, 412, 422),
)
async def sign_review(
    job: SeenJob,
    asked: SignatureRequest,
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
) -> Response:
    """Sign the version that was seen, of which every organ must be judged.

    Of a job with DICOM the structure set is written again, approved: without what was
    rejected, with what was corrected. It and what else is handed on are results of the
    job, in `reviewed/`.
    """
    settings = context.services.settings
    refuse_without_results(job)
    signature = make_signature(asked, principal)
    async with request_folder(context) as folder:
        signed = await check_and_make(
            request,
            context.checking,
            principal,
            partial(_sign, context, job, asked, signature, principal, folder),
            seconds=settings.check_seconds,
        )
    return answer_review(job, signed)


@router.post(
    REVIEW + "/reopen",
    summary="Reopen a signed review",
    operation_id="reopen_review",
    dependencies=[needs(Scope.REVIEW)],
    responses=SAVED | describe_problems(404, 409, 410, 412, 422),
)
def reopen_review(
    job: SeenJob,
    context: ContextDep,
    principal: PrincipalDep,
    if_match: IfMatch = None,
) -> Response:
    """Take up a review again that was signed; what was signed stays as its version.

    What has been handed on already is not called back.
    """
    refuse_without_results(job)
    tables = context.services.tables
    review = tables.reviews.get(job.id)
    require_version(review, if_match)
    if review.state is not ReviewState.SIGNED:
        raise JobStateError(f"the review of job {job.id} is not signed")
    change = make_change(review, ChangeKind.REOPENED, principal)
    return answer_review(job, save(tables, review.reopened(change)))


def answer_review(job: Job, review: ReviewDocument) -> Response:
    """Return a version of a review as an answer."""
    document = review_document(review, list_unjudged(job, review))
    return answer(document, headers={"ETag": entity_tag(str(review.version))})


def _judge(
    context: Context,
    principal: Principal,
    job: Job,
    said: tuple[NamedJudgement, ...],
    if_match: str | None,
) -> Response:
    refuse_without_results(job)
    tables = context.services.tables
    review = open_review(tables, job, if_match=if_match)
    return answer_review(job, save(tables, judge_organs(job, review, said, principal)))


def _sign(
    context: Context,
    job: Job,
    asked: SignatureRequest,
    signature: ReviewSignature,
    principal: Principal,
    folder: FilePath,
    halt: Halt,
) -> ReviewDocument:
    tables = context.services.tables
    review = open_review(tables, job)
    require_signable(job, review, asked)
    files, left_out = hand_on(context, job, review, signature, folder, halt)
    change = make_change(review, ChangeKind.SIGNATURE, principal)
    signed = review.signed(signature, change, files=files, left_out=left_out)
    return save(tables, signed)


async def _queue_ct_only(
    request: Request, context: Context, principal: Principal, job: Job
) -> tuple[str | None, str]:
    """Return the job of the CT alone, made now or before; or why there is none."""
    async with request_folder(context) as folder:
        try:
            submission = await run_sync(fetch_without_mr, context, job.id, folder)
        except RefusedError as error:
            if error.kind is not EXPIRED:
                raise
            return None, error.detail
        made = await submit_checked(
            request,
            context,
            principal,
            submission,
            folder,
            owned_by=job.owned_by,
            key=ct_only_key(job.id),
        )
    return made.id, ""
