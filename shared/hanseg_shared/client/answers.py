"""What the service answers, as documents; its problems as the product's errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NoReturn, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from hanseg_shared.documents import Problem
from hanseg_shared.errors import (
    HansegError,
    InputError,
    JobError,
    JobNotFoundError,
    JobStateError,
    ServiceUnavailableError,
)

KEY_IN_USE = "urn:hanseg:problem:idempotency-key-in-use"
"""The first request with this key is still being worked on; it passes."""


class KeyRefusedError(ServiceUnavailableError):
    """The service needs a key, or the one that was sent does not allow it."""


class BusyError(ServiceUnavailableError):
    """The service takes it later: one caller has too much, or there is no room.

    Attributes:
        retry_after: In how many seconds to ask again, if it says so.
    """

    retry_after: float | None = None


class ConnectionLostError(ServiceUnavailableError):
    """The service does not answer, or broke off in the middle.

    Attributes:
        was_sent: Whether the request may have arrived.
    """

    was_sent: bool = True


_ERRORS: dict[int, type[HansegError]] = {
    401: KeyRefusedError,
    403: KeyRefusedError,
    404: JobNotFoundError,
    409: JobStateError,
    421: ServiceUnavailableError,
    410: JobStateError,
    413: InputError,
    415: InputError,
    422: InputError,
    400: InputError,
    429: BusyError,
    503: BusyError,
    507: BusyError,
}

_OF_PROXIES = frozenset({502, 503, 504})
"""What stands in front of a service answers so when that is away."""


def error_of(problem: Problem) -> HansegError:
    """Return a problem document as the error it stands for."""
    kind = _ERRORS.get(problem.status, JobError)
    error = kind(problem.detail or problem.title)
    error.problem_type = problem.type
    return error


def is_key_in_use(error: HansegError) -> bool:
    """Whether the service still works on the first request of an idempotency key."""
    return error.problem_type == KEY_IN_USE


def raise_problem(answer: httpx.Response) -> NoReturn:
    """Raise what an answer with an error status says."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        is_away = answer.status_code in _OF_PROXIES
        kind = ConnectionLostError if is_away else ServiceUnavailableError
        raise kind(
            f"{answer.url} answered {answer.status_code} without a reason; "
            "is it the contouring service?"
        ) from None
    error = error_of(problem)
    if isinstance(error, BusyError):
        error.retry_after = _seconds(answer.headers.get("Retry-After"))
    raise error


def _seconds(said: str | None) -> float | None:
    """Return what ``Retry-After`` says in seconds; the service sends no dates."""
    known = said is not None and said.isascii() and said.isdecimal() and len(said) < 10
    return float(said) if known and said else None


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `ConnectionLostError` where the body cannot reach the service."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        lost = ConnectionLostError(
            f"no service answers at {error.request.url.copy_with(path='/')}"
        )
        lost.was_sent = False
        raise lost from error
    except httpx.HTTPError as error:
        raise ConnectionLostError(
            f"the service broke off: {str(error) or type(error).__name__}"
        ) from error


_D = TypeVar("_D", bound=BaseModel)


def parse_answer(kind: type[_D], told: bytes | str) -> _D:
    """Return an answer as the document it should be.

    Raises:
        ServiceUnavailableError: It is none.
    """
    try:
        return kind.model_validate_json(told)
    except ValidationError as error:
        raise ServiceUnavailableError(
            "the service's answer is not understood; are service and command of the "
            "same version?"
        ) from error
