"""The REST API as Python calls; every failure becomes one of the product's errors."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

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


class Client:
    """A connection to one service.

    Any call may raise `ServiceUnavailableError`: nobody answers, the key opens nothing
    (`KeyRefusedError`), or the service takes it later (`BusyError`) and all tries are
    used up. A job, file or template that is not there is a `JobNotFoundError`.

    Args:
        url: The service's address, such as ``http://127.0.0.1:8000``; see `address`.
        transport: Replaces the network, in tests.
        lasting: Whether the service outlives this command: its jobs can be fetched
            later then.
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
        transport: httpx.BaseTransport | None = None,
        lasting: bool = True,
        key: str | None = None,
        retry: Retry | None = SOME_TRIES,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._to = Connection.to(url, key, retry)
        self.url = self._to.url
        self.lasting = lasting
        self._pause = pause
        self._http = httpx.Client(transport=transport, **self._to.options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def is_ready(self) -> bool:
        """Whether the contouring service answers there and can take a job.

        Any other program that listens there is not ready: it gets no patient's images.
        """
        return self._run(calls.look_whether_ready())

    def require_service(self) -> None:
        """Return if the contouring service answers, whether or not it takes jobs now.

        Raises:
            ServiceUnavailableError: It does not.
        """
        self._run(calls.require_service(self.url))

    def submit(
        self, request: JobRequest, *, idempotency_key: str | None = None
    ) -> JobDocument:
        """Send a case; with a key, sending it again makes no second job.

        A key of your own makes it safe to send the case again after your program has
        ended; where this call is tried again by itself, it has one anyway.

        Raises:
            InputError: The service refuses the images or the options.
            ServiceUnavailableError: It does not answer, or takes no job now.
        """
        return self._run(calls.submit(request, idempotency_key, self._to.retry))

    def job(self, job_id: str, *, wait_seconds: int = 0) -> JobDocument:
        """Return a job, after at most `wait_seconds` if it is not finished."""
        return self._run(calls.look_at_job(job_id, wait_seconds, self._to.retry))

    def wait(self, job_id: str, *, timeout_seconds: float = math.inf) -> JobDocument:
        """Return a job once it is finished, also if it has failed.

        Raises:
            TimeoutError: It was not in time; the job goes on.
        """
        steps = calls.wait_for_job(
            job_id, timeout_seconds, time.monotonic, self._to.retry
        )
        return self._run(steps)

    def jobs(
        self, *, limit: int, filters: Mapping[str, str | list[str]] | None = None
    ) -> tuple[list[JobDocument], bool]:
        """Return the newest jobs, and whether there are more.

        Args:
            limit: How many at most.
            filters: Query parameters of ``GET /v1/jobs``, such as ``case``.
        """
        return self._run(calls.list_jobs(limit, filters, self._to.retry))

    def follow(self, job_id: str) -> Iterator[JobDocument]:
        """Yield the job at each change, until it is finished.

        A stream that breaks off is taken up again where it was.
        """
        following = Following(job_id, self._to.retry)
        while not following.is_over:
            try:
                with self._stream(
                    following.path, following.headers, timeout=EVENTS_TIMEOUT
                ) as answer:
                    for line in answer.iter_lines():
                        if job := following.take(line):
                            yield job
                seconds = following.end(answer.status_code)
            except HansegError as error:
                seconds = following.fail(error)
            if not following.is_over:
                self._pause(seconds)

    def cancel(self, job_id: str) -> JobDocument:
        """Cancel a job and return it; its worker may still have to hear of it.

        Raises:
            JobStateError: It has ended already.
        """
        return self._run(calls.cancel(job_id, self._to.retry))

    def retry(self, job_id: str) -> JobDocument:
        """Queue a failed or cancelled job again; returns the new job.

        Raises:
            JobStateError: It is neither, or its images are gone.
        """
        return self._run(calls.try_again(job_id, self._to.retry))

    def delete(self, job_id: str) -> None:
        """Delete a job's files at once."""
        self._run(calls.delete(job_id, self._to.retry))

    def templates(self) -> list[dict[str, Any]]:
        """Return the templates that the service knows, each with its newest version."""
        return self._run(calls.list_templates(self._to.retry))

    def template(self, name: str) -> Template:
        """Return a template, ``name`` or ``name@version``.

        Raises:
            JobNotFoundError: There is none.
        """
        return self._run(calls.look_at_template(name, self._to.retry))

    def save_template(self, template: Template) -> Template:
        """Save a template as a new version, and return it with its version.

        Raises:
            InputError: It cannot be used.
            JobStateError: It ships with the service and cannot be changed.
        """
        return self._run(calls.save_template(template, self._to.retry))

    def create_webhook(
        self, url: str, events: Collection[EventType] = ()
    ) -> NewWebhookDocument:
        """Have what becomes of jobs told to an address; the secret comes this once.

        Args:
            url: Where messages go.
            events: What is told; everything, if none is named.

        Raises:
            InputError: Nothing may be sent there.
            JobStateError: One caller may have no more webhooks.
        """
        return self._run(webhook_calls.create(url, events, self._to.retry))

    def webhooks(self) -> tuple[WebhookDocument, ...]:
        """Return the webhooks of the key's owner, the newest last."""
        return self._run(webhook_calls.list_all(self._to.retry))

    def webhook(self, webhook_id: str) -> WebhookDocument:
        """Return a webhook: how it stands, without its secret."""
        return self._run(webhook_calls.look_at(webhook_id, self._to.retry))

    def rotate_webhook(self, webhook_id: str) -> NewWebhookDocument:
        """Give a webhook a new secret; for a day messages are signed with both."""
        return self._run(webhook_calls.rotate(webhook_id, self._to.retry))

    def delete_webhook(self, webhook_id: str) -> None:
        """Delete a webhook with its messages."""
        self._run(webhook_calls.delete(webhook_id, self._to.retry))

    def test_webhook(
        self, webhook_id: str, *, timeout_seconds: float = 30.0
    ) -> DeliveryDocument:
        """Send a test, and return what came of it; it still waits if time is over."""
        steps = webhook_calls.test(
            webhook_id, timeout_seconds, time.monotonic, self._to.retry
        )
        return self._run(steps)

    def webhook_deliveries(self, webhook_id: str) -> tuple[DeliveryDocument, ...]:
        """Return a webhook's newest messages and what became of them."""
        return self._run(webhook_calls.list_deliveries(webhook_id, self._to.retry))

    def signing_keys(self) -> list[str]:
        """Return the public keys that the service signs results with, in base64."""
        return self._run(calls.list_signing_keys(self._to.retry))

    def register_sheet(self, signed: SignedSheet) -> None:
        """Have the service keep the sheet of a commissioning; needs scope `admin`."""
        self._run(calls.register_sheet(signed, self._to.retry))

    def send_sheet_file(self, signed: SignedSheet, name: str, content: bytes) -> None:
        """Have the service keep a file that a registered sheet names, as it was signed.

        Args:
            signed: The sheet.
            name: What the sheet calls the file.
            content: The whole file.
        """
        self._run(calls.send_sheet_file(signed, name, content, self._to.retry))

    def results(self, job_id: str) -> tuple[ListedFile, ...]:
        """Return the list of a finished job's files, those withheld among them."""
        return self._run(fetching.list_results(job_id, self._to.retry))

    def review(self, job_id: str) -> ReviewDocument:
        """Return what was said so far of a job's results."""
        return self._run(calls.look_at_review(job_id, self._to.retry))

    def send_correction(
        self, job_id: str, file: Path, *, organ: str | None = None
    ) -> ReviewDocument:
        """Send corrected contours, which the service compares with its own.

        Args:
            job_id: Whose contours were corrected.
            file: An RTSTRUCT, a DICOM segmentation or a label map.
            organ: Whose the one mask of the file is; None of contours that have names.

        Raises:
            InputError: The file cannot be read, or the service refuses it.
            JobStateError: The results are gone, or their review is signed.
        """
        return self._run(calls.send_correction(job_id, file, organ, self._to.retry))

    def corrections(
        self, *, limit: int, model: str | None = None
    ) -> tuple[Correction, ...]:
        """Return the newest corrections in numbers, the newest first.

        Args:
            limit: How many at most.
            model: Of which model alone, as name and version.
        """
        return self._run(calls.list_corrections(limit, model, self._to.retry))

    def download(self, job_id: str, folder: Path) -> None:
        """Fetch all results into a folder, each checked against its hash.

        What is withheld, or handed on of a signed review, is left out. The folder
        appears, or an earlier run's results in it are replaced, only when all are
        there.

        Raises:
            ServiceUnavailableError: The service broke off, or the disk is full.
            StoreError: A file's bytes do not match its hash, or cannot be written.
        """
        self._run(fetching.fetch_all(job_id, folder, self._to.retry))

    def download_zip(self, job_id: str, target: Path) -> Path:
        """Fetch all results as one zip archive, which appears when it is whole.

        Each file in it is compared with its hash. What a signed review hands on is
        among them, in ``reviewed/``.

        Returns:
            `target`, which is replaced if it exists.

        Raises:
            ServiceUnavailableError: The service broke off, or the disk is full.
            StoreError: The archive is damaged, or cannot be written.
        """
        return self._run(fetching.fetch_archive(job_id, target, self._to.retry))

    def download_file(self, job_id: str, file: ResultFile, folder: Path) -> Path:
        """Fetch one result into a folder, checked against its hash; returns its path.

        The file appears, or replaces an earlier one, only when it is whole.

        Raises:
            ServiceUnavailableError: The service broke off, or the disk is full.
            StoreError: The bytes do not match the hash, or cannot be written.
        """
        return self._run(fetching.fetch_file(job_id, file, folder, self._to.retry))

    def _run(self, steps: Steps[T]) -> T:
        """Take all steps of a call and return what it is for."""
        with contextlib.closing(steps):
            try:
                step = next(steps)
                while True:
                    try:
                        result = self._take(step)
                    except (HansegError, OSError) as error:
                        step = steps.throw(error)
                    else:
                        step = steps.send(result)
            except StopIteration as end:
                found: T = end.value
                return found

    def _take(self, step: Step) -> object:
        if isinstance(step, Call):
            return self._call(step)
        if isinstance(step, Work):
            return step.do()
        if isinstance(step, Fetch):
            self._fetch(step)
        else:
            self._pause(step.seconds)
        return None

    def _call(self, call: Call) -> httpx.Response:
        with contextlib.ExitStack() as held:
            files = open_parts(call, held)
            arguments = self._to.arguments(call, files)
            with translate_errors():
                answer = self._http.request(call.method, call.path, **arguments)
        if answer.is_error:
            raise_problem(answer)
        return answer

    def _fetch(self, fetch: Fetch) -> None:
        with self._stream(fetch.path, {}) as answer:
            fetch.sink.begin()
            for chunk in answer.iter_bytes():
                fetch.sink.write(chunk)

    @contextlib.contextmanager
    def _stream(
        self,
        path: str,
        headers: Mapping[str, str],
        **options: Any,  # noqa: ANN401 - httpx's own
    ) -> Iterator[httpx.Response]:
        with (
            translate_errors(),
            self._http.stream(
                "GET",
                path,
                headers={**headers, **self._to.key},
                follow_redirects=True,
                **options,
            ) as answer,
        ):
            if answer.is_error:
                answer.read()
                raise_problem(answer)
            yield answer
