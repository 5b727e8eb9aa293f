"""Messages are tried again for 22 hours, at growing intervals."""

from __future__ import annotations

import pytest

from hanseg_shared.webhooks.schedule import ATTEMPTS, wait_seconds


def test_waits_grow_up_to_six_hours():
    waits = [wait_seconds(attempts, 0.5) for attempts in range(1, ATTEMPTS)]
    assert waits == [10, 40, 160, 640, 2560, 10240, 21600, 21600, 21600]
    assert sum(wait or 0.0 for wait in waits) == pytest.approx(21.8 * 3600, rel=0.01)


def test_a_message_is_given_up_at_last():
    assert wait_seconds(ATTEMPTS, 0.5) is None
    assert wait_seconds(ATTEMPTS + 1, 0.5) is None


def test_waits_differ_by_chance():
    assert (wait_seconds(1, 0.0), wait_seconds(1, 1.0)) == (7.5, 12.5)
