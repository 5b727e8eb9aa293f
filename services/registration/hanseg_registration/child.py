"""A registration in a child process that can be killed.

elastix is C++ that cannot be asked to stop and may need more memory than there is. It
therefore runs in a forked child (of billiard: the standard library's is forbidden in a
Celery worker) while the parent checks the time, the memory and whether the job is still
wanted, and turns whatever happens to the child into a result or one clear error.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import billiard
from billiard.connection import Connection
from billiard.context import ForkProcess

from hanseg_registration.engines.interface import Engine
from hanseg_registration.faults import as_fault, death_by_signal
from hanseg_registration.geometry.motions import Motion
from hanseg_registration.pictures import add_pictures
from hanseg_registration.pipeline import DEFAULT_ENGINE, register
from hanseg_registration.progress import Progress, no_progress
from hanseg_shared.available import require_available
from hanseg_shared.documents import RegistrationReport, TransformKind
from hanseg_shared.errors import HansegError, ProcessLostError, RegistrationError
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.jobs.leash import die_with_parent
from hanseg_shared.memory_limits import gigabytes, tree_held_bytes

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2
"""How often the parent checks whether to go on."""

JOIN_SECONDS = 10
"""How long a killed or finished child may take to end."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the child is asked to do; as paths, since volumes are too large to send."""

    ct: Path
    mr: Path
    out: Path
    kind: TransformKind
    engine: Engine
    deadline_s: float | None
    given: Motion | None = None
    remarks: tuple[str, ...] = ()


def no_check() -> None:
    """Never stop the work."""


def register_files(
    ct: Path,
    mr: Path,
    out: Path,
    *,
    kind: TransformKind = TransformKind.RIGID,
    given: Motion | None = None,
    engine: Engine = DEFAULT_ENGINE,
    deadline_s: float | None = None,
    memory_bytes: int | None = None,
    remarks: tuple[str, ...] = (),
    check: Callable[[], None] = no_check,
    progress: Progress = no_progress,
) -> RegistrationReport:
    """Register one file to another in a child, and write the results to a folder.

    Args:
        ct: The planning CT.
        mr: The T1 MR.
        out: A folder that exists. It receives all files of the result or none.
        kind: Which motion may be found.
        given: A registration that is used instead of a search; see
            `hanseg_registration.pipeline.register`.
        engine: The library that finds it.
        deadline_s: Time after which the child is killed.
        memory_bytes: Memory beyond which the child is killed, with what it started.
        remarks: Findings of the check of the images, for the report.
        check: Called while the child works; what it raises kills the child and is
            raised again.
        progress: Called with the share of the work that is done; may raise likewise.

    Raises:
        InputError: An image cannot be used, or an option is not available.
        RegistrationError: It cannot be computed, or took too much time or memory.
        ProcessLostError: The child was killed, or had too little memory.
        StoreError: The disk is full.
    """
    if given is None:
        require_available(kind, engine.backend)
    with tempfile.TemporaryDirectory(prefix=".registration-", dir=out) as scratch:
        folder = Path(scratch)
        request = Request(
            ct, mr, folder, kind, engine, deadline_s, given=given, remarks=remarks
        )
        report = run_in_child(
            work,
            request,
            deadline_s=deadline_s,
            memory_bytes=memory_bytes,
            check=check,
            progress=progress,
        )
        for path in sorted(folder.iterdir()):
            path.rename(out / path.name)
    return report


def work(request: Request, progress: Progress) -> RegistrationReport:
    """Do what a request asks for, in this process."""
    ct, mr = read_ct(request.ct), read_mr(request.mr)
    progress(0.05)
    registration = register(
        ct,
        mr,
        kind=request.kind,
        given=request.given,
        engine=request.engine,
        deadline_s=request.deadline_s,
        progress=lambda done: progress(0.05 + 0.85 * done),
    )
    report = registration.report.model_copy(update={"remarks": request.remarks})
    registration = replace(registration, report=report)
    registration = add_pictures(request.out, ct, registration)
    registration.write(request.out)
    progress(1.0)
    return registration.report


Work = Callable[[Request, Progress], RegistrationReport]
Message = float | RegistrationReport | Exception


def run_in_child(
    body: Work,
    request: Request,
    *,
    deadline_s: float | None,
    memory_bytes: int | None = None,
    check: Callable[[], None],
    progress: Progress,
) -> RegistrationReport:
    """Run a function of a request in a child and return what it returns.

    Raises:
        RegistrationError: The child ended without an answer, or took too much.
        ProcessLostError: The child was killed.
        HansegError: Whatever of its kind the function raised.
    """
    receiver, sender = billiard.Pipe(duplex=False)
    child = ForkProcess(
        target=_run_child, args=(body, request, sender, os.getpid()), daemon=True
    )
    started = time.monotonic()
    child.start()
    sender.close()  # so that a dead child reads as the end of the pipe
    try:
        return _watch(
            child,
            receiver,
            lambda: _require_within(child, started, deadline_s, memory_bytes),
            check,
            progress,
        )
    finally:
        _kill(child)
        receiver.close()


def _watch(
    child: ForkProcess,
    receiver: Connection,
    require_within: Callable[[], None],
    check: Callable[[], None],
    progress: Progress,
) -> RegistrationReport:
    while True:
        message = _next_message(receiver, child)
        if isinstance(message, RegistrationReport):
            return message
        if isinstance(message, Exception):
            raise message
        if isinstance(message, float):
            progress(message)
        check()
        require_within()


def _require_within(
    child: ForkProcess,
    started: float,
    deadline_s: float | None,
    memory_bytes: int | None,
) -> None:
    """Raise if a child has used up its time, or holds more memory than allowed."""
    if deadline_s is not None and time.monotonic() - started > deadline_s:
        raise RegistrationError(
            f"the registration was stopped after {deadline_s:g} s, its time limit"
        )
    if memory_bytes is None or child.pid is None:
        return
    held = tree_held_bytes(child.pid)
    if held > memory_bytes:
        raise RegistrationError(
            f"the registration was stopped: it held {gigabytes(held)} of memory, more "
            f"than the {gigabytes(memory_bytes)} allowed"
        )


def _next_message(receiver: Connection, child: ForkProcess) -> Message | None:
    """Wait a moment for the child's next message; None if there was none.

    Raises:
        RegistrationError: The child has ended.
        ProcessLostError: The child was killed.
    """
    if not receiver.poll(POLL_SECONDS):
        return None
    try:
        message: Message = receiver.recv()
    except (EOFError, OSError):
        child.join(JOIN_SECONDS)
        raise _explain_death(child.exitcode) from None
    return message


def _explain_death(exitcode: int | None) -> HansegError:
    """Return the error for a child that ended without an answer."""
    name = "the registration's process"
    if exitcode is None:
        return ProcessLostError(f"{name} fell silent and was stopped")
    if exitcode < 0:
        return death_by_signal(name, -exitcode)
    return RegistrationError(f"{name} ended with status {exitcode}")


def _kill(child: ForkProcess) -> None:
    """Make sure that a child is gone."""
    if child.pid is not None and child.is_alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    child.join(JOIN_SECONDS)
    if child.is_alive():
        logger.error("process %d does not die", child.pid)


def _run_child(body: Work, request: Request, sender: Connection, parent: int) -> None:
    """Work in the child, and send progress, then the report or the error."""
    _detach(parent)
    try:
        message: Message = body(request, sender.send)
    except Exception as error:  # noqa: BLE001 - sent to the parent
        message = as_fault(error)
    sender.send(message)
    sender.close()


def _detach(parent: int) -> None:
    """Die with the parent, handle signals as a plain process does, print nothing.

    The C++ of elastix writes to standard output whatever is set for its log; what
    Python prints about a failure goes to the error stream.
    """
    die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.close(silence)
