"""Questions that may never be answered, each asked for a limited time only.

A database that is frozen keeps its connections open and answers nothing, so that no
limit of its own ends a query. Whoever asks goes on; the question stays in a thread of
its own, and is not asked a second time while the first is open.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer came, for so many seconds until now."""

    seconds: float


@dataclass(frozen=True, slots=True)
class _Question(Generic[T]):
    answer: Future[T]
    asked_at: float


class Deadlines(Generic[T]):
    """Asks questions by name, all at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[str, _Question[T]] = {}

    async def ask(
        self, questions: Mapping[str, Callable[[], T]], *, seconds: float
    ) -> dict[str, T | Silence]:
        """Return the answers that come within a time, by name; `Silence` for others.

        Args:
            questions: Functions that raise nothing and may never return.
            seconds: How long they are waited for, together. One that was open for
                longer before is not waited for.
        """
        asked = {name: self._open_or_ask(name, ask) for name, ask in questions.items()}
        now = self._clock()
        waited_for = [
            asyncio.wrap_future(question.answer)
            for question in asked.values()
            if question.answer.done() or now - question.asked_at < seconds
        ]
        if waited_for:
            await asyncio.wait(waited_for, timeout=seconds)
        return {name: self._answer(question) for name, question in asked.items()}

    def _open_or_ask(self, name: str, ask: Callable[[], T]) -> _Question[T]:
        with self._lock:
            question = self._open.get(name)
            if question is None or question.answer.done():
                question = _Question(Future(), self._clock())
                self._open[name] = question
                threading.Thread(
                    target=_find_answer,
                    args=(ask, question.answer),
                    name=f"check of {name}",
                    daemon=True,
                ).start()
            return question

    def _answer(self, question: _Question[T]) -> T | Silence:
        if question.answer.done():
            return question.answer.result()
        return Silence(self._clock() - question.asked_at)


def _find_answer(ask: Callable[[], T], answer: Future[T]) -> None:
    try:
        answer.set_result(ask())
    except BaseException as error:  # noqa: BLE001 - raised where it is asked for
        answer.set_exception(error)
