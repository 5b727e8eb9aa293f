"""The REST API as Python calls; every failure becomes one of the product's errors."""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from hanseg_shared.client.results_folder import replace_results, writing
from hanseg_shared.documents import JobDocument, JobOptions, Problem, ResultFile
from hanseg_shared.errors import (
    HansegError,
    InputError,
    JobError,
    JobNotFoundError,
    JobStateError,
    OptionError,
    ServiceUnavailableError,
    StoreError,
)

TIMEOUT = httpx.Timeout(10.0, read=120.0, write=120.0)
"""Reading waits longest: the service checks the images before it answers."""

PORTS = 65536
"""Ports are below it."""

LARGEST_PAGE = 200
"""Most jobs that the service lists at a time."""

_FILES = TypeAdapter(tuple[ResultFile, ...])

_ERRORS: dict[int, type[HansegError]] = {
    404: JobNotFoundError,
    409: JobStateError,
    410: JobStateError,
    413: InputError,
    415: InputError,
    422: InputError,
    400: InputError,
    429: ServiceUnavailableError,
    503: ServiceUnavailableError,
    507: ServiceUnavailableError,
}


class _JobPage(BaseModel):
    """What is needed of a page of jobs."""

    jobs: list[JobDocument]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is sent to have one case contoured."""

    ct: Path
    mr: Path | None = None
    options: JobOptions = field(default_factory=JobOptions)
    case: str | None = None


class Client:
    """A connection to one service.

    Args:
        url: The service's address, such as ``http://127.0.0.1:8000``; see `address`.
        transport: Replaces the network, in tests.
        lasting: Whether the service outlives this command: its jobs can be fetched
            later then.

    Raises:
        OptionError: `url` is no address.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        lasting: bool = True,
    ) -> None:
        self.url = address(url)
        self.lasting = lasting
        self._http = httpx.Client(
            base_url=self.url,
            timeout=TIMEOUT,
            transport=transport,
            trust_env=not is_this_machine(self.url),
        )

    def __enter__(self) -> Client:
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
        try:
            answer = self._http.get("/readyz", timeout=3.0)
            told = answer.json()
        except (httpx.HTTPError, ValueError):
            return False
        return (
            answer.is_success and isinstance(told, dict) and told.get("ready") is True
        )

    def require_service(self) -> None:
        """Return if the contouring service answers, whether or not it takes jobs now.

        Raises:
            ServiceUnavailableError: It does not.
        """
        try:
            told = self._http.get("/livez", timeout=3.0).json()
        except (httpx.HTTPError, ValueError):
            told = None
        if not isinstance(told, dict) or told.get("status") != "alive":
            raise ServiceUnavailableError(
                f"no contouring service answers at {self.url}; start one with `hanseg "
                "serve` (with --data for the jobs of that folder), or name another "
                "with --url"
            )

    def submit(
        self, request: JobRequest, *, idempotency_key: str | None = None
    ) -> JobDocument:
        """Send a case; with a key, sending it again makes no second job.

        Raises:
            InputError: The service refuses the images or the options.
            ServiceUnavailableError: It does not answer, or takes no job now.
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        body: dict[str, Any] = {"options": request.options.model_dump(mode="json")}
        if request.case is not None:
            body["case"] = request.case
        with contextlib.ExitStack() as opened:
            files = {"ct": (request.ct.name, opened.enter_context(_open(request.ct)))}
            if request.mr is not None:
                mr = opened.enter_context(_open(request.mr))
                files["mr"] = (request.mr.name, mr)
            answer = self._send(
                "POST",
                "/v1/jobs",
                data={"request": json.dumps(body)},
                files=files,
                headers=headers,
            )
        return _parse_answer(JobDocument, answer.content)

    def job(self, job_id: str, *, wait_seconds: int = 0) -> JobDocument:
        """Return a job, after at most `wait_seconds` if it is not finished."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        answer = self._send("GET", f"/v1/jobs/{job_id}", headers=headers)
        return _parse_answer(JobDocument, answer.content)

    def jobs(
        self, *, limit: int, filters: Mapping[str, str | list[str]] | None = None
    ) -> tuple[list[JobDocument], bool]:
        """Return the newest jobs, and whether there are more.

        Args:
            limit: How many at most.
            filters: Query parameters of ``GET /v1/jobs``, such as ``case``.
        """
        found: list[JobDocument] = []
        pages = {"limit": str(min(limit, LARGEST_PAGE)), **(filters or {})}
        answer = self._send("GET", "/v1/jobs", params=pages)
        while True:
            page = _parse_answer(_JobPage, answer.content)
            found += page.jobs
            if page.next is None or len(found) >= limit:
                return found[:limit], page.next is not None or len(found) > limit
            answer = self._send("GET", page.next)

    def follow(self, job_id: str) -> Iterator[JobDocument]:
        """Yield the job at each change, until it is finished."""
        with (
            _translate_errors(),
            self._http.stream(
                "GET",
                f"/v1/jobs/{job_id}/events",
                timeout=httpx.Timeout(10.0, read=60.0),
            ) as answer,
        ):
            if answer.is_error:
                answer.read()
                _raise(answer)
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield _parse_answer(JobDocument, line[len("data:") :])

    def cancel(self, job_id: str) -> JobDocument:
        """Cancel a job and return it; its worker may still have to hear of it.

        Raises:
            JobStateError: It has ended already.
        """
        answer = self._send("POST", f"/v1/jobs/{job_id}/cancel")
        return _parse_answer(JobDocument, answer.content)

    def retry(self, job_id: str) -> JobDocument:
        """Queue a failed or cancelled job again; returns the new job.

        Raises:
            JobStateError: It is neither, or its images are gone.
        """
        answer = self._send("POST", f"/v1/jobs/{job_id}/retry")
        return _parse_answer(JobDocument, answer.content)

    def delete(self, job_id: str) -> None:
        """Delete a job's files at once."""
        self._send("DELETE", f"/v1/jobs/{job_id}")

    def results(self, job_id: str) -> tuple[ResultFile, ...]:
        """Return the list of a finished job's files."""
        answer = self._send("GET", f"/v1/jobs/{job_id}/results")
        listed = [
            {k: v for k, v in file.items() if k in ResultFile.model_fields}
            for file in answer.json()["files"]
        ]
        return _FILES.validate_python(listed)

    def download(self, job_id: str, folder: Path) -> None:
        """Fetch all results into a folder, each checked against its hash.

        The folder appears, or an earlier run's results in it are replaced, only when
        all are there.

        Raises:
            ServiceUnavailableError: The service broke off, or the disk is full.
            StoreError: A file's bytes do not match its hash, or cannot be written.
        """
        with writing(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(
                prefix=f".{folder.name}-", dir=folder.parent
            ) as partial:
                for file in self.results(job_id):
                    self._download_file(job_id, file, _inside(Path(partial), file.name))
                _move_into(Path(partial), folder)

    def _download_file(self, job_id: str, file: ResultFile, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with (
            _translate_errors(),
            self._http.stream(
                "GET", f"/v1/jobs/{job_id}/results/{quote(file.name)}"
            ) as answer,
            target.open("wb") as sink,
        ):
            if answer.is_error:
                answer.read()
                _raise(answer)
            for chunk in answer.iter_bytes():
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != file.sha256:
            raise StoreError(f"{file.name} was damaged on its way; fetch it again")

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:  # noqa: ANN401 - httpx's own
        with _translate_errors():
            answer = self._http.request(method, path, **arguments)
        if answer.is_error:
            _raise(answer)
        return answer


def error_of(problem: Problem) -> HansegError:
    """Return a problem document as the error it stands for."""
    kind = _ERRORS.get(problem.status, JobError)
    return kind(problem.detail or problem.title)


def _raise(answer: httpx.Response) -> None:
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        raise ServiceUnavailableError(
            f"{answer.url} answered {answer.status_code} without a reason; "
            "is it the contouring service?"
        ) from None
    raise error_of(problem)


@contextlib.contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as error:
        raise ServiceUnavailableError(
            f"no service answers at {error.request.url.copy_with(path='/')}"
        ) from error
    except httpx.HTTPError as error:
        raise ServiceUnavailableError(
            f"the service broke off: {str(error) or type(error).__name__}"
        ) from error


def address(url: str) -> str:
    """Return a service's address with its scheme, which is http where none is given.

    Raises:
        OptionError: It is no address.
    """
    text = url.strip().rstrip("/")
    full = text if re.match(r"\w+:/", text) else f"http://{text}"
    try:
        parsed = httpx.URL(full)
    except httpx.InvalidURL as error:
        raise _no_address(url, str(error)) from error
    if parsed.scheme not in {"http", "https"}:
        raise _no_address(url, "it begins with neither http:// nor https://")
    if not parsed.host or parsed.query or parsed.fragment or " " in text:
        raise _no_address(url, "it names no host, or more than host and port")
    if parsed.port is not None and not 0 < parsed.port < PORTS:
        raise _no_address(url, f"there is no port {parsed.port}")
    return full


def _no_address(url: str, why: str) -> OptionError:
    return OptionError(
        f"{url!r} is no address of a service ({why}); write it as http://HOST:PORT"
    )


def is_this_machine(url: str) -> bool:
    """Whether an address is of this machine: no proxy is asked to reach that."""
    try:
        host = httpx.URL(url).host
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (httpx.InvalidURL, ValueError):
        return False


def _open(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error


_D = TypeVar("_D", bound=BaseModel)


def _parse_answer(kind: type[_D], told: bytes | str) -> _D:
    try:
        return kind.model_validate_json(told)
    except ValidationError as error:
        raise ServiceUnavailableError(
            "the service's answer is not understood; are service and command of the "
            "same version?"
        ) from error


def _inside(folder: Path, name: str) -> Path:
    """Return a path below a folder, whatever a service calls its files."""
    target = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise StoreError(f"the service names a result {name!r}, which is no file name")
    return target


def _move_into(source: Path, folder: Path) -> None:
    if folder.exists():
        replace_results(source, folder)
        return
    source.chmod(0o755)
    source.rename(folder)
    source.mkdir()  # for the temporary folder's own clean-up
