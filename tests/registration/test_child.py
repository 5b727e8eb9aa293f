"""The child process: its results, its errors, and every way it may end early.

The bodies that misbehave stand in for elastix; they run in the forked child.
"""

import contextlib
import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import billiard
import pytest

from hanseg_registration import child
from hanseg_registration.child import Request, Work, register_files, run_in_child
from hanseg_registration.engines.ants import AntsEngine
from hanseg_registration.pipeline import DEFAULT_ENGINE
from hanseg_registration.progress import Progress, no_progress
from hanseg_shared.documents import MrVerdict, RegistrationReport, TransformKind
from hanseg_shared.errors import (
    ImageError,
    JobCancelledError,
    OptionError,
    ProcessLostError,
    RegistrationError,
    StoreError,
)

REPORT = RegistrationReport(verdict=MrVerdict.USED, reason="it fits")

REQUEST = Request(
    ct=Path("ct.nii.gz"),
    mr=Path("mr.nii.gz"),
    out=Path(),
    kind=TransformKind.RIGID,
    engine=DEFAULT_ENGINE,
    deadline_s=None,
)


def run(
    body: Work,
    *,
    deadline_s: float | None = None,
    memory_bytes: int | None = None,
    check: Callable[[], None] = child.no_check,
    progress: Progress = no_progress,
) -> RegistrationReport:
    return run_in_child(
        body,
        REQUEST,
        deadline_s=deadline_s,
        memory_bytes=memory_bytes,
        check=check,
        progress=progress,
    )


def succeed(request: Request, progress: Progress) -> RegistrationReport:
    progress(0.5)
    return REPORT


def hang(request: Request, progress: Progress) -> RegistrationReport:
    progress(0.1)
    signal.pause()
    return REPORT


def raises(error: Exception) -> Work:
    def body(request: Request, progress: Progress) -> RegistrationReport:
        raise error

    return body


def kills_itself_with(number: signal.Signals) -> Work:
    def body(request: Request, progress: Progress) -> RegistrationReport:
        faulthandler.disable()  # this crash is wanted: its stack would only alarm
        os.kill(os.getpid(), number)
        signal.pause()
        return REPORT

    return body


class Cancel:
    """Cancels once the child has begun, and remembers its process id."""

    def __init__(self) -> None:
        self.pid: int | None = None

    def __call__(self) -> None:
        (process,) = billiard.active_children()
        self.pid = process.pid
        raise JobCancelledError("job 1 was cancelled")


def is_running(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_what_the_child_returns_is_returned():
    assert run(succeed) == REPORT


def test_the_childs_progress_reaches_the_parent():
    seen: list[float] = []
    run(succeed, progress=seen.append)
    assert seen == [0.5]


def test_a_cancel_kills_the_child():
    cancel = Cancel()
    with pytest.raises(JobCancelledError, match="job 1 was cancelled"):
        run(hang, check=cancel)
    assert cancel.pid is not None
    assert not is_running(cancel.pid)


def test_a_deadline_kills_the_child():
    started = time.monotonic()
    with pytest.raises(RegistrationError, match=r"stopped after 0.3 s, its time limit"):
        run(hang, deadline_s=0.3)
    assert time.monotonic() - started < 5.0
    assert billiard.active_children() == []


def test_a_child_that_is_killed_is_told_as_lack_of_memory():
    with pytest.raises(
        ProcessLostError, match=r"signal 9 \(SIGKILL\); memory may have"
    ):
        run(kills_itself_with(signal.SIGKILL))


@pytest.mark.parametrize("number", [signal.SIGSYS, signal.SIGBUS, signal.SIGTERM])
def test_a_child_that_crashes_is_told_with_its_signal(number):
    with pytest.raises(ProcessLostError, match=rf"\({number.name}\)$"):
        run(kills_itself_with(number))


def test_a_child_that_leaves_is_told_with_its_status():
    def leave(request: Request, progress: Progress) -> RegistrationReport:
        os._exit(7)

    with pytest.raises(RegistrationError, match="ended with status 7"):
        run(leave)


def test_an_error_of_ours_keeps_its_kind_and_sentence():
    with pytest.raises(ImageError, match="the CT is no image"):
        run(raises(ImageError("the CT is no image")))


def test_an_unexpected_error_becomes_a_registration_error():
    with pytest.raises(RegistrationError, match=r"unexpectedly: ZeroDivisionError"):
        run(raises(ZeroDivisionError("division by zero")))


def test_a_lack_of_memory_is_told():
    with pytest.raises(ProcessLostError, match="ran out of memory"):
        run(raises(MemoryError()))


def test_what_a_library_prints_in_the_child_is_not_shown(capfd):
    def chatter(request: Request, progress: Progress) -> RegistrationReport:
        os.write(1, b"Writing image ...\n")
        return REPORT

    run(chatter)
    assert capfd.readouterr() == ("", "")


def test_a_child_dies_with_its_parent():
    """A grandchild is started by a child that is then killed without a chance.

    The child is a daemon, as the child of a Celery worker is.
    """
    receiver, sender = billiard.Pipe(duplex=False)

    def parent() -> None:
        def tell(request: Request, progress: Progress) -> RegistrationReport:
            sender.send(os.getpid())
            signal.pause()
            return REPORT

        run(tell)

    middle = billiard.context.ForkProcess(target=parent, daemon=True)
    middle.start()
    assert receiver.poll(10)
    grandchild = receiver.recv()
    assert middle.pid is not None
    os.kill(middle.pid, signal.SIGKILL)
    middle.join(10)
    assert _gone(grandchild)


def _gone(pid: int) -> bool:
    """Whether a process ends soon; a zombie that nobody waits for has ended."""
    fd = os.pidfd_open(pid)
    try:
        return bool(billiard.connection.wait([fd], 10))
    finally:
        os.close(fd)


def test_results_appear_together(tmp_path, files, monkeypatch):
    ct, mr = files
    out = tmp_path / "out"
    out.mkdir()

    def write_two_then_die(request: Request, progress: Progress) -> None:
        (request.out / "transform.tfm").write_text("half")
        os._exit(1)

    monkeypatch.setattr(child, "work", write_two_then_die)
    with pytest.raises(RegistrationError):
        register_files(ct, mr, out)
    assert list(out.iterdir()) == []


def test_what_an_engine_cannot_do_is_refused_before_a_child_is_started(tmp_path):
    with pytest.raises(OptionError, match="deformable registration is not available"):
        register_files(
            Path("ct.nii"),
            Path("mr.nii"),
            tmp_path,
            kind=TransformKind.DEFORMABLE,
            engine=AntsEngine(),
        )


@pytest.mark.elastix
def test_files_are_registered_in_a_child(tmp_path, files):
    ct, mr = files
    out = tmp_path / "out"
    out.mkdir()
    seen: list[float] = []
    report = register_files(
        ct, mr, out, deadline_s=120.0, remarks=("far away",), progress=seen.append
    )
    assert report.verdict is MrVerdict.USED
    written = (out / "registration.json").read_text()
    assert RegistrationReport.model_validate_json(written) == report
    assert report.remarks == ("far away",)
    assert seen[-1] == 1.0
    assert sorted(path.name for path in out.iterdir()) == [
        "field_of_view.nii.gz",
        "registered_mr.nii.gz",
        "registration.json",
        "registration_checkerboard.png",
        "registration_edges.png",
        "transform.tfm",
    ]


def test_an_unreadable_image_is_named(tmp_path, files):
    _, mr = files
    text = tmp_path / "notes.txt"
    text.write_text("no image")
    with pytest.raises(ImageError, match=r"notes\.txt"):
        register_files(text, mr, tmp_path)


def test_a_full_disk_is_no_verdict_on_the_mr():
    with pytest.raises(StoreError, match="No space left"):
        run(raises(OSError(28, "No space left on device")))


def fill_and_hang(request: Request, progress: Progress) -> RegistrationReport:
    kept = bytearray(b"x") * (96 << 20)
    progress(0.2)
    signal.pause()
    progress(len(kept))
    return REPORT


def test_a_child_that_holds_too_much_memory_is_stopped_with_a_reason():
    with pytest.raises(RegistrationError, match=r"it held .* GB of memory, more than"):
        run(fill_and_hang, memory_bytes=96 << 20)


def test_a_child_within_its_memory_is_left_alone():
    assert run(succeed, memory_bytes=100 << 30) == REPORT
