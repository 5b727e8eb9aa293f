"""Inputs, read by a process apart under the limits of the service's children.

The process is forked from one that has loaded all libraries already, so that an input
costs milliseconds. What it does is what the service's own child would do.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import NoReturn

from hanseg_shared.errors import LONGEST_MESSAGE, HansegError
from hanseg_shared.io.confined import Confines, confine

WALL_SECONDS = 20.0
"""Longest time for an input of some kilobytes; sound ones take less than a second."""

MEMORY_BYTES = 1 << 30
"""Most memory for one, libraries included."""


class Outcome(StrEnum):
    """What became of an input."""

    READ = "read"
    """It was read."""

    REFUSED = "refused"
    """It was refused, with one of our errors and a sentence."""

    UNEXPECTED = "unexpected error"
    """Something else was raised."""

    SENTENCE = "no sentence"
    """It was refused with a message that is none, or names our folders."""

    CRASH = "crash"
    """The process died."""

    HANG = "hang"
    """It took longer than `WALL_SECONDS`."""

    MEMORY = "memory"
    """It took more than `MEMORY_BYTES`, or asked for more than there may be."""


FRESH_ADDRESSES, FRESH_RESIDENT = 1 << 30, 250 << 20
"""Bytes of a process that has loaded all libraries and done nothing."""

GOOD = frozenset({Outcome.READ, Outcome.REFUSED})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an input, with the error's class and what there is to say."""

    outcome: Outcome
    kind: str = ""
    detail: str = ""
    seconds: float = 0.0
    memory_bytes: int = 0


def attempt_each(
    work: Callable[[Path], None],
    folders: Sequence[Path],
    confines: Confines,
    *,
    may_name_folder: bool = False,
    wall_seconds: float = WALL_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> list[Verdict]:
    """Return what becomes of the files of each folder in a process apart.

    One process takes folder after folder until it dies, or is killed; then another
    goes on behind the one that it died of.

    Args:
        work: Reads the files of the folder it is given.
        folders: The only places that it may write to.
        confines: What a process may use.
        may_name_folder: Whether a sentence may say where the files lie: to somebody
            at a command line it does, to a caller of the service it must not.
        wall_seconds: After this time it hangs.
        memory_bytes: Beyond this, it took too much.
    """
    verdicts: list[Verdict] = []
    while left := folders[len(verdicts) :]:
        job = _Job(work, left, confines, may_name_folder)
        verdicts += _run(job, wall_seconds, memory_bytes)
    return verdicts


@dataclass(frozen=True, slots=True)
class _Job:
    """What one process is to do."""

    work: Callable[[Path], None]
    folders: Sequence[Path]
    confines: Confines
    may_name_folder: bool


def _run(job: _Job, wall_seconds: float, memory_bytes: int) -> Iterator[Verdict]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(job, writing)
    os.close(writing)
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        for _ in job.folders:
            started = time.monotonic()
            told = _read_line(pipe, started + wall_seconds)
            seconds = time.monotonic() - started
            if told is None:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                yield Verdict(Outcome.HANG, seconds=seconds)
                return
            if not told:
                status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
                detail = f"ended with {status}"
                yield Verdict(Outcome.CRASH, detail=detail, seconds=seconds)
                return
            yield _verdict_of(told, seconds, memory_bytes)
    os.waitpid(child, 0)


def _verdict_of(told: bytes, seconds: float, memory_bytes: int) -> Verdict:
    kind, found, detail, memory = json.loads(told)
    outcome = Outcome(found)
    if outcome in GOOD and memory > memory_bytes:
        outcome, detail = Outcome.MEMORY, f"{memory >> 20} MiB"
    return Verdict(outcome, kind, detail, seconds, memory)


def _read_line(pipe: FileIO, until: float) -> bytes | None:
    """Return a line, what there is of one if the pipe ended, or None if none came."""
    told = b""
    while not told.endswith(b"\n"):
        left = max(0.0, until - time.monotonic())
        if not select.select([pipe], [], [], left)[0]:
            return None
        part = pipe.read(1)
        if not part:
            return b""
        told += part
    return told


def _be_child(job: _Job, writing: int) -> NoReturn:
    status = 1
    try:
        faulthandler.disable()  # pytest's writes where nobody should
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        address_space, resident = _held_before()
        memory_bytes = job.confines.memory_bytes + address_space
        open_files = job.confines.open_files + _most_open_before()
        confine(replace(job.confines, memory_bytes=memory_bytes, open_files=open_files))
        for folder in job.folders:
            os.chdir(folder)
            os.environ["TMPDIR"] = tempfile.tempdir = str(folder)
            told = _do(job.work, folder, job.may_name_folder)
            memory = (
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident
            )
            line = json.dumps([*told, memory]).encode() + b"\n"
            while line:
                line = line[os.write(writing, line) :]
        status = 0
    finally:
        os._exit(status)


def _held_before() -> tuple[int, int]:
    """Return the bytes that other tests of this process left: they are no input's.

    Of the address space, and resident; beyond what a process with all libraries has.
    """
    pages = [int(each) for each in Path("/proc/self/statm").read_text().split()[:2]]
    held = [each * resource.getpagesize() for each in pages]
    return max(0, held[0] - FRESH_ADDRESSES), max(0, held[1] - FRESH_RESIDENT)


def _most_open_before() -> int:
    """Return how many files other tests of this process may hold open.

    The limit is one of numbers: the highest that is taken counts.
    """
    return max(int(each.name) for each in Path("/proc/self/fd").iterdir())


def _do(
    work: Callable[[Path], None], folder: Path, may_name_folder: bool
) -> tuple[str, Outcome, str]:
    try:
        work(folder)
    except HansegError as error:
        sound = is_sentence(error.message, None if may_name_folder else folder)
        outcome = Outcome.REFUSED if sound else Outcome.SENTENCE
        return type(error).__name__, outcome, error.message
    except MemoryError:
        return "MemoryError", Outcome.MEMORY, _last_lines()
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return type(error).__name__, Outcome.UNEXPECTED, _last_lines()
    return "", Outcome.READ, ""


def _last_lines() -> str:
    return traceback.format_exc()[-1500:]


def is_sentence(message: str, folder: Path | None) -> bool:
    """Whether a message is one printable line that does not name a folder."""
    return (
        bool(message.strip())
        and message.isprintable()
        and len(message) <= LONGEST_MESSAGE
        and (folder is None or str(folder) not in message)
    )
