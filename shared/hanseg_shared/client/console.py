"""What is shown of a job: a bar for a person, one JSON line a step for a script."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

from hanseg_shared.documents import JobDocument, JobState
from hanseg_shared.terminal import print_event

STAGE_SHARES = {
    JobState.QUEUED: (0.0, 0.0),
    JobState.REGISTERING: (0.0, 0.35),
    JobState.SEGMENTING: (0.35, 0.8),
    JobState.PACKAGING: (0.8, 1.0),
}
"""Where each stage begins and ends on the bar."""


class Shown(Protocol):
    """Shows sentences; a context manager for the time something is shown."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None:
        """Show a sentence."""


class Reporter(Shown, Protocol):
    """Shows how a job goes."""

    def show(self, job: JobDocument) -> None:
        """Show where the job stands."""


class Bar:
    """A progress bar on the terminal's error stream, with sentences above it."""

    def __init__(self, *columns: ProgressColumn) -> None:
        self._progress = Progress(*columns, console=Console(stderr=True))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Print a sentence above the bar."""
        self._progress.console.print(
            line, highlight=False, markup=False, soft_wrap=True
        )


class Lines:
    """One JSON object a line on standard output."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None

    def say(self, line: str) -> None:
        """Print a sentence as an event."""
        print_event("message", message=line)


class BarReporter(Bar):
    """A job as a bar."""

    def __init__(self, label: str) -> None:
        super().__init__(
            TextColumn(label, markup=False),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
        )
        self._task = self._progress.add_task("waiting", total=1.0)

    def show(self, job: JobDocument) -> None:
        """Move the bar."""
        self._progress.update(
            self._task, completed=share_done(job), description=job.state.value
        )


class JsonReporter(Lines):
    """A job as events."""

    def show(self, job: JobDocument) -> None:
        """Print the job's state and progress."""
        event: dict[str, object] = {
            "id": job.id,
            "state": job.state.value,
            "progress": round(share_done(job), 3),
        }
        if job.mr_verdict is not None:
            event["mr_verdict"] = job.mr_verdict.value
        if job.remarks:
            event["remarks"] = list(job.remarks)
        print_event("job", **event)


def make_reporter(label: str, *, as_json: bool) -> Reporter:
    """Return what shows the progress of one command."""
    return JsonReporter() if as_json else BarReporter(label)


def share_done(job: JobDocument) -> float:
    """Return the share of the whole job that is done, 0..1."""
    if job.state.is_final:
        return 1.0
    start, stop = STAGE_SHARES[job.state]
    done = job.progress.done if job.progress is not None else 0.0
    return start + done * (stop - start)
