"""A process of our own that works on untrusted files: starved, cut off, and killed.

A module that is run so ends in `answer_request`: it limits itself, does what its
standard input asks for and prints one JSON object, which is ``{"error": …}`` where the
files cannot be used. A command line would show their names to every user of the
machine. `run_confined` is the other side.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from hanseg_shared import errors
from hanseg_shared.errors import (
    DiskFullError,
    ImageError,
    InputError,
    ServiceUnavailableError,
)
from hanseg_shared.held_folder import hold_new_folder
from hanseg_shared.io.cut_off import cut_off
from hanseg_shared.io.halt import Halt

logger = logging.getLogger(__name__)

_MAX_ANSWER_BYTES = 1 << 20
_INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")

KILLS = (signal.SIGKILL, signal.SIGTERM)
"""What no image does to its reader; the kernel does when memory runs out, and when the
time on a processor is over."""

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_BROKEN = {errno.EROFS, errno.EIO}
_FULL = "the disk is full; delete finished jobs or try again later"

FULL_BYTES = 1 << 20
"""A child that gives no answer on a disk with less free space had no room for it."""

TRIES = 2
"""How often a child is begun that is killed from outside."""

QUICK_CPU_SECONDS = 2.0
"""A child that has computed for so long makes way for others: an ordinary case has had
its answer by then."""

SLOW_NICENESS = 15

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
"""Each thread would reserve address space of its own."""


@dataclass(frozen=True, slots=True)
class Confines:
    """What a child may use; beyond it, the child dies and the files are refused.

    Attributes:
        memory_bytes: Address space, libraries included.
        cpu_seconds: Time on a processor.
        wall_seconds: Time on the clock.
        open_files: Files open at once.
        file_bytes: Length of each file that it writes.
    """

    memory_bytes: int = 3 << 30
    cpu_seconds: int = 60
    wall_seconds: float = 90.0
    open_files: int = 64
    file_bytes: int = _MAX_ANSWER_BYTES


class _KilledError(Exception):
    """Something else than the files or a limit of ours has ended the child."""


def run_confined(
    module: str,
    request: dict[str, Any],
    *,
    confines: Confines,
    halt: Halt,
    scratch: Path | None = None,
) -> dict[str, Any]:
    """Run a module on a request and return what it printed, or {} if nothing.

    Args:
        module: Ends in `answer_request`.
        request: What is asked of it; goes through JSON.
        confines: What the child may use.
        halt: Kills the child when it is told to.
        scratch: Where the child's own folder is made, which goes when it ends; the
            system's temporary folder if None.

    Raises:
        InputError: What the child raised, with the same class and message.
        ServiceUnavailableError: It was killed from outside, twice, or the disk is full.
    """
    request = request | {"confines": asdict(confines)}
    for _ in range(TRIES):
        try:
            answer = _try(module, request, confines, halt, scratch)
        except _KilledError:
            logger.warning("a child was killed from outside, by hand or out of memory")
            continue
        if "error" in answer:
            raise error_of(answer["error"])
        if "no_room" in answer:
            raise DiskFullError(_FULL)
        return answer
    raise ServiceUnavailableError(
        "the images could not be checked: the check's process was killed from outside "
        f"{TRIES} times, most often because this machine has too little memory; send "
        "them again later"
    )


def _try(
    module: str,
    request: dict[str, Any],
    confines: Confines,
    halt: Halt,
    scratch: Path | None,
) -> dict[str, Any]:
    parent = scratch or Path(tempfile.gettempdir())
    with (
        _translate_disk_faults(),
        hold_new_folder(parent / f"hanseg-check-{uuid.uuid4().hex}") as folder,
        # in memory: on a full disk there would be no answer, and the files be blamed
        os.fdopen(os.memfd_create("answer"), "w+b") as printed,
    ):
        # -B: bytecode cut off at the file's longest length would stay where the product
        # is installed, and nobody could import that module any more
        command = [sys.executable, "-P", "-B", "-m", module]
        asked = json.dumps(request).encode()
        _run_child(command, asked, folder, printed, confines, halt)
        printed.seek(0)
        answer = _parse_answer(printed.read(_MAX_ANSWER_BYTES))
        if not answer and shutil.disk_usage(folder).free < FULL_BYTES:
            raise DiskFullError(_FULL)
        return answer


@contextmanager
def _translate_disk_faults() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise DiskFullError(_FULL) from error
        if error.errno in _BROKEN:
            raise ServiceUnavailableError(
                f"the disk for temporary files does not work: {error.strerror}"
            ) from error
        raise


def _run_child(
    command: list[str],
    asked: bytes,
    folder: Path,
    stdout: IO[bytes],
    confines: Confines,
    halt: Halt,
) -> None:
    began = time.monotonic()
    environment = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    environment |= {"HOME": str(folder), "TMPDIR": str(folder)} | _ONE_THREAD
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        ) as child,
        halt.over(child),
    ):
        try:
            child.communicate(asked, timeout=confines.wall_seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    logger.info("the check's child ended with %s", child.returncode)
    seconds = time.monotonic() - began
    in_time = seconds < min(confines.cpu_seconds, confines.wall_seconds)
    if in_time and not halt.is_told and -child.returncode in KILLS:
        raise _KilledError


def _parse_answer(printed: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(printed)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def error_of(told: dict[str, str]) -> InputError:
    """Return the child's error; one that is no `InputError` becomes an `ImageError`."""
    found = getattr(errors, told["type"], ImageError)
    if not (isinstance(found, type) and issubclass(found, InputError)):
        found = ImageError
    return found(told["message"])


def answer_request(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Be the child: confine this process, do the request, print the answer."""
    request = json.load(sys.stdin)
    confine(Confines(**request.pop("confines")))
    make_way_after(QUICK_CPU_SECONDS)
    try:
        answer = work(request)
    except InputError as error:
        answer = {"error": {"type": type(error).__name__, "message": error.message}}
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        answer = {"no_room": True}
    sys.stdout.write(json.dumps(answer))


def confine(confines: Confines) -> None:
    """Limit this process and cut it off from the network; there is no way back."""
    for what, most in (
        (resource.RLIMIT_AS, confines.memory_bytes),
        (resource.RLIMIT_CPU, confines.cpu_seconds),
        (resource.RLIMIT_FSIZE, confines.file_bytes),
        (resource.RLIMIT_NOFILE, confines.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    cut_off()


def make_way_after(cpu_seconds: float) -> None:
    """Have this process step back once it has computed for so long."""
    signal.signal(signal.SIGPROF, lambda *_: os.nice(SLOW_NICENESS))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
