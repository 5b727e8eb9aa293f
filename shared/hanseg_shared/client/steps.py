"""What a call to the service consists of, without saying how it is sent.

A call is a generator of steps: it yields what is to be done next, is sent what came of
it, and returns what the caller asked for. So the sync and the async client share every
request, answer, retry and check; each only takes the steps, one by one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import httpx

from hanseg_shared.client.answers import (
    BusyError,
    ConnectionLostError,
    is_key_in_use,
)
from hanseg_shared.errors import HansegError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose answer fits into memory; its result is the answer.

    Attributes:
        method: Of HTTP.
        path: Below the service's address, or a whole address of the service's.
        params: The query.
        headers: Beside the key.
        json: The body, as JSON.
        content: The body, as bytes.
        form: Fields of a form.
        parts: Files of a form, by field; a folder of DICOM is packed.
        is_repeatable: Whether sending it twice does the same as sending it once.
        is_for_strangers: Whether it goes without the key: it asks who is there.
        timeout: Longest wait, if not the client's.
    """

    method: str
    path: str
    params: Mapping[str, str | list[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    form: Mapping[str, str] | None = None
    parts: Mapping[str, Path] = field(default_factory=dict)
    is_repeatable: bool = True
    is_for_strangers: bool = False
    timeout: httpx.Timeout | None = None


class Sink(Protocol):
    """Takes an answer in pieces."""

    def begin(self) -> None:
        """Forget what came before: the answer starts."""

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """A GET whose answer goes into a sink; its result is None."""

    path: str
    sink: Sink
    is_repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """Something to be done here that takes a while; its result is what it returns."""

    do: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait; its result is None."""

    seconds: float


Step: TypeAlias = Call | Fetch | Work | Pause
Steps: TypeAlias = Generator[Step, Any, T]


@dataclass(frozen=True, slots=True)
class Retry:
    """How often something is tried that the service may take later.

    What it answers with 429, 503 or 507 was not done, and is sent again after the time
    that it says in ``Retry-After``. After a lost connection, only what is the same done
    twice is sent again.

    Attributes:
        tries: How often at most; 1 is never again.
        pause_seconds: About how long the first wait is where the service does not say;
            each next one is twice as long.
        longest_seconds: Longest wait; if the service asks for more, it is not waited.
    """

    tries: int = 5
    pause_seconds: float = 1.0
    longest_seconds: float = 60.0

    def pause_after(
        self, error: HansegError, *, failures: int, is_repeatable: bool
    ) -> float:
        """Return for how many seconds to wait after a failure.

        Args:
            error: What went wrong.
            failures: How often that was, this time included.
            is_repeatable: Whether it may be sent again when it may have arrived.

        Raises:
            HansegError: `error`: it is not tried again.
        """
        if failures >= self.tries or not _may_pass(error, is_repeatable):
            raise error
        asked = error.retry_after if isinstance(error, BusyError) else None
        if asked is not None:
            if asked > self.longest_seconds:
                raise error
            return asked
        longest = min(self.pause_seconds * 2 ** (failures - 1), self.longest_seconds)
        # not all clients at one time
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


SOME_TRIES = Retry()
"""What a client does unless it is told otherwise."""

ONCE = Retry(tries=1)
"""For callers that have a way of their own to try again."""


def _may_pass(error: HansegError, is_repeatable: bool) -> bool:
    if isinstance(error, ConnectionLostError):
        return is_repeatable or not error.was_sent
    return isinstance(error, BusyError) or is_key_in_use(error)


def take(step: Call | Fetch, retry: Retry) -> Steps[httpx.Response]:
    """Take a step, again where that may help; returns the answer to a `Call`."""
    failures = 0
    while True:
        try:
            answer: httpx.Response = yield step
        except HansegError as error:
            failures += 1
            seconds = retry.pause_after(
                error, failures=failures, is_repeatable=step.is_repeatable
            )
        else:
            return answer
        yield Pause(seconds)
