"""Untrusted images checked in a child process that can be killed and starved.

``python -m hanseg_shared.io.sandbox REQUEST`` is the child: it limits itself, checks
the case and prints one JSON object, ``{"case": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from hanseg_shared import errors
from hanseg_shared.errors import (
    CheckDiedError,
    ImageError,
    InputError,
    ServiceUnavailableError,
)
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits

logger = logging.getLogger(__name__)

_MODULE = "hanseg_shared.io.sandbox"
_MAX_ANSWER_BYTES = 1 << 20
_INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")


@dataclass(frozen=True, slots=True)
class Confines:
    """What a child may use; beyond it, the child dies and the image is refused.

    Attributes:
        memory_bytes: Address space, libraries included.
        cpu_seconds: Time on a processor.
        wall_seconds: Time on the clock.
        open_files: Files open at once.
    """

    memory_bytes: int = 3 << 30
    cpu_seconds: int = 60
    wall_seconds: float = 90.0
    open_files: int = 64


DEFAULT_CONFINES = Confines()
"""Enough, several times over, for a CT of 1024 x 1024 x 200 voxels."""

KILLS = (signal.SIGKILL, signal.SIGTERM)
"""What no image does to its reader; the kernel does when memory runs out, and when the
time on a processor is over."""

TRIES = 2
"""How often a check is begun whose process is killed from outside."""

QUICK_CPU_SECONDS = 2.0
"""A check that has computed for so long makes way for others: an ordinary case has had
its answer by then."""

_SLOW_NICENESS = 15

_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
}
"""Each thread would reserve address space of its own."""


def check_case_in_child(
    ct_path: Path | str,
    mr_path: Path | str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    halt: Halt | None = None,
    *,
    confines: Confines = DEFAULT_CONFINES,
) -> CaseCheck:
    """Do what `check_case` does, in a process of its own.

    Args:
        ct_path: The planning CT: a NIfTI, NRRD or MHA file.
        mr_path: The T1 MR, or None.
        limits: Caps on each image.
        halt: Kills the child when it is told to.
        confines: What the child may use.

    Returns:
        The facts of the case's images.

    Raises:
        CheckDiedError: The child died, met a limit, or gave no answer.
        ServiceUnavailableError: It was killed from outside, and again: nothing is
            known of the images then.
        ImageError: As `check_case`, with the same class and message.
    """
    request = {
        "ct": str(Path(ct_path).absolute()),
        "mr": None if mr_path is None else str(Path(mr_path).absolute()),
        "limits": asdict(limits),
        "confines": asdict(confines),
    }
    names = " and ".join(Path(p).name for p in (ct_path, mr_path) if p is not None)
    return _case_of(_answer(request, confines, halt or Halt()), names)


class _KilledError(Exception):
    """Something else than the image or a limit of ours has ended the child."""


def _answer(request: dict[str, Any], confines: Confines, halt: Halt) -> dict[str, Any]:
    """Run the child on a request and return what it printed, or {} if nothing.

    Raises:
        ServiceUnavailableError: It was killed from outside, twice.
    """
    for _ in range(TRIES):
        try:
            return _try(request, confines, halt)
        except _KilledError:
            logger.warning("a check was killed from outside, by hand or out of memory")
    raise ServiceUnavailableError(
        "the images could not be checked: the check's process was killed from outside "
        f"{TRIES} times, most often because this machine has too little memory; send "
        "them again later"
    )


def _try(request: dict[str, Any], confines: Confines, halt: Halt) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="hanseg-check-") as scratch:
        printed = Path(scratch, "answer.json")
        with printed.open("wb") as stdout:
            _run_child(json.dumps(request), scratch, stdout, confines, halt)
        with printed.open("rb") as file:
            return _parse_answer(file.read(_MAX_ANSWER_BYTES))


def _run_child(
    request: str, scratch: str, stdout: IO[bytes], confines: Confines, halt: Halt
) -> None:
    began = time.monotonic()
    environment = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    environment |= {"HOME": scratch, "TMPDIR": scratch} | _ONE_THREAD
    command = [sys.executable, "-P", "-m", _MODULE, request]
    with (
        subprocess.Popen(
            command,
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
        ) as child,
        halt.over(child),
    ):
        try:
            child.wait(confines.wall_seconds)
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


def _case_of(answer: dict[str, Any], names: str) -> CaseCheck:
    if "error" in answer:
        raise _error_of(answer["error"])
    if "case" in answer:
        return CaseCheck.model_validate(answer["case"])
    raise CheckDiedError(
        f"{names} could not be read safely: the check ran out of memory or time, or "
        "crashed on damaged data; save the image again as compressed NIfTI"
    )


def _error_of(told: dict[str, str]) -> InputError:
    """Return the child's error; one that is no `InputError` becomes an `ImageError`."""
    found = getattr(errors, told["type"], ImageError)
    if not (isinstance(found, type) and issubclass(found, InputError)):
        found = ImageError
    return found(told["message"])


def _confine(confines: Confines) -> None:
    """Limit this process; there is no way back."""
    for what, most in (
        (resource.RLIMIT_AS, confines.memory_bytes),
        (resource.RLIMIT_CPU, confines.cpu_seconds),
        (resource.RLIMIT_FSIZE, _MAX_ANSWER_BYTES),
        (resource.RLIMIT_NOFILE, confines.open_files),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def _make_way_after(cpu_seconds: float) -> None:
    """Have this process step back once it has computed for so long."""
    signal.signal(signal.SIGPROF, lambda *_: os.nice(_SLOW_NICENESS))
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)


def _check(request: dict[str, Any]) -> dict[str, Any]:
    from hanseg_shared.io.check import check_case  # after the limits are in force

    try:
        case = check_case(request["ct"], request["mr"], Limits(**request["limits"]))
    except InputError as error:
        return {"error": {"type": type(error).__name__, "message": error.message}}
    return {"case": case.model_dump(mode="json")}


def main() -> None:
    """Be the child: confine this process, check the case, print the answer."""
    request = json.loads(sys.argv[1])
    _confine(Confines(**request["confines"]))
    _make_way_after(QUICK_CPU_SECONDS)
    sys.stdout.write(json.dumps(_check(request)))


if __name__ == "__main__":
    main()
