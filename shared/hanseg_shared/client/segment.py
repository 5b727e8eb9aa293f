"""One case from files to results, through a service."""

from __future__ import annotations

from pathlib import Path

from hanseg_shared.client.client import Client, JobRequest, error_of
from hanseg_shared.client.console import Reporter
from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.errors import JobCancelledError, JobError, ServiceUnavailableError

POLL_SECONDS = 10
"""Longest wait for an answer when the stream of events broke off."""

LOST_TOUCH = 5
"""So many failures in a row end the attempt to follow a job."""


def segment_case(
    client: Client, request: JobRequest, out: Path, reporter: Reporter
) -> JobDocument:
    """Submit a case, follow it, and fetch its results into `out`.

    An interruption (Ctrl-C) cancels the job.

    Raises:
        InputError: The images or options are refused; nothing was written.
        JobError: The job failed, with its reason.
    """
    job = client.submit(request)
    try:
        job = follow_to_end(client, job, reporter)
    except KeyboardInterrupt:
        client.cancel(job.id)
        raise
    require_success(job)
    client.download(job.id, out)
    return job


def follow_to_end(client: Client, job: JobDocument, reporter: Reporter) -> JobDocument:
    """Show a job until it is finished; a broken connection is taken up again."""
    failures = 0
    while not job.state.is_final:
        try:
            for newest in client.follow(job.id):
                reporter.show(newest)
                job, failures = newest, 0
            if not job.state.is_final:
                job = client.job(job.id, wait_seconds=POLL_SECONDS)
        except ServiceUnavailableError:
            failures += 1
            if failures >= LOST_TOUCH:
                raise
            reporter.say("lost touch with the service, trying again …")
    reporter.show(job)
    return job


def require_success(job: JobDocument) -> None:
    """Raise the reason why a finished job has no results, if it has none."""
    if job.state is JobState.SUCCEEDED:
        return
    if job.state is JobState.CANCELLED:
        raise JobCancelledError(f"job {job.id} was cancelled")
    if job.error is not None:
        reason = error_of(job.error)
        raise JobError(f"job {job.id} {job.state}: {reason.message}")
    raise JobError(f"job {job.id} {job.state}")
