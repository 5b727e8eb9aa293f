"""Two computations at once, the second in a forked child.

elastix keeps its log in global variables, so that two runs in two threads of one
process can crash it. A fork shares the images without copying them, and what a run
does to its process ends with the child.
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

from hanseg_registration.faults import as_fault, killed
from hanseg_shared.errors import HansegError, ProcessLostError
from hanseg_shared.jobs.leash import die_with_parent

One = TypeVar("One")
Other = TypeVar("Other")


def side_by_side(
    work: Callable[[], One], beside: Callable[[], Other]
) -> tuple[One, Other]:
    """Return the results of two functions that run at the same time.

    Args:
        work: Runs in this process.
        beside: Runs in a forked child; its result is pickled.

    Raises:
        ProcessLostError: The child was killed.
        HansegError: What either function raised of its kind.
    """
    with _forked(beside) as child:
        done = work()
        return done, child.result()


@dataclass(frozen=True, slots=True)
class _Child(Generic[Other]):
    """A child at work, and the end of the pipe that it will answer through."""

    pid: int
    answers: int

    def result(self) -> Other:
        """Wait for the child's answer.

        Raises:
            ProcessLostError: The child was killed before it had one.
            HansegError: What its function raised.
        """
        with open(self.answers, "rb", closefd=False) as pipe:
            answer = pipe.read()
        if not answer:
            raise self._obituary()
        result = pickle.loads(answer)  # from our own child
        if isinstance(result, HansegError):
            raise result
        done: Other = result
        return done

    def _obituary(self) -> ProcessLostError:
        name = "a process of the registration"
        end = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
        if end is not None and end.si_code != os.CLD_EXITED:
            return killed(name, end.si_status)
        return ProcessLostError(f"{name} ended without an answer")


@contextmanager
def _forked(work: Callable[[], Other]) -> Iterator[_Child[Other]]:
    """Run a function in a child that is gone at the end of the block."""
    answers, to_parent = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        os.close(answers)
        _be_the_child(work, to_parent, parent)
    os.close(to_parent)  # so that a dead child reads as the end of the pipe
    try:
        yield _Child(pid, answers)
    finally:
        os.close(answers)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _be_the_child(work: Callable[[], object], to_parent: int, parent: int) -> NoReturn:
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
    except Exception as error:  # noqa: BLE001 - the parent is told
        return as_fault(error)
