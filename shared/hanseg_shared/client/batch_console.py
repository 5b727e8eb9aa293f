"""What is shown of a batch: a bar for a person, one JSON line a case for a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

import click
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hanseg_shared.client.batch import BatchProgress, CaseOutcome, count_outcomes
from hanseg_shared.client.console import Bar, Lines, Shown
from hanseg_shared.io.cases import PassedOver
from hanseg_shared.terminal import print_event, print_table


class BatchReporter(Shown, Protocol):
    """Shows how a batch goes."""

    def pass_over(self, each: PassedOver) -> None:
        """Report a file that may be a CT and was not taken for one."""

    def show(self, batch: BatchProgress) -> None:
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

    def show(self, batch: BatchProgress) -> None:
        """Move the bar, which counts the cases that have ended."""
        for name, outcome in batch.outcomes.items():
            if outcome.remarks and name not in self._told:
                self.say(f"{name}: remark: {outcome.remarks}")
            self._told.add(name)
        failed = sum(not outcome.succeeded for outcome in batch.outcomes.values())
        self._progress.update(
            self._task,
            completed=len(batch.outcomes),
            description=f"{len(batch.in_flight)} under way, {failed} failed",
        )


class BatchLines(Lines):
    """A batch as events, one for each case that ends."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def pass_over(self, each: PassedOver) -> None:
        """Print an event."""
        print_event("passed over", file=each.name, reason=each.reason)

    def show(self, batch: BatchProgress) -> None:
        """Print the cases that ended since the last call."""
        for name, outcome in batch.outcomes.items():
            if name not in self._told:
                self._told.add(name)
                print_event("case", **asdict(outcome))


def print_outcomes(
    outcomes: Sequence[CaseOutcome], out: Path, *, as_json: bool
) -> None:
    """Print what became of every case of a batch, and why some have no results."""
    counts = count_outcomes(outcomes)
    if as_json:
        print_event("batch", cases=len(outcomes), states=counts, out=str(out))
        return
    headings = ("case", "state", "MR", "organs", "flags", "seconds")
    print_table(headings, map(_row, outcomes), right=headings[3:])
    for outcome in outcomes:
        if outcome.reason:
            click.echo(f"{outcome.case}: {outcome.state}: {outcome.reason}")
    told = ", ".join(f"{count} {state}" for state, count in counts.items())
    click.echo(f"{len(outcomes)} cases: {told}; results: {out}")


def _row(outcome: CaseOutcome) -> tuple[str, ...]:
    if not outcome.succeeded:
        return outcome.case, outcome.state, outcome.mr_verdict, "", "", ""
    return (
        outcome.case,
        outcome.state,
        outcome.mr_verdict,
        str(outcome.organs_found),
        str(outcome.flags_found or ""),
        f"{outcome.seconds:.0f}",
    )


def make_batch_reporter(total: int, *, as_json: bool) -> BatchReporter:
    """Return what shows the progress of a batch of `total` cases."""
    return BatchLines() if as_json else BatchBar(total)
