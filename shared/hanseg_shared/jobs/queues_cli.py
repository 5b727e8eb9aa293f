"""`hanseg queues`, `hanseg drain` and `hanseg undrain`: the queues and their workers.

They work on the service's database, from any machine that reaches it.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanseg_shared.errors import OptionError
from hanseg_shared.jobs.keys_cli import account, data_option, moment_text, opened_tables
from hanseg_shared.terminal import json_option, print_event, table_of

if TYPE_CHECKING:
    from hanseg_shared.jobs.record import WorkerStatus
    from hanseg_shared.jobs.tables.drains import Drain
    from hanseg_shared.jobs.tables.tables import Tables

MOST_LETTERS = 20
"""How many dead letters are shown, the newest."""

LOOK_SECONDS = 1.0
"""How often `hanseg drain --wait` looks whether a worker still works."""


@click.command()
@data_option
@json_option
def queues(data: Path | None, as_json: bool) -> None:
    """Show what waits, who works, what is drained, and what the broker gave up."""
    with opened_tables(data) as tables:
        found = {
            "waiting": _list_waiting(tables),
            "workers": _list_workers(tables),
            "drains": [_drain_row(each) for each in tables.drains.list()],
            "dead_letters": _list_letters(tables),
        }
    if as_json:
        print_event("queues", **found)
        return
    from rich.console import Console

    for title, rows in found.items():
        if rows:
            shown = [[_cell(value) for value in row.values()] for row in rows]
            headings = [name.replace("_", " ") for name in rows[0]]
            named = title.replace("_", " ")
            Console().print(table_of(headings, shown, title=named))
        else:
            click.echo(f"no {title.replace('_', ' ')}")


@click.command()
@click.argument("names", metavar="[HOST|WORKER]...", nargs=-1)
@click.option("--wait", is_flag=True, help="Return when the last job there is done.")
@data_option
@json_option
def drain(names: tuple[str, ...], wait: bool, data: Path | None, as_json: bool) -> None:
    """Have hosts or workers finish their jobs, take no other, and end.

    Without a name, this host. A worker that is started on a drained host waits, until
    `hanseg undrain`. `hanseg queues` names the workers; one is HOST-PROCESS.
    """
    chosen = names or (socket.gethostname(),)
    with opened_tables(data) as tables:
        for name in chosen:
            begun = tables.drains.begin(name)
            if begun:
                _record(tables, "begin_drain", name)
            _tell("drained", name, changed=begun, as_json=as_json)
        while wait and (busy := _list_busy(tables, chosen)):
            click.echo(f"{', '.join(busy)} still at work or stopping", err=True)
            time.sleep(LOOK_SECONDS)


@click.command()
@click.argument("names", metavar="[HOST|WORKER]...", nargs=-1)
@data_option
@json_option
def undrain(names: tuple[str, ...], data: Path | None, as_json: bool) -> None:
    """Let hosts or workers take jobs again; without a name, this host.

    Raises:
        OptionError: One is not drained.
    """
    with opened_tables(data) as tables:
        for name in names or (socket.gethostname(),):
            if not tables.drains.end(name):
                raise OptionError(
                    f"{name} is not drained; `hanseg queues` says what is"
                )
            _record(tables, "end_drain", name)
            _tell("undrained", name, changed=True, as_json=as_json)


def _tell(what: str, name: str, *, changed: bool, as_json: bool) -> None:
    if as_json:
        print_event(what, name=name, changed=changed)
    elif what == "drained":
        already = "" if changed else "already "
        click.echo(f"{name} is {already}drained: its workers finish their jobs and end")
    else:
        click.echo(f"{name} takes jobs again")


def _record(tables: Tables, what: str, name: str) -> None:
    from hanseg_shared.jobs.audit import Event

    tables.audit.record(Event(what, account(), subject=name))


def _list_busy(tables: Tables, drained: Sequence[str]) -> list[str]:
    """Return the live workers that a drain has not ended yet.

    One that waits until its host is undrained reports it, and has nothing to end.
    """
    from hanseg_shared.jobs.pulse import ALIVE_SECONDS
    from hanseg_shared.jobs.tables.drains import Drain

    drains = [Drain(name, 0.0) for name in drained]
    return [
        status.name
        for status in tables.workers.statuses()
        if status.silent_seconds <= ALIVE_SECONDS
        and not _waits(status)
        and any(each.concerns(status.name) for each in drains)
    ]


def _waits(status: WorkerStatus) -> bool:
    from hanseg_shared.jobs.worker_child import WAITS

    return status.trouble == WAITS


def _list_waiting(tables: Tables) -> list[dict[str, Any]]:
    counts = tables.outbox.count_by_priority()
    ages = tables.outbox.longest_waits()
    return [
        {
            "stage": stage.state.value,
            "priority": priority.value,
            "jobs": count,
            "oldest_seconds_of_stage": round(ages[stage]),
        }
        for (stage, priority), count in counts.items()
    ]


def _list_workers(tables: Tables) -> list[dict[str, Any]]:
    drains = tables.drains.list()
    return [
        {
            "worker": status.name,
            "queue": status.queue,
            "state": _state(status, drains),
            "silent_seconds": round(status.silent_seconds),
            "trouble": status.trouble or "",
        }
        for status in tables.workers.statuses()
    ]


def _state(status: WorkerStatus, drains: Sequence[Drain]) -> str:
    from hanseg_shared.jobs.tables.drains import stand_of

    return stand_of(status, drains)


def _drain_row(drain: Drain) -> dict[str, Any]:
    return {"name": drain.name, "since": moment_text(drain.since)}


def _list_letters(tables: Tables) -> list[dict[str, Any]]:
    return [
        {
            "at": moment_text(kept.at),
            "queue": kept.letter.queue,
            "reason": kept.letter.reason,
            "task": kept.letter.task or "",
            "job": kept.letter.job_id or "",
        }
        for kept in tables.dead_letters.list(limit=MOST_LETTERS)
    ]


def _cell(value: object) -> str:
    return str(value)
