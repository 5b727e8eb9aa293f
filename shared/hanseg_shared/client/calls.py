"""Every call of the REST API as steps: what is sent, and what the answer means."""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from hanseg_shared.client.answers import parse_answer
from hanseg_shared.client.request import JobRequest
from hanseg_shared.client.steps import Call, Pause, Retry, Steps, Work, take
from hanseg_shared.dicom.template import Template
from hanseg_shared.documents import JobDocument
from hanseg_shared.errors import HansegError, InputError, ServiceUnavailableError
from hanseg_shared.review.documents import (
    Correction,
    CorrectionList,
    ReviewDocument,
)

if TYPE_CHECKING:
    from hanseg_shared.signing.sheet import SignedSheet

LARGEST_PAGE = 200
"""Most jobs that the service lists at a time."""

LONG_POLL_SECONDS = 30
"""How long the service may wait with its answer until a job is finished."""

POLL_PAUSE_SECONDS = 1.0
"""Between two looks at a job, where the service answered at once."""

_QUICK = httpx.Timeout(3.0)
"""Whoever is there answers so soon that it is."""

_D = TypeVar("_D", bound=BaseModel)


class _JobPage(BaseModel):
    """What is needed of a page of jobs."""

    jobs: list[JobDocument]
    next: str | None = None


def ask(kind: type[_D], call: Call, retry: Retry) -> Steps[_D]:
    """Send a request and return the document that is answered."""
    answer = yield from take(call, retry)
    return parse_answer(kind, answer.content)


def look_whether_ready() -> Steps[bool]:
    """Return whether the contouring service answers and can take a job."""
    told = yield from _look("/readyz")
    return told.get("ready") is True


def require_service(url: str) -> Steps[None]:
    """Return if the contouring service answers.

    Raises:
        ServiceUnavailableError: It does not.
    """
    told = yield from _look("/livez")
    if told.get("status") != "alive":
        raise ServiceUnavailableError(
            f"no contouring service answers at {url}; start one with `hanseg "
            "serve` (with --data for the jobs of that folder), or name another "
            "with --url"
        )


def _look(path: str) -> Steps[dict[str, Any]]:
    """Return what is said at a path without a key; nothing where that fails."""
    try:
        answer = yield Call("GET", path, is_for_strangers=True, timeout=_QUICK)
        told = answer.json()
    except (HansegError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}


def submit(request: JobRequest, key: str | None, retry: Retry) -> Steps[JobDocument]:
    """Send a case; where it may be sent twice, under a key."""
    if key is None and retry.tries > 1:
        key = uuid.uuid4().hex
    call = Call(
        "POST",
        "/v1/jobs",
        form={"request": json.dumps(request.body)},
        parts=request.parts,
        headers={"Idempotency-Key": key} if key else {},
        is_repeatable=key is not None,
    )
    return (yield from ask(JobDocument, call, retry))


def look_at_job(job_id: str, wait_seconds: int, retry: Retry) -> Steps[JobDocument]:
    """Return a job, after at most `wait_seconds` if it is not finished."""
    headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
    call = Call("GET", f"/v1/jobs/{job_id}", headers=headers)
    return (yield from ask(JobDocument, call, retry))


def wait_for_job(
    job_id: str, timeout_seconds: float, clock: Callable[[], float], retry: Retry
) -> Steps[JobDocument]:
    """Return a job once it is finished.

    Raises:
        TimeoutError: It was not in time.
    """
    until = clock() + timeout_seconds
    while True:
        left = max(until - clock(), 0.0)
        asked = math.ceil(min(left, LONG_POLL_SECONDS))
        asked_at = clock()
        job = yield from look_at_job(job_id, asked, retry)
        if job.state.is_final:
            return job
        if clock() >= until:
            raise TimeoutError(
                f"job {job_id} is {job.state} after {timeout_seconds:g} s; it goes on"
            )
        if clock() - asked_at < POLL_PAUSE_SECONDS:
            yield Pause(POLL_PAUSE_SECONDS)


def list_jobs(
    limit: int, filters: Mapping[str, str | list[str]] | None, retry: Retry
) -> Steps[tuple[list[JobDocument], bool]]:
    """Return the newest jobs, and whether there are more."""
    found: list[JobDocument] = []
    params = {"limit": str(min(limit, LARGEST_PAGE)), **(filters or {})}
    call = Call("GET", "/v1/jobs", params=params)
    while True:
        answer = yield from take(call, retry)
        page = parse_answer(_JobPage, answer.content)
        found += page.jobs
        if page.next is None or len(found) >= limit:
            return found[:limit], page.next is not None or len(found) > limit
        call = Call("GET", str(answer.url.join(page.next)))


def cancel(job_id: str, retry: Retry) -> Steps[JobDocument]:
    """Cancel a job and return it."""
    call = Call(
        "POST",
        f"/v1/jobs/{job_id}/cancel",
        is_repeatable=False,  # a job that was cancelled cannot be: 409
    )
    return (yield from ask(JobDocument, call, retry))


def try_again(job_id: str, retry: Retry) -> Steps[JobDocument]:
    """Queue a failed or cancelled job again; however often, one new job is made."""
    call = Call("POST", f"/v1/jobs/{job_id}/retry")
    return (yield from ask(JobDocument, call, retry))


def delete(job_id: str, retry: Retry) -> Steps[None]:
    """Delete a job's files."""
    yield from take(Call("DELETE", f"/v1/jobs/{job_id}"), retry)


def list_templates(retry: Retry) -> Steps[list[dict[str, Any]]]:
    """Return the templates that the service knows."""
    answer = yield from take(Call("GET", "/v1/templates"), retry)
    return list(answer.json()["templates"])


def look_at_template(name: str, retry: Retry) -> Steps[Template]:
    """Return a template, ``name`` or ``name@version``."""
    name, _, version = name.partition("@")
    path = f"/v1/templates/{quote(name, safe='')}"
    if version:
        path += f"/versions/{quote(version, safe='')}"
    return (yield from ask(Template, Call("GET", path), retry))


def save_template(template: Template, retry: Retry) -> Steps[Template]:
    """Save a template as a new version."""
    call = Call(
        "PUT",
        f"/v1/templates/{quote(template.name, safe='')}",
        json=template.model_dump(mode="json"),
        is_repeatable=False,  # each makes a version
    )
    return (yield from ask(Template, call, retry))


def list_signing_keys(retry: Retry) -> Steps[list[str]]:
    """Return the public keys that the service signs results with, in base64."""
    answer = yield from take(Call("GET", "/v1/signing-keys"), retry)
    return [str(each["key"]) for each in answer.json()["keys"]]


def register_sheet(signed: SignedSheet, retry: Retry) -> Steps[None]:
    """Have the service keep the sheet of a commissioning."""
    body = signed.model_dump(mode="json")
    yield from take(Call("POST", "/v1/commissioning", json=body), retry)


def send_sheet_file(
    signed: SignedSheet, name: str, content: bytes, retry: Retry
) -> Steps[None]:
    """Have the service keep a file that a registered sheet names."""
    sheet = hashlib.sha256(signed.sheet.canonical()).hexdigest()
    path = f"/v1/commissioning/{sheet}/files/{quote(name, safe='')}"
    yield from take(Call("PUT", path, content=content), retry)


def look_at_review(job_id: str, retry: Retry) -> Steps[ReviewDocument]:
    """Return what was said so far of a job's results."""
    call = Call("GET", f"/v1/jobs/{job_id}/review")
    return (yield from ask(ReviewDocument, call, retry))


def send_correction(
    job_id: str, file: Path, organ: str | None, retry: Retry
) -> Steps[ReviewDocument]:
    """Send corrected contours."""
    content = yield Work(partial(_read, file))
    call = Call(
        "POST",
        f"/v1/jobs/{job_id}/review/corrections",
        params={} if organ is None else {"organ": organ},
        content=content,
        headers={"Content-Type": "application/octet-stream"},
        is_repeatable=False,  # each makes a version
    )
    return (yield from ask(ReviewDocument, call, retry))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def list_corrections(
    limit: int, model: str | None, retry: Retry
) -> Steps[tuple[Correction, ...]]:
    """Return the newest corrections in numbers."""
    params = {"limit": str(limit)} | ({} if model is None else {"model": model})
    call = Call("GET", "/v1/statistics/corrections", params=params)
    listed = yield from ask(CorrectionList, call, retry)
    return listed.corrections
