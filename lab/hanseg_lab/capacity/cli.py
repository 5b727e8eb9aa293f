"""`hanseg capacity`: how many cases so many hosts do, and how long they wait."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanseg_shared.errors import OptionError
from hanseg_shared.terminal import json_option, print_event, print_table, tell

if TYPE_CHECKING:
    from hanseg_lab.capacity.figures import Waits
    from hanseg_lab.capacity.host_kinds import HostKind
    from hanseg_lab.capacity.plan import BatchPlan, DayPlan

DEFAULT_HOSTS = "1,2,3,5,10,20,50"
MOST_HOSTS = 50

SAME_HEADINGS = (
    "busy R, S %",
    "urgent waits p50, p95 s",
    "routine waits p50, p95 s",
    "late urgent, routine %",
)
DAY_HEADINGS = ("hosts", "cases in 24 h", "cases in a clinic's day", *SAME_HEADINGS)
BATCH_HEADINGS = ("hosts", "cases", "hours", *SAME_HEADINGS)


@click.command()
@click.option("--kind", default="two-cores", show_default=True, help="Kind of host.")
@click.option("--list", "list_kinds", is_flag=True, help="List the kinds, and end.")
@click.option("--hosts", default=DEFAULT_HOSTS, show_default=True, metavar="N,N,...")
@click.option(
    "--stages",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Stages as `make bench-service` measured them, in place of the kind's.",
)
@click.option(
    "--cases-a-day",
    type=click.FloatRange(1.0),
    help="What the clinic sends.  [default: the most that keeps the goal]",
)
@click.option("--batch", type=click.IntRange(1, 100_000), default=10_000)
@click.option("--urgent", type=click.FloatRange(0.0, 1.0), default=0.1)
@click.option("--owners", type=click.IntRange(1, 1000), default=3)
@click.option("--minutes", type=click.FloatRange(0.1), default=15.0, help="Limit.")
@click.option("--late", type=click.FloatRange(0.0, 1.0), default=0.01, help="Goal.")
@click.option("--seed", type=click.IntRange(0), default=0)
@json_option
def capacity(
    kind: str,
    list_kinds: bool,
    hosts: str,
    stages: Path | None,
    cases_a_day: float | None,
    batch: int,
    urgent: float,
    owners: int,
    minutes: float,
    late: float,
    seed: int,
    as_json: bool,
) -> None:
    """Simulate the service's queues on 1 to 50 hosts: cases a day, waits, late cases.

    A case is late if its results come more than --minutes after it was sent; the goal
    is that no more than the share --late is.
    """
    from hanseg_lab.capacity.plan import Goal, Planner
    from hanseg_lab.capacity.workload import Clinic

    if list_kinds:
        _list(as_json=as_json)
        return
    chosen = _find_kind(kind, stages)
    clinic = Clinic(urgent_share=urgent, owners=owners)
    goal = Goal(limit_seconds=60.0 * minutes, late_share=late)
    days, batches = [], []
    for count in _parse_hosts(hosts):
        planner = Planner(chosen, count, clinic=clinic, goal=goal, seed=seed)
        always = planner.around_the_clock()
        day = planner.plan_day(cases_a_day or planner.most_cases_a_day())
        of_batch = planner.plan_batch(batch)
        if as_json:
            _print(chosen, count, always, day, of_batch)
        day_cells = (str(count), str(always), str(day.cases_a_day))
        days.append((*day_cells, *_same_cells(day)))
        batch_cells = (str(count), str(of_batch.cases), f"{of_batch.hours:.1f}")
        batches.append((*batch_cells, *_same_cells(of_batch)))
    if not as_json:
        _print_tables(chosen, minutes, days, batches)


def _parse_hosts(text: str) -> list[int]:
    try:
        found = [int(each) for each in text.split(",")]
    except ValueError:
        found = []
    if not found or not all(1 <= each <= MOST_HOSTS for each in found):
        raise OptionError(
            f"--hosts must be numbers from 1 to {MOST_HOSTS} with commas between, "
            f"got {text!r}"
        )
    return found


def _find_kind(name: str, stages: Path | None) -> HostKind:
    from hanseg_lab.capacity.host_kinds import read_kinds

    kinds = read_kinds()
    if name not in kinds:
        raise OptionError(
            f"there is no kind of host {name!r}; there are: {', '.join(kinds)}"
        )
    return kinds[name] if stages is None else kinds[name].with_measured(stages)


def _list(*, as_json: bool) -> None:
    from hanseg_lab.capacity.host_kinds import read_kinds

    for kind in read_kinds().values():
        said = "measured" if kind.is_measured else "estimated"
        workers = f"{kind.registration} registration, {kind.segmentation} segmentation"
        sentence = f"{kind.name}: {workers} worker(s); {said}: {kind.basis}"
        tell("kind", sentence, as_json=as_json, **asdict(kind))


def _print(
    kind: HostKind, hosts: int, always: int, day: DayPlan, batch: BatchPlan
) -> None:
    print_event(
        "capacity",
        kind=kind.name,
        is_measured=kind.is_measured,
        hosts=hosts,
        cases_a_day_around_the_clock=always,
        day=asdict(day),
        batch=asdict(batch),
    )


def _same_cells(plan: DayPlan | BatchPlan) -> tuple[str, ...]:
    figures, busy = plan.figures, plan.utilisation
    late = (figures.urgent.late_share, figures.routine.late_share)
    return (
        f"{100 * busy['registration']:.0f}, {100 * busy['segmentation']:.0f}",
        _waits(figures.urgent),
        _waits(figures.routine),
        ", ".join("none" if share is None else f"{100 * share:.1f}" for share in late),
    )


def _waits(waits: Waits) -> str:
    if waits.p50_seconds is None or waits.p95_seconds is None:
        return "none"
    return f"{waits.p50_seconds:.0f}, {waits.p95_seconds:.0f}"


def _print_tables(
    kind: HostKind,
    minutes: float,
    days: list[tuple[str, ...]],
    batches: list[tuple[str, ...]],
) -> None:
    said = "measured" if kind.is_measured else "ESTIMATED"
    click.echo(f"{kind.name}: stages {said}: {kind.basis}")
    click.echo("busy: share of the time that workers are at a stage, R: registration,")
    click.echo("S: segmentation; of a clinic's day, of its 11 hours")
    click.echo(f"late: results more than {minutes:g} minutes after submission")
    print_table(DAY_HEADINGS, days, title="a clinic's day", right=DAY_HEADINGS)
    print_table(
        BATCH_HEADINGS,
        batches,
        title="a batch, and the clinic's cases meanwhile",
        right=BATCH_HEADINGS,
    )
