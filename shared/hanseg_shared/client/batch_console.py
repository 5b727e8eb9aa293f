"""What a person, or a script, sees of a batch."""

from __future__ import annotations

import json
import sys
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hanseg_shared.client.batch import Batch
from hanseg_shared.client.console import share_done


class BatchReporter(Protocol):
    """Shows how a batch goes; a context manager for the time it is shown."""

    def __enter__(self) -> BatchReporter: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None:
        """Show a sentence."""

    def show(self, batch: Batch) -> None:
        """Show where the batch stands."""


class BatchBar:
    """A progress bar on the terminal's error stream."""

    def __init__(self, total: int) -> None:
        self._progress = Progress(
            TextColumn("cases"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> BatchBar:
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
        self._progress.console.print(line, highlight=False)

    def show(self, batch: Batch) -> None:
        """Move the bar: finished cases, and the shares of those under way."""
        parts = sum(share_done(job) for job in batch.in_flight.values())
        failed = sum(not outcome.succeeded for outcome in batch.outcomes.values())
        self._progress.update(
            self._task,
            completed=int(len(batch.outcomes) + parts),
            description=f"{len(batch.in_flight)} under way, {failed} failed",
        )


class BatchLines:
    """One JSON object a line on standard output, for each case that ends."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __enter__(self) -> BatchLines:
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
        self._print({"event": "message", "message": line})

    def show(self, batch: Batch) -> None:
        """Print the cases that ended since the last call."""
        for name, outcome in batch.outcomes.items():
            if name not in self._told:
                self._told.add(name)
                self._print(
                    {
                        "event": "case",
                        "case": name,
                        "state": outcome.state,
                        "job": outcome.job,
                        "reason": outcome.reason,
                    }
                )

    @staticmethod
    def _print(event: dict[str, str]) -> None:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()


def make_batch_reporter(total: int, *, as_json: bool) -> BatchReporter:
    """Return what shows the progress of a batch of `total` cases."""
    return BatchLines() if as_json else BatchBar(total)
