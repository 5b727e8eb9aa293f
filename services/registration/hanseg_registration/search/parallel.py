"""Two computations at the same time, the second in a forked child.

elastix keeps its log in global variables, so that two runs in two threads of one
process can crash it. A fork shares the images without copying them, and what a run
changes in its process ends with the child.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NoReturn, TypeVar

from hanseg_registration.faults import as_fault, death_by_signal
from hanseg_shared.errors import HansegError, ProcessLostError
from hanseg_shared.jobs.leash import die_with_parent

One = TypeVar("One")
Other = TypeVar("Other")


def run_side_by_side(
    here: Callable[[], One], forked: Callable[[], Other]
) -> tuple[One, Other]:
    """Return the results of two functions that run at the same time.

    Args:
        here: Runs in this process.
        forked: Runs in a forked child; its result is pickled.

    Raises:
        ProcessLostError: The child was killed.
        HansegError: What either function raised of its kind.
    """
    with _fork(forked) as call:
        result = here()
        return result, call.result()


@dataclass(frozen=True, slots=True)
class ForkedCall(Generic[Other]):
    """A function that runs in a child, and the pipe through which it answers."""

    pid: int
    answers: int

    def result(self) -> Other:
        """Return the child's answer, once it has one.

        Raises:
            ProcessLostError: The child was killed before it had one.
            HansegError: What its function raised.
        """
        with open(self.answers, "rb", closefd=False) as pipe:
            answer = pipe.read()
        if not answer:
            raise self._explain_death()
        result: Other | HansegError = pickle.loads(answer)  # noqa: S301 - from our own child
        if isinstance(result, HansegError):
            raise result
        return result

    def _explain_death(self) -> ProcessLostError:
        name = "a process of the registration"
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if end is not None and end.si_code != os.CLD_EXITED:
            return death_by_signal(name, end.si_status)
        return ProcessLostError(f"{name} ended without an answer")


@contextmanager
def _fork(work: Callable[[], Other]) -> Iterator[ForkedCall[Other]]:
    """Run a function in a child that is gone at the end of the block."""
    answers, to_parent = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        _run_child(work, to_parent, parent)
    os.close(to_parent)  # so that a dead child reads as the end of the pipe
    try:
        yield ForkedCall(pid, answers)
    finally:
        os.close(answers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _run_child(work: Callable[[], object], to_parent: int, parent: int) -> NoReturn:
    """Compute and answer; never return into the parent's code."""
    try:
        die_with_parent(signal.SIGKILL)
        if os.getppid() == parent:
            answer = pickle.dumps(_attempt(work))
            with open(to_parent, "wb") as pipe:
                pipe.write(answer)
    finally:
        os._exit(0)


def _attempt(work: Callable[[], object]) -> object:
    """Return what a function returns, or the error it raises."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - sent to the parent
        return as_fault(error)
