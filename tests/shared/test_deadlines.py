"""A question that is never answered holds nobody up, and is asked once."""

from __future__ import annotations

import asyncio
import threading

import pytest

from hanseg_shared.deadlines import Deadlines, Silence


def ask(deadlines: Deadlines[str], seconds: float, **questions):
    return asyncio.run(deadlines.ask(questions, seconds=seconds))


def test_answers_come_by_name():
    found = ask(Deadlines(), 10.0, a=lambda: "1", b=lambda: "2")
    assert found == {"a": "1", "b": "2"}


def test_a_question_is_asked_anew_each_time():
    answers = iter("12")
    deadlines: Deadlines[str] = Deadlines()
    assert ask(deadlines, 10.0, a=lambda: next(answers)) == {"a": "1"}
    assert ask(deadlines, 10.0, a=lambda: next(answers)) == {"a": "2"}


def test_the_silent_keep_nobody_from_being_heard():
    never, asked = threading.Event(), []
    deadlines: Deadlines[str] = Deadlines()

    def wait() -> str:
        asked.append(1)
        never.wait(60)
        return "late"

    try:
        first = ask(deadlines, 0.05, a=wait, b=lambda: "2")
        # asked long ago: it is not waited for again, or this would take an hour
        second = ask(deadlines, 0.05, a=wait, b=lambda: "2")
    finally:
        never.set()
    assert first["b"] == second["b"] == "2"
    assert isinstance(first["a"], Silence)
    assert isinstance(second["a"], Silence)
    assert second["a"].seconds > first["a"].seconds
    assert asked == [1]


def test_what_is_raised_is_raised_where_it_was_asked():
    def fail() -> str:
        raise KeyError("a fault of ours")

    with pytest.raises(KeyError, match="a fault of ours"):
        ask(Deadlines(), 10.0, a=fail)
