"""One case from files to results, through a service."""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable
from pathlib import Path

from hanseg_shared.client.answers import error_of
from hanseg_shared.client.client import Client
from hanseg_shared.client.console import Reporter
from hanseg_shared.client.request import JobRequest
from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.errors import (
    HansegError,
    JobCancelledError,
    JobError,
    ServiceUnavailableError,
)

POLL_SECONDS = 10
"""Longest wait for an answer when the stream of events broke off."""

LOST_TOUCH = 30
"""After this many failures in a row, a job is no longer followed."""

PAUSE_SECONDS = 2.0
"""How long a service that does not answer is given: it may be starting again."""


def segment_case(
    client: Client, request: JobRequest, out: Path, reporter: Reporter
) -> JobDocument:
    """Submit a case, follow it, and fetch its results into `out`.

    The job's id is shown first, so that a lost connection loses nothing. An
    interruption (Ctrl-C) cancels the job.

    Raises:
        InputError: The images or options are refused; nothing was written.
        JobError: The job failed, with its reason.
        ServiceUnavailableError: The connection is lost; the message says how the
            results are fetched later.
    """
    job = client.submit(request)
    reporter.say(f"job {job.id} at {client.url}")
    try:
        job = follow_to_end(client, job, reporter)
        require_success(job)
        client.download(job.id, out)
    except KeyboardInterrupt:
        with contextlib.suppress(HansegError):  # the interruption is reported
            client.cancel(job.id)
        raise
    except ServiceUnavailableError as error:
        raise _lost(client, job, out, error) from error
    return job


def _lost(
    client: Client, job: JobDocument, out: Path, error: ServiceUnavailableError
) -> ServiceUnavailableError:
    """Return an error with how to fetch the results of a job that goes on."""
    if not client.lasting:
        return error
    fetch = ["hanseg", "jobs", "fetch", job.id, "--url", client.url, "--out", str(out)]
    return ServiceUnavailableError(
        f"{error.message}; job {job.id} is not lost, fetch its results later with: "
        f"{shlex.join(fetch)}"
    )


def follow_to_end(
    client: Client,
    job: JobDocument,
    reporter: Reporter,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> JobDocument:
    """Show a job until it is finished; a broken connection is taken up again.

    Raises:
        ServiceUnavailableError: The service did not answer for about a minute.
    """
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
            if failures == 1:
                reporter.say("lost touch with the service, trying again …")
            pause(PAUSE_SECONDS)
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
