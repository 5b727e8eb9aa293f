"""Where the resources are: the one place that knows the paths of version 1."""

from __future__ import annotations

from urllib.parse import quote, urlencode

from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.jobs.record import Job

JOBS = "/v1/jobs"
UPLOADS = "/v1/uploads"
BATCHES = "/v1/batches"


def job_path(job_id: str) -> str:
    """Return where a job is."""
    return f"{JOBS}/{job_id}"


def result_path(job_id: str, name: str) -> str:
    """Return where a result file is."""
    return f"{JOBS}/{job_id}/results/{quote(name)}"


def upload_path(upload_id: str) -> str:
    """Return where an announced file is."""
    return f"{UPLOADS}/{upload_id}"


def batch_path(batch_id: str) -> str:
    """Return where a batch is."""
    return f"{BATCHES}/{batch_id}"


def batch_jobs_path(batch_id: str) -> str:
    """Return where a batch's jobs are listed."""
    return f"{JOBS}?{urlencode({'batch': batch_id})}"


def job_document(job: Job) -> JobDocument:
    """Return a job as callers see it, with links to what can be asked of it now."""
    return job.document(links=_links(job))


def _links(job: Job) -> dict[str, str]:
    path = job_path(job.id)
    links = {"self": path, "events": f"{path}/events"}
    if job.state is JobState.SUCCEEDED:
        links["results"] = f"{path}/results"
    if not job.state.is_final:
        links["cancel"] = f"{path}/cancel"
    if job.state in {JobState.FAILED, JobState.CANCELLED}:
        links["retry"] = f"{path}/retry"
    if job.batch_id is not None:
        links["batch"] = batch_path(job.batch_id)
    return links
