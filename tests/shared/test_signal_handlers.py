"""Signals are handled otherwise for the time of a block, and as before afterwards."""

from __future__ import annotations

import signal

import pytest

from hanseg_shared.signal_handlers import handling


@pytest.fixture(params=[signal.SIG_IGN, signal.SIG_DFL], ids=["ignored", "usual"])
def before(request):
    earlier = signal.signal(signal.SIGUSR1, request.param)
    yield request.param
    signal.signal(signal.SIGUSR1, earlier)


def test_a_signal_is_handled_unless_it_is_ignored(before):
    seen: list[int] = []
    with handling((signal.SIGUSR1,), lambda number, _: seen.append(number)):
        signal.raise_signal(signal.SIGUSR1)
    assert seen == ([] if before is signal.SIG_IGN else [signal.SIGUSR1])
    assert signal.getsignal(signal.SIGUSR1) is before
