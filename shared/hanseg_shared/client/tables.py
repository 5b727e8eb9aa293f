"""A finished job as a table: what became of the MR and of each of the 30 organs."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from hanseg_shared.documents import JobDocument, OrganResult
from hanseg_shared.organs import Evidence, OrganStatus

COLOURS = {
    OrganStatus.CONTOURED: "green",
    OrganStatus.LOW_CONFIDENCE: "yellow",
    OrganStatus.EMPTY: "red",
    OrganStatus.OUTSIDE_FIELD_OF_VIEW: "dim",
    OrganStatus.NOT_IN_MODEL: "dim",
}
"""How each status is shown."""


UNPROVEN = "*"
"""Mark of an organ that only simulated patients taught the model."""


def print_organs(job: JobDocument, *, console: Console | None = None) -> None:
    """Print the 30 organs, the MR's verdict, the model and the stage times."""
    console = console or Console()
    console.print(organ_table(job))
    if any(organ.evidence is Evidence.PHANTOM for organ in job.organs):
        console.print(f"{UNPROVEN} taught by simulated patients alone", style="dim")
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
    table = Table("", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in ("organ", "status"):
        table.add_column(heading, no_wrap=True)
    table.add_column("ml", justify="right", no_wrap=True)
    table.add_column("flags", overflow="fold")
    for organ in job.organs:
        table.add_row(*_row(organ))
    return table


def _row(organ: OrganResult) -> tuple[str, ...]:
    colour = COLOURS[organ.status]
    return (
        str(organ.label),
        organ.name + (UNPROVEN if organ.evidence is Evidence.PHANTOM else ""),
        f"[{colour}]{organ.status.value}[/]",
        f"{organ.volume_ml:.2f}" if organ.volume_ml else "",
        ", ".join(flag.words for flag in organ.flags),
    )
