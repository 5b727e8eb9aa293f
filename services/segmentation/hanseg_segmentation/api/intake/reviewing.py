"""What people say of a job's results, turned into the next version of its review."""

from __future__ import annotations

from datetime import UTC, datetime

from hanseg_segmentation.api.http.headers import entity_tag, matches
from hanseg_segmentation.api.http.problem_responses import (
    CHANGED,
    INVALID,
    SIGNED,
    UNJUDGED,
    RefusedError,
)
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.access import OIDC_PREFIX
from hanseg_shared.documents import MrVerdict, ReviewState
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.organs import ORGANS
from hanseg_shared.review.documents import (
    ChangeKind,
    NamedJudgement,
    OrganReview,
    OrganVerdict,
    RegistrationJudgement,
    RegistrationReview,
    RegistrationVerdict,
    ReviewChange,
    ReviewDocument,
    ReviewSignature,
    SignatureRequest,
)

_NAMES = frozenset(organ.name for organ in ORGANS)


def list_unjudged(job: Job, review: ReviewDocument) -> tuple[str, ...]:
    """Return the organs that have a contour of which nothing was said."""
    return tuple(
        each.name
        for each in job.organs
        if each.volume_ml > 0 and review.organ(each.name) is None
    )


def require_organ(name: str) -> str:
    """Return an organ's name.

    Raises:
        JobNotFoundError: It is none of the 30.
    """
    if name not in _NAMES:
        raise JobNotFoundError(
            "there is no organ of that name; GET /v1/organs lists the 30"
        )
    return name


def open_review(
    tables: Tables, job: Job, *, if_match: str | None = None
) -> ReviewDocument:
    """Return a job's review as it is, to be changed.

    Raises:
        RefusedError: It is signed, or not the version that is asked for.
    """
    review = tables.reviews.get(job.id)
    require_version(review, if_match)
    if review.state is ReviewState.SIGNED:
        raise RefusedError(
            SIGNED,
            "the review is signed, and is not changed; reopen it first, and have it "
            "signed again",
        )
    return review


def require_version(review: ReviewDocument, if_match: str | None) -> None:
    """Return if a review is the version of ``If-Match``, or that is not asked for.

    Raises:
        RefusedError: It is another.
    """
    tag = entity_tag(str(review.version))
    if if_match is not None and not matches(if_match, tag):
        raise RefusedError(
            CHANGED,
            f"the review has version {review.version} now, not the one of If-Match; "
            "read it again",
        )


def make_change(
    review: ReviewDocument,
    what: ChangeKind,
    principal: Principal,
    organs: tuple[str, ...] = (),
) -> ReviewChange:
    """Return what makes the next version of a review."""
    return ReviewChange(
        version=review.version + 1,
        what=what,
        organs=organs,
        by=principal.owner,
        at=datetime.now(UTC),
    )


def judge_organs(
    job: Job,
    review: ReviewDocument,
    said: tuple[NamedJudgement, ...],
    principal: Principal,
) -> ReviewDocument:
    """Return the next version, in which organs are accepted or rejected.

    Raises:
        JobNotFoundError: One is none of the 30.
        JobStateError: One has no contour.
        RefusedError: One is named twice.
    """
    names = tuple(require_organ(each.organ) for each in said)
    if len(set(names)) < len(names):
        raise RefusedError(INVALID, "an organ is named twice; say one thing of each")
    contoured = {each.name for each in job.organs if each.volume_ml > 0}
    for each in said:
        if each.verdict is not None and each.organ not in contoured:
            raise JobStateError(
                f"{each.organ} has no contour that could be {each.verdict}; correct it "
                "instead, or leave it out"
            )
    change = make_change(review, ChangeKind.ORGANS, principal, names)
    verdicts = {each.organ: _review_of(each, change) for each in said}
    return review.with_organs(verdicts, change)


def _review_of(said: NamedJudgement, change: ReviewChange) -> OrganReview | None:
    if said.verdict is None:
        return None
    return OrganReview(
        organ=said.organ,
        verdict=OrganVerdict(said.verdict),
        reason=said.reason,
        by=change.by,
        at=change.at,
    )


def require_registration(job: Job) -> None:
    """Return if there is a registration to be judged.

    Raises:
        JobStateError: The MR was not used, or there is none.
    """
    if job.registration is None or job.registration.verdict is not MrVerdict.USED:
        raise JobStateError(
            f"job {job.id} was contoured without an MR: there is no registration to "
            "judge"
        )


def judge_registration(
    review: ReviewDocument,
    said: RegistrationJudgement,
    principal: Principal,
    *,
    ct_only_job: str | None = None,
    remark: str = "",
) -> ReviewDocument:
    """Return the next version, in which the registration is accepted or rejected."""
    change = make_change(review, ChangeKind.REGISTRATION, principal)
    return review.with_registration(
        RegistrationReview(
            verdict=said.verdict,
            reason=said.reason,
            by=change.by,
            at=change.at,
            ct_only_job=ct_only_job,
            remark=remark,
        ),
        change,
    )


def require_signable(job: Job, review: ReviewDocument, asked: SignatureRequest) -> None:
    """Return if a review can be signed as it is.

    Raises:
        RefusedError: It is another version than was seen, or more is to be judged.
        JobStateError: Its registration was rejected: another job is to be signed.
    """
    if asked.version != review.version:
        raise RefusedError(
            CHANGED,
            f"the review has version {review.version} now, not {asked.version}; read "
            "it again before you sign",
        )
    if unjudged := list_unjudged(job, review):
        raise RefusedError(
            UNJUDGED,
            f"nothing was said yet of {', '.join(unjudged)}; accept, correct or reject "
            "each",
            members={"organs": list(unjudged)},
        )
    said = review.registration
    if said is not None and said.verdict is RegistrationVerdict.REJECTED:
        instead = said.ct_only_job
        remedy = f"review job {instead} instead" if instead else "send the CT alone"
        raise JobStateError(
            "the registration was rejected, and these contours were made with it; "
            f"{remedy}"
        )


def make_signature(asked: SignatureRequest, principal: Principal) -> ReviewSignature:
    """Return a signature under the name that the key says, or that is given.

    Raises:
        RefusedError: There is no name, or one besides the key's.
    """
    if principal.is_known and asked.name is not None:
        raise RefusedError(INVALID, "the key says who signs; leave out the name")
    if not principal.is_known and asked.name is None:
        raise RefusedError(INVALID, "say in name who signs: there is no key to tell")
    name = asked.name or principal.owner.removeprefix(OIDC_PREFIX)
    return ReviewSignature(name=name, by=principal.owner, at=datetime.now(UTC))


def save(tables: Tables, review: ReviewDocument) -> ReviewDocument:
    """Keep the next version of a review.

    Raises:
        RefusedError: Somebody else has changed it meanwhile.
        JobStateError: The job has no results any more.
    """
    try:
        return tables.reviews.save(review)
    except JobStateError as error:
        newest = tables.reviews.get(review.job)
        if newest.version < review.version:
            raise
        raise RefusedError(CHANGED, error.message) from error
