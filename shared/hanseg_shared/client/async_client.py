"""The REST API as coroutines: what `Client` has, for programs that run in a loop.

It works under asyncio and trio. Images are packed, and results checked and moved, in
another thread; other calls go on meanwhile.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Mapping,
)
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import anyio
import anyio.to_thread
import httpx

from hanseg_shared.client import calls, fetching, webhook_calls
from hanseg_shared.client.answers import raise_problem, translate_errors
from hanseg_shared.client.connection import EVENTS_TIMEOUT, Connection, open_parts
from hanseg_shared.client.following import Following
from hanseg_shared.client.request import JobRequest
from hanseg_shared.client.steps import (
    SOME_TRIES,
    Call,
    Fetch,
    Retry,
    Step,
    Steps,
    Work,
)
from hanseg_shared.dicom.template import Template
from hanseg_shared.documents import JobDocument, ListedFile, ResultFile
from hanseg_shared.errors import HansegError
from hanseg_shared.review.documents import Correction, ReviewDocument
from hanseg_shared.webhooks.documents import (
    DeliveryDocument,
    EventType,
    NewWebhookDocument,
    WebhookDocument,
)

if TYPE_CHECKING:
    from hanseg_shared.signing.sheet import SignedSheet

T = TypeVar("T")


class AsyncClient:
    """A connection to one service; every method does what that of `Client` does.

    Args:
        url: The service's address, such as ``http://127.0.0.1:8000``; see `address`.
        transport: Replaces the network, in tests.
        key: What opens the service; None sends none.
        retry: How often a call is tried; None tries once.
        pause: Waits for so many seconds.

    Raises:
        OptionError: `url` is no address.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        key: str | None = None,
        retry: Retry | None = SOME_TRIES,
        pause: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._to = Connection.to(url, key, retry)
        self.url = self._to.url
        self._pause = pause
        self._http = httpx.AsyncClient(transport=transport, **self._to.options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._http.aclose()

    async def is_ready(self) -> bool:
        """Whether the contouring service answers there and can take a job."""
        return await self._run(calls.look_whether_ready())

    async def require_service(self) -> None:
        """Return if the contouring service answers."""
        await self._run(calls.require_service(self.url))

    async def submit(
        self, request: JobRequest, *, idempotency_key: str | None = None
    ) -> JobDocument:
        """Send a case; with a key, sending it again makes no second job."""
        return await self._run(calls.submit(request, idempotency_key, self._to.retry))

    async def job(self, job_id: str, *, wait_seconds: int = 0) -> JobDocument:
        """Return a job, after at most `wait_seconds` if it is not finished."""
        return await self._run(calls.look_at_job(job_id, wait_seconds, self._to.retry))

    async def wait(
        self, job_id: str, *, timeout_seconds: float = math.inf
    ) -> JobDocument:
        """Return a job once it is finished, also if it has failed."""
        steps = calls.wait_for_job(
            job_id, timeout_seconds, time.monotonic, self._to.retry
        )
        return await self._run(steps)

    async def jobs(
        self, *, limit: int, filters: Mapping[str, str | list[str]] | None = None
    ) -> tuple[list[JobDocument], bool]:
        """Return the newest jobs, and whether there are more."""
        return await self._run(calls.list_jobs(limit, filters, self._to.retry))

    async def follow(self, job_id: str) -> AsyncIterator[JobDocument]:
        """Yield the job at each change, until it is finished."""
        following = Following(job_id, self._to.retry)
        while not following.is_over:
            try:
                async with self._stream(
                    following.path, following.headers, timeout=EVENTS_TIMEOUT
                ) as answer:
                    async for line in answer.aiter_lines():
                        if job := following.take(line):
                            yield job
                seconds = following.end(answer.status_code)
            except HansegError as error:
                seconds = following.fail(error)
            if not following.is_over:
                await self._pause(seconds)

    async def cancel(self, job_id: str) -> JobDocument:
        """Cancel a job and return it; its worker may still have to hear of it."""
        return await self._run(calls.cancel(job_id, self._to.retry))

    async def retry(self, job_id: str) -> JobDocument:
        """Queue a failed or cancelled job again; returns the new job."""
        return await self._run(calls.try_again(job_id, self._to.retry))

    async def delete(self, job_id: str) -> None:
        """Delete a job's files at once."""
        await self._run(calls.delete(job_id, self._to.retry))

    async def templates(self) -> list[dict[str, Any]]:
        """Return the templates that the service knows, each with its newest version."""
        return await self._run(calls.list_templates(self._to.retry))

    async def template(self, name: str) -> Template:
        """Return a template, ``name`` or ``name@version``."""
        return await self._run(calls.look_at_template(name, self._to.retry))

    async def save_template(self, template: Template) -> Template:
        """Save a template as a new version, and return it with its version."""
        return await self._run(calls.save_template(template, self._to.retry))

    async def create_webhook(
        self, url: str, events: Collection[EventType] = ()
    ) -> NewWebhookDocument:
        """Have what becomes of jobs told to an address; the secret comes this once."""
        return await self._run(webhook_calls.create(url, events, self._to.retry))

    async def webhooks(self) -> tuple[WebhookDocument, ...]:
        """Return the webhooks of the key's owner, the newest last."""
        return await self._run(webhook_calls.list_all(self._to.retry))

    async def webhook(self, webhook_id: str) -> WebhookDocument:
        """Return a webhook: how it stands, without its secret."""
        return await self._run(webhook_calls.look_at(webhook_id, self._to.retry))

    async def rotate_webhook(self, webhook_id: str) -> NewWebhookDocument:
        """Give a webhook a new secret; for a day messages are signed with both."""
        return await self._run(webhook_calls.rotate(webhook_id, self._to.retry))

    async def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook with its messages."""
        await self._run(webhook_calls.delete(webhook_id, self._to.retry))

    async def test_webhook(
        self, webhook_id: str, *, timeout_seconds: float = 30.0
    ) -> DeliveryDocument:
        """Send a test, and return what came of it; it still waits if time is over."""
        steps = webhook_calls.test(
            webhook_id, timeout_seconds, time.monotonic, self._to.retry
        )
        return await self._run(steps)

    async def webhook_deliveries(self, webhook_id: str) -> tuple[DeliveryDocument, ...]:
        """Return a webhook's newest messages and what became of them."""
        steps = webhook_calls.list_deliveries(webhook_id, self._to.retry)
        return await self._run(steps)

    async def signing_keys(self) -> list[str]:
        """Return the public keys that the service signs results with, in base64."""
        return await self._run(calls.list_signing_keys(self._to.retry))

    async def register_sheet(self, signed: SignedSheet) -> None:
        """Have the service keep the sheet of a commissioning; needs scope `admin`."""
        await self._run(calls.register_sheet(signed, self._to.retry))

    async def send_sheet_file(
        self, signed: SignedSheet, name: str, content: bytes
    ) -> None:
        """Have the service keep a file that a registered sheet names, as it is."""
        await self._run(calls.send_sheet_file(signed, name, content, self._to.retry))

    async def results(self, job_id: str) -> tuple[ListedFile, ...]:
        """Return the list of a finished job's files, those withheld among them."""
        return await self._run(fetching.list_results(job_id, self._to.retry))

    async def review(self, job_id: str) -> ReviewDocument:
        """Return what was said so far of a job's results."""
        return await self._run(calls.look_at_review(job_id, self._to.retry))

    async def send_correction(
        self, job_id: str, file: Path, *, organ: str | None = None
    ) -> ReviewDocument:
        """Send corrected contours, which the service compares with its own."""
        return await self._run(
            calls.send_correction(job_id, file, organ, self._to.retry)
        )

    async def corrections(
        self, *, limit: int, model: str | None = None
    ) -> tuple[Correction, ...]:
        """Return the newest corrections in numbers, the newest first."""
        return await self._run(calls.list_corrections(limit, model, self._to.retry))

    async def download(self, job_id: str, folder: Path) -> None:
        """Fetch all results into a folder, each checked against its hash."""
        await self._run(fetching.fetch_all(job_id, folder, self._to.retry))

    async def download_zip(self, job_id: str, target: Path) -> Path:
        """Fetch all results as one zip archive, which appears when it is whole."""
        return await self._run(fetching.fetch_archive(job_id, target, self._to.retry))

    async def download_file(self, job_id: str, file: ResultFile, folder: Path) -> Path:
        """Fetch one result into a folder, checked by its hash; returns its path."""
        return await self._run(
            fetching.fetch_file(job_id, file, folder, self._to.retry)
        )

    async def _run(self, steps: Steps[T]) -> T:
        """Take all steps of a call and return what it is for."""
        with contextlib.closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        result = await self._take(step)
                    except (HansegError, OSError) as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(result)
            except StopIteration as end:
                found: T = end.value
                return found

    async def _take(self, step: Step) -> object:
        if isinstance(step, Call):
            return await self._call(step)
        if isinstance(step, Work):
            return await anyio.to_thread.run_sync(step.do)
        if isinstance(step, Fetch):
            await self._fetch(step)
        else:
            await self._pause(step.seconds)
        return None

    async def _call(self, call: Call) -> httpx.Response:
        with contextlib.ExitStack() as held:
            files = await anyio.to_thread.run_sync(open_parts, call, held)
            arguments = self._to.arguments(call, files)
            with translate_errors():
                answer = await self._http.request(call.method, call.path, **arguments)
        if answer.is_error:
            raise_problem(answer)
        return answer

    async def _fetch(self, fetch: Fetch) -> None:
        async with self._stream(fetch.path, {}) as answer:
            fetch.sink.begin()
            async for chunk in answer.aiter_bytes():
                fetch.sink.write(chunk)

    @contextlib.asynccontextmanager
    async def _stream(
        self,
        path: str,
        headers: Mapping[str, str],
        **options: Any,  # noqa: ANN401 - httpx's own
    ) -> AsyncIterator[httpx.Response]:
        with translate_errors():
            async with self._http.stream(
                "GET",
                path,
                headers={**headers, **self._to.key},
                follow_redirects=True,
                **options,
            ) as answer:
                if answer.is_error:
                    await answer.aread()
                    raise_problem(answer)
                yield answer
