"""What a person sees of an evaluation on the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from hanseg_lab.evaluation.evaluation import Evaluation, number
from hanseg_lab.evaluation.paper import SOURCE
from hanseg_lab.evaluation.rank_page import beside_paper, published_wins
from hanseg_lab.evaluation.score_cases import CaseScores
from hanseg_lab.evaluation.standing import (
    MethodStanding,
    ranking_document,
    remarks,
    standing_rows,
)
from hanseg_lab.evaluation.summary import Statistics, summarise
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.terminal import print_event, print_figures


class CaseBar:
    """A progress bar over cases, on the error stream."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("cases", total=None)

    def start(self, total: int) -> None:
        """Say how many cases there are."""
        self._progress.update(self._task, total=total)

    def advance(self, done: CaseScores) -> None:
        """Count a case."""
        self._progress.update(self._task, advance=1, description=done.case)


class CaseLines:
    """One JSON line a case, on standard output."""

    def __init__(self) -> None:
        self._total, self._done = 0, 0

    def start(self, total: int) -> None:
        """Say how many cases there are."""
        self._total = total

    def advance(self, done: CaseScores) -> None:
        """Print a line about a case."""
        self._done += 1
        line = {"case": done.case, "done": self._done, "total": self._total}
        problems = {"problems": list(done.problems)} if done.problems else {}
        click.echo(json.dumps(line | problems))


@contextmanager
def case_progress(*, as_json: bool) -> Iterator[CaseBar | CaseLines]:
    """Show the cases for as long as the block runs: as a bar, or as JSON lines."""
    if as_json:
        yield CaseLines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield CaseBar(progress)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show, on the error stream, that something goes on."""
    with Console(stderr=True).status(what):
        yield


def print_evaluation(evaluation: Evaluation, out: Path, *, as_json: bool) -> None:
    """Print Dice, HD95 and surface Dice of every organ, and where the results are."""
    rows = evaluation_rows(evaluation)
    if as_json:
        headings, *cells = rows
        table = [dict(zip(headings, row, strict=True)) for row in cells]
        lines = list(evaluation.remarks)
        print_event("evaluation", organs=table, remarks=lines, out=str(out))
        return
    print_figures(rows)
    for remark in evaluation.remarks:
        click.echo(remark, err=True)
    click.echo(f"results: {out}", err=True)


def evaluation_rows(evaluation: Evaluation) -> list[list[str]]:
    """Return rows of cells, the headings first: an organ each, and all organs."""
    scores = evaluation.scores
    dice, hd95, surface = (
        summarise(scores, metric)
        for metric in (Metric.DSC, Metric.HD95, Metric.SURFACE_DSC)
    )
    rows = [["organ", "n", "DSC %", "HD95 mm", "surface DSC %", "missed"]]
    for name in [*dice.organs, "all organs"]:
        figures = [s.organs.get(name, s.overall) for s in (dice, hd95, surface)]
        rows.append(
            [
                name,
                str(figures[0].count),
                _spread(figures[0], 100.0),
                _spread(figures[1], 1.0),
                _spread(figures[2], 100.0),
                str(figures[1].infinite or ""),
            ]
        )
    return rows


def print_standing(standing: MethodStanding, out: Path, *, as_json: bool) -> None:
    """Print the ranks, what to know about them, and the published results if asked."""
    if as_json:
        print_event("ranking", out=str(out), **ranking_document(standing))
        return
    print_figures(standing_rows(standing))
    for line in remarks(standing):
        Console(stderr=True).print(line, markup=False, highlight=False)
    if standing.paper is not None:
        for table in standing.tables:
            header, *organs, overall = beside_paper(table, standing.paper)
            if not standing.paper.organs(table.metric):
                organs = []  # nothing stands beside them; the report has them
            title = f"{table.metric}, mean ± SD, beside the published results"
            print_figures([header, *organs, overall], title=title)
            print_line(published_wins(standing.paper, table.metric))
        print_line(f"published: {SOURCE}")
    click.echo(f"results: {out}", err=True)


def print_line(line: str) -> None:
    """Print a sentence, whatever characters it has."""
    Console().print(line, markup=False, highlight=False)


def _spread(figures: Statistics, factor: float) -> str:
    return f"{number(figures.mean, factor)} ± {number(figures.sd, factor)}"
