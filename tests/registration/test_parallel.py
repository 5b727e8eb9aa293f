import os
import signal
from collections.abc import Callable
from typing import NoReturn

import pytest

from hanseg_registration.search.parallel import run_side_by_side
from hanseg_shared.errors import (
    ImageContentError,
    ProcessLostError,
    RegistrationError,
    StoreError,
)


def raising(error: Exception) -> Callable[[], NoReturn]:
    def work() -> NoReturn:
        raise error

    return work


def test_both_results_come_back():
    assert run_side_by_side(lambda: 1, lambda: "two") == (1, "two")


def test_the_second_runs_in_another_process():
    mine, other = run_side_by_side(os.getpid, os.getpid)
    assert mine == os.getpid() != other


def test_an_error_of_the_child_is_raised_here():
    with pytest.raises(ImageContentError, match="no head"):
        run_side_by_side(lambda: 1, raising(ImageContentError("no head")))


def test_a_surprise_in_the_child_is_a_registration_error():
    with pytest.raises(RegistrationError, match="unexpectedly: KeyError"):
        run_side_by_side(lambda: 1, raising(KeyError("x")))


def test_a_killed_child_is_noticed():
    def suicide():
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(ProcessLostError, match=r"killed by signal 9 \(SIGKILL\)"):
        run_side_by_side(lambda: 1, suicide)


@pytest.mark.parametrize(
    ("surprise", "fault"),
    [(MemoryError(), ProcessLostError), (OSError(28, "No space left"), StoreError)],
)
def test_a_fault_of_the_machine_in_the_child_is_none_of_the_images(surprise, fault):
    with pytest.raises(fault):
        run_side_by_side(lambda: 1, raising(surprise))


def test_an_error_here_leaves_no_child_behind():
    pids = []

    def hang():
        signal.pause()

    def fork_and_note():
        pids.append(real_fork())
        return pids[-1]

    real_fork = os.fork
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fork", fork_and_note)
        with pytest.raises(RegistrationError, match="mine"):
            run_side_by_side(raising(RegistrationError("mine")), hang)
    with pytest.raises(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)


def test_a_result_larger_than_a_pipe_holds_comes_back():
    assert (
        run_side_by_side(lambda: None, lambda: b"x" * 1_000_000)[1] == b"x" * 1_000_000
    )
