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

_ERRORS: dict[int, type[HansegError]] = {
    401: ServiceUnavailableError,
    403: ServiceUnavailableError,
    404: JobNotFoundError,
    409: JobStateError,
    421: ServiceUnavailableError,
    410: JobStateError,
    413: InputError,
    415: InputError,
    422: InputError,
    400: InputError,
    429: ServiceUnavailableError,
    503: ServiceUnavailableError,
    507: ServiceUnavailableError,
}


def error_of(problem: Problem) -> HansegError:
    """Return a problem document as the error it stands for."""
    kind = _ERRORS.get(problem.status, JobError)
    return kind(problem.detail or problem.title)


def raise_problem(answer: httpx.Response) -> NoReturn:
    """Raise what an answer with an error status says."""
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        raise ServiceUnavailableError(
            f"{answer.url} answered {answer.status_code} without a reason; "
            "is it the contouring service?"
        ) from None
    raise error_of(problem)


@contextlib.contextmanager
def translate_errors() -> Iterator[None]:
    """Raise `ServiceUnavailableError` where the body cannot reach the service."""
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
