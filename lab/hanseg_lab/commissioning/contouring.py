"""Cases and phantoms sent to one service, as `hanseg batch` sends a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import click

from hanseg_shared.client.batch import (
    BatchRun,
    CaseOutcome,
    finished_cases,
)
from hanseg_shared.client.batch_console import make_batch_reporter
from hanseg_shared.client.session import open_client
from hanseg_shared.documents import JobDocument, JobOptions
from hanseg_shared.io.cases import CaseFiles

Group = tuple[Sequence[CaseFiles], Path]
"""Cases, and the folder of their results."""


def contour(
    groups: Sequence[Group],
    options: JobOptions,
    out: Path,
    url: str | None,
    *,
    as_json: bool,
) -> tuple[dict[str, JobDocument], list[CaseOutcome]]:
    """Have every case contoured that is not done yet.

    Returns:
        The jobs by case, and what became of those that have no results.
    """
    if all(_is_done(cases, options, folder) for cases, folder in groups):
        return _jobs_of(groups, options), []
    unfinished: list[CaseOutcome] = []
    service = out / ".service"
    with open_client(url, announce=_announce, data=service) as client:
        for cases, folder in groups:
            with make_batch_reporter(len(cases), as_json=as_json) as reporter:
                run = BatchRun(client, cases, options, folder, reporter.show)
                unfinished += [each for each in run.run() if not each.succeeded]
    if not unfinished:
        shutil.rmtree(service, ignore_errors=True)  # what it knew is in the results
    return _jobs_of(groups, options), unfinished


def _announce(words: str) -> None:
    click.echo(words, err=True)


def _is_done(cases: Sequence[CaseFiles], options: JobOptions, folder: Path) -> bool:
    return len(finished_cases(cases, options, folder)) == len(cases)


def _jobs_of(groups: Sequence[Group], options: JobOptions) -> dict[str, JobDocument]:
    return {
        name: job
        for cases, folder in groups
        for name, job in finished_cases(cases, options, folder).items()
    }
