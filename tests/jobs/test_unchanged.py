"""How long rows have stayed as they are is watched, not read from a clock."""

from __future__ import annotations

import math

import pytest

from hanseg_shared.jobs.unchanged import Unchanged
from tests.jobs.fakes import FakeClock


def make_watch(clock: FakeClock, most_step_seconds: float = math.inf) -> Unchanged:
    return Unchanged(most_step_seconds=most_step_seconds, clock=clock.steady)


def test_what_is_seen_for_the_first_time_has_just_changed(clock):
    watch = make_watch(clock)
    clock.advance(100.0)
    assert watch.look({"a": 1}) == {"a": 0.0}


def test_time_counts_from_the_first_look_at_a_mark(clock):
    watch = make_watch(clock)
    watch.look({"a": 1, "b": 1})
    clock.advance(3.0)
    assert watch.look({"a": 1, "b": 2}) == {"a": 3.0, "b": 0.0}
    clock.advance(4.0)
    assert watch.look({"a": 1, "b": 2}) == {"a": 7.0, "b": 4.0}


def test_what_was_away_begins_anew(clock):
    watch = make_watch(clock)
    watch.look({"a": 1})
    watch.look({})
    clock.advance(3.0)
    assert watch.look({"a": 1}) == {"a": 0.0}


def test_what_is_restarted_begins_anew(clock):
    watch = make_watch(clock)
    watch.look({"a": 1})
    clock.advance(3.0)
    watch.look({"a": 1})
    watch.restart("a")
    watch.restart("unknown")
    clock.advance(2.0)
    assert watch.look({"a": 1}) == {"a": 2.0}


@pytest.mark.parametrize("seconds", [-1e6, 1e6])
def test_nobody_can_set_the_clock(clock, seconds):
    watch = make_watch(clock)
    watch.look({"a": 1})
    clock.set_forward(seconds)
    assert watch.look({"a": 1}) == {"a": 0.0}


def test_a_long_pause_counts_as_a_short_one(clock):
    watch = make_watch(clock, most_step_seconds=3.0)
    watch.look({"a": 1})
    clock.advance(3600.0)
    assert watch.look({"a": 1}) == {"a": 3.0}
