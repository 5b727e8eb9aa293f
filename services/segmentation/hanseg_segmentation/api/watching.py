"""Waiting for a job to change, without holding up the other requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import anyio
from anyio.to_thread import run_sync

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.links import job_document
from hanseg_shared.errors import JobNotFoundError, ServiceUnavailableError
from hanseg_shared.jobs.record import Job

RECONNECT_MS = 2000
"""When a client whose stream broke should connect again."""


async def wait_until_final(context: Context, job_id: str, *, seconds: float) -> Job:
    """Return a job once it is final, or as it stands when the time is over.

    Raises:
        JobNotFoundError: There is none of that id.
    """
    deadline = time.monotonic() + seconds
    job = await run_sync(context.services.tables.jobs.get, job_id)
    while not job.state.is_final and not context.stopping.is_set():
        left = deadline - time.monotonic()
        if left <= 0:
            break
        await anyio.sleep(min(context.pace.poll, left))
        job = await _read_newer(context, job)
    return job


async def job_events(
    context: Context, job_id: str, *, seen: int | None
) -> AsyncIterator[bytes]:
    """Yield a job as server-sent events: one a version, until the final state.

    Args:
        context: What the application works with.
        job_id: Which job.
        seen: The version that the client knows already.
    """
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    tables = context.services.tables
    quiet_since = time.monotonic()
    while not context.stopping.is_set():
        try:
            version = await run_sync(tables.jobs.version, job_id)
            if version != seen:
                job = await run_sync(tables.jobs.get, job_id)
                seen, quiet_since = job.version, time.monotonic()
                yield _event(job)
                if job.state.is_final:
                    return
        except (JobNotFoundError, ServiceUnavailableError):
            return  # the client connects again, and that answer says what is wrong
        if time.monotonic() - quiet_since >= context.pace.keep_alive:
            quiet_since = time.monotonic()
            yield b": keep-alive\n\n"
        await anyio.sleep(context.pace.poll)


async def _read_newer(context: Context, job: Job) -> Job:
    tables = context.services.tables
    version = await run_sync(tables.jobs.version, job.id)
    return job if version == job.version else await run_sync(tables.jobs.get, job.id)


def _event(job: Job) -> bytes:
    document = job_document(job).model_dump_json()
    return f"id: {job.version}\nevent: job\ndata: {document}\n\n".encode()
