"""A finished job as a table: what became of the MR and of each of the 30 organs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hanseg_shared.documents import JobDocument, OrganResult
from hanseg_shared.organs import Evidence, OrganStatus
from hanseg_shared.terminal import minute_of, print_table, table_of

COLOURS = {
    OrganStatus.CONTOURED: "green",
    OrganStatus.LOW_CONFIDENCE: "yellow",
    OrganStatus.EMPTY: "red",
    OrganStatus.OUTSIDE_FIELD_OF_VIEW: "dim",
    OrganStatus.NOT_IN_MODEL: "dim",
}
"""How each status is shown."""


UNPROVEN = "*"
"""Mark of an organ that the model learned from simulated patients alone."""


def print_organs(job: JobDocument, *, console: Console | None = None) -> None:
    """Print the 30 organs, the MR's verdict, the model and the stage times."""
    console = console or Console()
    console.print(organ_table(job))
    if any(organ.evidence is Evidence.PHANTOM for organ in job.organs):
        console.print(f"{UNPROVEN} learned from simulated patients alone", style="dim")
    if job.registration is not None:
        console.print(job.registration.sentence, highlight=False, markup=False)
    if job.model is not None:
        console.print(f"model: {job.model.name} {job.model.version}", highlight=False)
    for remark in job.remarks:
        console.print(f"remark: {remark}", highlight=False, markup=False)
    times = ", ".join(f"{stage.name} {stage.seconds:.1f} s" for stage in job.stages)
    console.print(f"stages: {times}", highlight=False)


def organ_table(job: JobDocument) -> Table:
    """Return the table of the 30 organs."""
    headings = ("", "organ", "status", "ml", "flags")
    return table_of(headings, map(_row, job.organs), right=("ml",), whole=headings[1:4])


def print_job(job: JobDocument) -> None:
    """Print where a job stands, and its organs if it has some."""
    for line in _lines_of(job):
        click.echo(line)
    if job.organs:
        print_organs(job)


def print_jobs(jobs: Sequence[JobDocument]) -> None:
    """Print jobs: the whole id of each, its state, when it was created, its case."""
    rows = [
        (each.id, f"{each.state} {minute_of(each.created_at)}", each.case or "")
        for each in jobs
    ]
    print_table(("job", "state, created (UTC)", "case"), rows, whole=("job",))


def _lines_of(job: JobDocument) -> Iterator[str]:
    yield f"job {job.id}: {job.state}"
    if job.progress is not None:
        yield f"{job.progress.stage}: {job.progress.done:.0%} done"
    if job.error is not None:
        yield f"why: {job.error.detail or job.error.title}"
    if job.case is not None:
        yield f"case: {job.case}"
    if job.batch is not None:
        yield f"batch: {job.batch}"
    yield f"created: {minute_of(job.created_at)} UTC"


def _row(organ: OrganResult) -> tuple[str | Text, ...]:
    return (
        str(organ.label),
        organ.name + (UNPROVEN if organ.evidence is Evidence.PHANTOM else ""),
        Text(organ.status.value, style=COLOURS[organ.status]),
        f"{organ.volume_ml:.2f}" if organ.volume_ml else "",
        ", ".join(flag.words for flag in organ.flags),
    )
