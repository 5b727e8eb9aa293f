"""Where the resources are: the one place that knows the paths of version 1.

The constants are the paths within the application; what the functions return is what
callers may ask for, below the path that a proxy publishes the service under.
"""

from __future__ import annotations

from urllib.parse import quote, urlencode

from hanseg_segmentation.api.http.prefix import published
from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.jobs.record import Job
from hanseg_shared.review.documents import (
    OrganReview,
    ReviewChange,
    ReviewDocument,
    ReviewVersions,
)

JOBS = "/v1/jobs"
WORKLIST = "/v1/worklist"
UPLOADS = "/v1/uploads"
BATCHES = "/v1/batches"
TEMPLATES = "/v1/templates"
WEBHOOKS = "/v1/webhooks"
SESSION = "/v1/session"
COMMISSIONING = "/v1/commissioning"
STUDIES = "/v1/dicom-web/studies"


def job_path(job_id: str) -> str:
    """Return where a job is."""
    return published(f"{JOBS}/{job_id}")


def result_path(job_id: str, name: str) -> str:
    """Return where a result file is."""
    return f"{job_path(job_id)}/results/{quote(name)}"


def zip_path(job_id: str) -> str:
    """Return where all results of a job are, as one archive."""
    return f"{job_path(job_id)}/results.zip"


def review_path(job_id: str) -> str:
    """Return where a job's review is."""
    return f"{job_path(job_id)}/review"


def review_version_path(job_id: str, version: int) -> str:
    """Return where a version of a job's review is."""
    return f"{review_path(job_id)}/versions/{version}"


def review_mask_path(job_id: str, version: int, organ: str) -> str:
    """Return where the corrected mask is that an organ has in a version."""
    return f"{review_version_path(job_id, version)}/masks/{organ}"


def upload_path(upload_id: str) -> str:
    """Return where an announced file is."""
    return published(f"{UPLOADS}/{upload_id}")


def template_path(name: str) -> str:
    """Return where a template is."""
    return published(f"{TEMPLATES}/{name}")


def template_version_path(name: str, version: int) -> str:
    """Return where a version of a template is."""
    return f"{template_path(name)}/versions/{version}"


def batch_path(batch_id: str) -> str:
    """Return where a batch is."""
    return published(f"{BATCHES}/{batch_id}")


def batch_jobs_path(batch_id: str) -> str:
    """Return where a batch's jobs are listed."""
    return published(f"{JOBS}?{urlencode({'batch': batch_id})}")


def webhook_path(webhook_id: str) -> str:
    """Return where a webhook is."""
    return published(f"{WEBHOOKS}/{webhook_id}")


def commissioning_file_path(sheet: str, name: str) -> str:
    """Return where a file beside a commissioning's sheet is."""
    return published(f"{COMMISSIONING}/{sheet}/files/{quote(name)}")


def session_path() -> str:
    """Return where the session is of who asks."""
    return published(SESSION)


def job_document(job: Job) -> JobDocument:
    """Return a job as callers see it, with links to what can be asked of it now."""
    document = job.document(links=_links(job))
    if document.error is None or document.error.instance is None:
        return document
    instance = published(document.error.instance)
    error = document.error.model_copy(update={"instance": instance})
    return document.model_copy(update={"error": error})


def _links(job: Job) -> dict[str, str]:
    path = job_path(job.id)
    links = {"self": path, "events": f"{path}/events"}
    if job.state is JobState.SUCCEEDED:
        links["results"] = f"{path}/results"
        links["zip"] = zip_path(job.id)
        links["review"] = f"{path}/review"
    if not job.state.is_final:
        links["cancel"] = f"{path}/cancel"
    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        links["retry"] = f"{path}/retry"
    if job.follows is not None:
        links["follows"] = job_path(job.follows)
    if job.batch_id is not None:
        links["batch"] = batch_path(job.batch_id)
    return links


def review_document(
    review: ReviewDocument, unjudged: tuple[str, ...]
) -> ReviewDocument:
    """Return a review as callers see it, with links."""
    path = review_path(review.job)
    links = {"self": path, "versions": f"{path}/versions", "job": job_path(review.job)}
    ct_only = review.registration and review.registration.ct_only_job
    if ct_only:
        links["ct_only_job"] = job_path(ct_only)
    return review.model_copy(
        update={
            "organs": tuple(_with_mask_link(review, each) for each in review.organs),
            "unjudged": unjudged,
            "change": review.change and _with_link(review.job, review.change),
            "links": links,
        }
    )


def review_versions(job_id: str, changes: list[ReviewChange]) -> ReviewVersions:
    """Return what made each version of a review, with links."""
    linked = tuple(_with_link(job_id, each) for each in changes)
    return ReviewVersions(job=job_id, versions=linked)


def _with_link(job_id: str, change: ReviewChange) -> ReviewChange:
    href = review_version_path(job_id, change.version)
    return change.model_copy(update={"href": href})


def _with_mask_link(review: ReviewDocument, said: OrganReview) -> OrganReview:
    if said.mask is None:
        return said
    href = review_mask_path(review.job, review.version, said.organ)
    return said.model_copy(update={"mask": said.mask.model_copy(update={"href": href})})
