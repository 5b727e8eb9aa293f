"""Errors as answers: every one is a problem document (RFC 9457), none leaks internals.

Errors that only HTTP has, and the shared tree therefore lacks, are a `RefusedError`
with a kind of this file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from hanseg_segmentation.api.http.exchange import current_exchange
from hanseg_segmentation.api.http.prefix import published
from hanseg_shared.documents import Problem
from hanseg_shared.errors import (
    DiskFullError,
    HansegError,
    JobNotFoundError,
    ServiceUnavailableError,
)
from hanseg_shared.faults import sentence_of
from hanseg_shared.jobs.machine_faults import ERRNOS
from hanseg_shared.problems import INTERNAL, KINDS, ProblemKind, kind_of

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"

RETRY_SECONDS = 10
"""After how many seconds a caller should ask again when the service cannot work now."""

ASK_AGAIN = frozenset({429, 503, 507})
"""Statuses that pass: every answer of one says in `Retry-After` when to ask again."""

MOST_FAULTS_LISTED = 20
"""Most faults of one request that an answer lists."""

_LONGEST_PART = 60
"""Most characters of a key that the place of a fault repeats."""

UNAUTHENTICATED = ProblemKind("unauthenticated", "A valid key is needed", 401)
FORBIDDEN = ProblemKind("forbidden", "The key does not allow it", 403)
FOREIGN = ProblemKind("foreign-page", "A page of another site sent it", 403)
MISDIRECTED = ProblemKind("misdirected", "The service has another name", 421)
BAD_REQUEST = ProblemKind("bad-request", "The request cannot be understood", 400)
NOT_FOUND = KINDS[JobNotFoundError]
NOT_ALLOWED = ProblemKind("method-not-allowed", "The resource has no such method", 405)
NOT_ACCEPTABLE = ProblemKind("not-acceptable", "There is no such form of it", 406)
READ_ONLY = ProblemKind("read-only", "It cannot be changed", 409)
CHANGED = ProblemKind("precondition-failed", "It was changed meanwhile", 412)
NOT_FINISHED = ProblemKind("not-finished", "The job has no results", 409)
SIGNED = ProblemKind("signed", "The review is signed", 409)
UNJUDGED = ProblemKind("not-judged", "There is more to be judged", 409)
NOT_REVIEWED = ProblemKind("not-reviewed", "It waits for a signed review", 409)
KEY_IN_USE = ProblemKind(
    "idempotency-key-in-use", "The first request with this key is being processed", 409
)
TOO_LARGE = ProblemKind("too-large", "The request body is too large", 413)
TOO_MANY = ProblemKind("too-many-requests", "One caller asks for too much", 429)
UNSUPPORTED = ProblemKind("unsupported-media-type", "Not a type that is read here", 415)
RANGE = ProblemKind("range-not-satisfiable", "The file has no such bytes", 416)
INVALID = ProblemKind("invalid-request", "The request does not fit its schema", 422)
KEY_REUSED = ProblemKind(
    "idempotency-key-reused", "The key was used for a different request", 422
)
CONTENT_MISMATCH = ProblemKind(
    "content-mismatch", "The content is not what was declared", 422
)

_BY_STATUS = {
    kind.status: kind
    for kind in (BAD_REQUEST, NOT_FOUND, NOT_ALLOWED, TOO_LARGE, UNSUPPORTED, INVALID)
}


class RefusedError(Exception):
    """A request is answered with a problem that only HTTP knows.

    Args:
        kind: Which problem.
        detail: One sentence for a person, with the value and the remedy.
        headers: Sent with the answer.
        members: Further members of the problem document.
    """

    def __init__(
        self,
        kind: ProblemKind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def install(app: FastAPI) -> None:
    """Have every error that a route or the router raises answered as a problem."""
    app.add_exception_handler(RefusedError, _on_refusal)
    app.add_exception_handler(HansegError, _on_hanseg_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_invalid)


def problem_response(
    problem: Problem, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a problem document as an answer, with the request's id as a member.

    Its `instance` is a path of the application; the answer has what callers know.

    One that passes has `Retry-After`: what is given, or `RETRY_SECONDS`.
    """
    exchange = current_exchange()
    if exchange is not None:
        exchange.problem = problem.type
        problem = problem.model_copy(update={"request_id": exchange.id})
    if problem.instance is not None:
        instance = published(problem.instance)
        problem = problem.model_copy(update={"instance": instance})
    waiting = {"Retry-After": str(RETRY_SECONDS)} if problem.status in ASK_AGAIN else {}
    return Response(
        problem.model_dump_json(exclude_none=True),
        status_code=problem.status,
        headers=waiting | dict(headers or {}),
        media_type=MEDIA_TYPE,
    )


def internal_problem(path: str, request_id: str) -> Problem:
    """Return the problem of a fault in the service: it says where to look."""
    return INTERNAL.problem(
        f"the service's log says why, under request {request_id}", instance=path
    )


@contextmanager
def translate_disk_faults() -> Iterator[None]:
    """Turn the error of a disk that is full, or does not work, into one that says so.

    Raises:
        DiskFullError: The disk, or the quota on it, is full.
        ServiceUnavailableError: It is read-only, broken or away.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT}:
            raise DiskFullError(
                "the service's disk is full; delete finished jobs or try again later"
            ) from error
        if error.errno in ERRNOS:
            raise ServiceUnavailableError(
                f"the service's disk does not work: {error.strerror}; have it looked "
                "at, and try again later"
            ) from error
        raise


def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    problem = error.kind.problem(error.detail, instance=request.url.path)
    extended = problem.model_copy(update=error.members)
    return problem_response(extended, error.headers)


def _on_hanseg_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HansegError)
    kind = kind_of(error)
    path, request_id = request.url.path, request.state.request_id
    if isinstance(error, ServiceUnavailableError):
        logger.warning("request %s: refused for now: %s", request_id, error)
        return problem_response(kind.problem(error.message, instance=path))
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("request %s: %s", request_id, error, exc_info=error)
        return problem_response(internal_problem(path, request_id))
    return problem_response(kind.problem(error.message, instance=path))


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _BY_STATUS.get(error.status_code) or _kind_of_status(error.status_code)
    detail = error.detail
    if kind is NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"there is nothing at {published(request.url.path)}"
    headers = dict(error.headers or {})
    if kind is NOT_ALLOWED:
        headers |= _allow_header(request)
        detail = f"{published(request.url.path)} cannot be asked for {request.method}"
    return problem_response(kind.problem(detail, instance=request.url.path), headers)


def _allow_header(request: Request) -> dict[str, str]:
    """Return all methods of a path; the router names those of one route only."""
    template = getattr(request.scope.get("route"), "path_format", "")
    methods = request.app.openapi()["paths"].get(template, {})
    return {"Allow": ", ".join(sorted(map(str.upper, methods)))} if methods else {}


def _kind_of_status(status: int) -> ProblemKind:
    return ProblemKind(f"http-{status}", HTTPStatus(status).phrase, status)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    syntax = any(fault["type"] == "json_invalid" for fault in faults)
    kind = BAD_REQUEST if syntax else INVALID
    described = [_describe_fault(fault) for fault in faults[:MOST_FAULTS_LISTED]]
    detail = "; ".join(f"{each['at']}: {each['detail']}" for each in described)
    problem = kind.problem(detail, instance=request.url.path)
    errors = [each["member"] for each in described]
    return problem_response(problem.model_copy(update={"errors": errors}))


def _describe_fault(fault: Mapping[str, Any]) -> dict[str, Any]:
    """Return one fault without the value sent: it may name a patient."""
    place, *where = (
        part[:_LONGEST_PART] if isinstance(part, str) else part for part in fault["loc"]
    )
    detail = sentence_of(fault)
    if fault["type"] == "json_invalid":  # FastAPI appends where in the text it is
        detail = (
            f"no JSON that can be read: {fault.get('ctx', {}).get('error', detail)}"
        )
        where = [part for part in where if isinstance(part, str)]
    if place != "body":
        name = ".".join(str(part) for part in where)
        member = {"detail": detail, "in": place, "parameter": name}
        return {"at": f"{place} parameter {name}", "detail": detail, "member": member}
    at = pointer(where)
    return {
        "at": at if where else "the body",
        "detail": detail,
        "member": {"detail": detail, "pointer": at},
    }


def pointer(parts: Sequence[object]) -> str:
    """Return a JSON pointer (RFC 6901) into the request's body, as a fragment."""
    escaped = [str(part).replace("~", "~0").replace("/", "~1") for part in parts]
    return "#" + "".join(f"/{part}" for part in escaped)
