"""Waiting for a job to change, without holding up the other requests."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import anyio
from anyio.to_thread import run_sync
from fastapi import Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.links import job_document
from hanseg_segmentation.api.http.problem_responses import TOO_MANY, problem_response
from hanseg_segmentation.api.places import STREAM_RETRY_SECONDS, Shares
from hanseg_shared.errors import JobNotFoundError, ServiceUnavailableError
from hanseg_shared.jobs.record import Job

RECONNECT_MS = 2000
"""When a client whose stream broke should connect again."""

News = tuple[Sequence[bytes], bool]
"""Events, and whether they are the last."""


class EventStream(StreamingResponse):
    """Server-sent events, which take a place for as long as they are sent.

    Args:
        events: What is sent.
        places: Where there must be room.
        caller: Whose share it is of.

    Where there is no room it is answered with 429 instead.
    """

    def __init__(
        self, events: AsyncIterator[bytes], places: Shares, caller: str
    ) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
        self._places, self._caller = places, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, or that there is no room for them."""
        if not self._places.take(self._caller):
            await _refuse_stream(scope["path"])(scope, receive, send)
            return
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._places.give_back(self._caller)


def _refuse_stream(path: str) -> Response:
    problem = TOO_MANY.problem(
        "you follow as many jobs as one caller may, or all callers do; end a stream, "
        "or ask for the job itself",
        instance=path,
    )
    return problem_response(problem, {"Retry-After": str(STREAM_RETRY_SECONDS)})


async def wait_until_final(context: Context, job: Job, *, seconds: float) -> Job:
    """Return a job once it is final, or as it stands when the time is over.

    Raises:
        JobNotFoundError: It is none any more.
    """
    deadline = time.monotonic() + seconds
    async with context.versions.followed(job.id):
        while not job.state.is_final and not context.stopping.is_set():
            left = deadline - time.monotonic()
            if left <= 0:
                break
            await anyio.sleep(min(context.pace.poll, left))
            job = await _read_newer(context, job)
    return job


async def job_events(
    context: Context,
    job_id: str,
    *,
    seen: int | None,
    may_go_on: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """Yield a job as server-sent events: one a version, until the final state.

    Args:
        context: What the application works with.
        job_id: Which job.
        seen: The version that the client knows already.
        may_go_on: Whether the client may still be told anything; it is asked before
            each event and each comment.
    """
    jobs = context.services.tables.jobs

    async def look() -> News:
        nonlocal seen
        if await context.versions.of(job_id) == seen:
            return (), False
        if not await may_go_on():
            return (), True
        job = await run_sync(jobs.get, job_id)
        if job.version == seen:  # it was newer than the last look
            return (), False
        seen = job.version
        return (_event(job),), job.state.is_final

    yield f"retry: {RECONNECT_MS}\n\n".encode()
    async with context.versions.followed(job_id):
        async for event in follow(context, look, may_go_on=may_go_on):
            yield event


async def follow(
    context: Context,
    look: Callable[[], Awaitable[News]],
    *,
    may_go_on: Callable[[], Awaitable[bool]],
) -> AsyncIterator[bytes]:
    """Yield events as they come, and comments while there are none.

    It ends with the last event, with the service, and when the job or the database is
    gone: the client connects again, and that answer says what is wrong.

    Args:
        context: What the application works with.
        look: Returns what is new, and whether that is the last; asked again and again.
        may_go_on: Whether the client may still be told anything; it is asked before
            each comment.
    """
    quiet_since = time.monotonic()
    while not context.stopping.is_set():
        try:
            events, is_over = await look()
        except (JobNotFoundError, ServiceUnavailableError):
            return
        for event in events:
            quiet_since = time.monotonic()
            yield event
        if is_over:
            return
        if time.monotonic() - quiet_since >= context.pace.keep_alive:
            quiet_since = time.monotonic()
            if not await may_go_on():
                return
            yield b": keep-alive\n\n"
        await anyio.sleep(context.pace.poll)


async def _read_newer(context: Context, job: Job) -> Job:
    if await context.versions.of(job.id) == job.version:
        return job
    return await run_sync(context.services.tables.jobs.get, job.id)


def _event(job: Job) -> bytes:
    document = job_document(job).model_dump_json()
    return f"id: {job.version}\nevent: job\ndata: {document}\n\n".encode()
