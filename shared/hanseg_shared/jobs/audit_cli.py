"""`hanseg audit`: shows the audit log, checks that it is whole, and exports it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hanseg_shared.errors import HansegError, OptionError
from hanseg_shared.privacy import open_private
from hanseg_shared.settings import read_settings
from hanseg_shared.terminal import json_option, print_event

if TYPE_CHECKING:
    from hanseg_shared.jobs.tables.audit import AuditTable


class AuditFaultError(HansegError):
    """The audit log is not what was written."""


_data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="The service's data folder.  [default: ~/.local/share/hanseg]",
)

_COLUMNS = ("position", "at", "who", "key", "from", "what", "on", "outcome")


@click.group()
def audit() -> None:
    """See who did what: submissions, downloads, deletions, keys, settings."""


@audit.command("list")
@_data_option
@click.option("--job", help="Only entries about this job, upload or batch.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=50,
    show_default=True,
    help="The last entries only.",
)
@json_option
def list_entries(data: Path | None, job: str | None, limit: int, as_json: bool) -> None:
    """List the newest entries, oldest of them first."""
    from rich.console import Console

    from hanseg_shared.terminal import table_of

    with _open_log(data) as log:
        found = [_read(entry.line) for entry in log.list_entries()]
    chosen = [each for each in found if job is None or each.get("on") == job][-limit:]
    if as_json:
        for each in chosen:
            print_event("entry", **each)
        return
    rows = [tuple(_show(name, each.get(name)) for name in _COLUMNS) for each in chosen]
    Console().print(table_of(_COLUMNS, rows, right=("position",)))


@audit.command()
@_data_option
@json_option
def verify(data: Path | None, as_json: bool) -> None:
    """Check that no entry was changed, removed, inserted or cut off."""
    with _open_log(data) as log:
        fault = log.find_fault()
        count = sum(1 for _ in log.list_entries())
    if fault is not None:
        raise AuditFaultError(f"the audit log is not whole: {fault}")
    if as_json:
        print_event("verified", entries=count)
    else:
        click.echo(f"the audit log is whole: {count} entries")


@audit.command()
@_data_option
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@json_option
def export(data: Path | None, file: Path, as_json: bool) -> None:
    """Write all entries to FILE, a line of JSON each with its hash."""
    if file.exists():
        raise OptionError(f"{file} is there already; name a new file")
    with _open_log(data) as log, open(file, "x", opener=open_private) as sink:
        count = 0
        for entry in log.list_entries():
            sink.write(json.dumps({"hash": entry.hash, "line": entry.line}) + "\n")
            count += 1
    if as_json:
        print_event("exported", entries=count, file=str(file))
    else:
        click.echo(f"{count} entries are in {file}")


@contextmanager
def _open_log(data: Path | None) -> Iterator[AuditTable]:
    from hanseg_shared.jobs.services import open_tables

    settings = read_settings()
    if data is not None:
        settings = settings.model_copy(update={"data": data.resolve()})
    if (
        settings.database_url is None
        and not settings.data.joinpath("jobs.sqlite").is_file()
    ):
        raise OptionError(
            f"there is no service's database in {settings.data}; name its folder with "
            "--data"
        )
    tables = open_tables(settings)
    try:
        yield tables.audit
    finally:
        tables.close()


def _read(line: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return {"what": "an entry that cannot be read"}
    return found


def _show(name: str, value: object) -> str:
    text = "" if value is None else str(value)
    return text[:19] if name == "at" else text  # UTC, to the second
