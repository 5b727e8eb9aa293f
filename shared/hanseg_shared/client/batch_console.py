"""What is shown of a batch: a bar for a person, one JSON line a case for a script."""

from __future__ import annotations

from typing import Protocol

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hanseg_shared.client.batch import Batch
from hanseg_shared.client.console import Bar, Lines, Shown, share_done
from hanseg_shared.io.cases import PassedOver


class BatchReporter(Shown, Protocol):
    """Shows how a batch goes."""

    def pass_over(self, each: PassedOver) -> None:
        """Tell of a file that may be a CT and was not taken for one."""

    def show(self, batch: Batch) -> None:
        """Show where the batch stands."""


class BatchBar(Bar):
    """A batch as a bar."""

    def __init__(self, total: int) -> None:
        super().__init__(
            TextColumn("cases"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._task = self._progress.add_task("", total=total)
        self._told: set[str] = set()

    def pass_over(self, each: PassedOver) -> None:
        """Print a line."""
        self.say(f"passed over {each.name}: {each.reason}")

    def show(self, batch: Batch) -> None:
        """Move the bar: finished cases, and the shares of those under way."""
        for name, outcome in batch.outcomes.items():
            if outcome.remarks and name not in self._told:
                self.say(f"{name}: remark: {outcome.remarks}")
            self._told.add(name)
        parts = sum(share_done(job) for job in batch.in_flight.values())
        failed = sum(not outcome.succeeded for outcome in batch.outcomes.values())
        self._progress.update(
            self._task,
            completed=int(len(batch.outcomes) + parts),
            description=f"{len(batch.in_flight)} under way, {failed} failed",
        )


class BatchLines(Lines):
    """A batch as events, one for each case that ends."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def pass_over(self, each: PassedOver) -> None:
        """Print an event."""
        self.print_event(
            {"event": "passed over", "file": each.name, "reason": each.reason}
        )

    def show(self, batch: Batch) -> None:
        """Print the cases that ended since the last call."""
        for name, outcome in batch.outcomes.items():
            if name not in self._told:
                self._told.add(name)
                self.print_event(
                    {
                        "event": "case",
                        "case": name,
                        "state": outcome.state,
                        "job": outcome.job,
                        "reason": outcome.reason,
                        "remarks": outcome.remarks,
                    }
                )


def make_batch_reporter(total: int, *, as_json: bool) -> BatchReporter:
    """Return what shows the progress of a batch of `total` cases."""
    return BatchLines() if as_json else BatchBar(total)
