"""`hanseg keys`: API keys, made and revoked in the service's own database."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hanseg_shared.access import Scope, is_owner
from hanseg_shared.errors import OptionError
from hanseg_shared.terminal import json_option, print_event, table_of

if TYPE_CHECKING:
    from hanseg_shared.jobs.tables.api_keys import KeyRecord
    from hanseg_shared.jobs.tables.tables import Tables

_LIFETIME = re.compile(r"(?P<number>[1-9]\d{0,4})(?P<unit>[hdy])")
_SECONDS = {"h": 3600.0, "d": 86400.0, "y": 365.25 * 86400.0}


def data_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option that says whose database it is."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of the service, as for `hanseg serve`.  [default: HANSEG_DATA, or "
        "~/.local/share/hanseg]",
    )(command)


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that open the API.

    Works on the service's database, whether or not the service runs.
    """


@keys.command()
@click.option("--owner", required=True, help="To whom belongs what the key sends.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What it allows; may be repeated.  [default: submit, read]",
)
@click.option(
    "--expires",
    default="1y",
    show_default=True,
    help="How long it is valid: such as 12h, 90d, 1y; or never.",
)
@click.option(
    "--max-running",
    type=click.IntRange(min=1),
    help="How many stages of the owner's jobs may be at work at a time.  [default: "
    "HANSEG_MAX_RUNNING_JOBS_A_CALLER]",
)
@click.option(
    "--max-unfinished",
    type=click.IntRange(min=1),
    help="How many of the owner's jobs may be unfinished.  "
    "[default: HANSEG_MAX_UNFINISHED_JOBS_A_CALLER]",
)
@click.option("--note", help="What it is for.")
@click.option(
    "--file",
    "target",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write it to this file, which only you can read, instead of showing it.",
)
@data_option
@json_option
def create(
    owner: str,
    scopes: tuple[str, ...],
    expires: str,
    max_running: int | None,
    max_unfinished: int | None,
    note: str | None,
    target: Path | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Make a key and show it, this once: only a hash of it is kept."""
    from hanseg_shared.jobs.entrance import write_secret

    if not is_owner(owner):
        raise OptionError(
            f"--owner {owner!r} is no name of an owner; use letters, digits and @._+-"
        )
    seconds = parse_lifetime(expires)
    granted = frozenset(map(Scope, scopes)) or {Scope.SUBMIT, Scope.READ}
    with opened_tables(data) as tables:
        key = tables.api_keys.create(
            owner,
            frozenset(granted),
            seconds=seconds,
            note=note,
            max_running=max_running,
            max_unfinished=max_unfinished,
            by=account(),
            why="hanseg keys create",
        )
        if target is not None:
            try:
                write_secret(target, key.text)
            except BaseException:
                tables.api_keys.revoke(key.id, by=account())
                raise
    if as_json:
        shown = {"key": key.text} if target is None else {"file": str(target)}
        print_event("key", id=key.id, owner=owner, scopes=sorted(granted), **shown)
        return
    allowed = ", ".join(sorted(granted))
    click.echo(f"key {key.id} of {owner} ({allowed}), shown this once:", err=True)
    click.echo(key.text if target is None else str(target))


@keys.command("list")
@data_option
@json_option
def list_keys(data: Path | None, as_json: bool) -> None:
    """List the keys, without what is secret of them."""
    with opened_tables(data) as tables:
        found = tables.api_keys.list()
    if as_json:
        for key in found:
            print_event("key", **_as_json(key))
        return
    from rich.console import Console

    headings = ("id", "owner", "scopes", "standing", "expires", "last used", "note")
    rows = [
        (
            key.id,
            key.owner,
            ", ".join(sorted(key.scopes)),
            key.standing.value,
            _day(key.expires_at) or "never",
            _day(key.last_used_at) or "never",
            key.note or "",
        )
        for key in found
    ]
    Console().print(table_of(headings, rows))


@keys.command()
@click.argument("key_id", metavar="ID")
@data_option
@json_option
def revoke(key_id: str, data: Path | None, as_json: bool) -> None:
    """Revoke the key ID: from now on it opens nothing."""
    with opened_tables(data) as tables:
        tables.api_keys.revoke(key_id, by=account())
    if as_json:
        print_event("revoked", id=key_id)
    else:
        click.echo(f"key {key_id} opens nothing any more")


def parse_lifetime(text: str) -> float | None:
    """Return a lifetime such as ``90d`` in seconds; None for ``never``.

    Raises:
        OptionError: It is none.
    """
    if text == "never":
        return None
    found = _LIFETIME.fullmatch(text)
    if found is None:
        raise OptionError(
            f"--expires {text!r} is no time; write such as 12h, 90d, 1y, or never"
        )
    return int(found["number"]) * _SECONDS[found["unit"]]


def account() -> str:
    """Return who runs this command, for the audit log; no owner's name has blanks."""
    number = os.getuid()
    try:
        return f"account {pwd.getpwuid(number).pw_name}"
    except KeyError:  # as in a container
        return f"account {number}"


@contextmanager
def opened_tables(data: Path | None) -> Iterator[Tables]:
    """Open the tables of the service whose folder is given, or that of the settings."""
    from hanseg_shared.jobs.services import open_tables
    from hanseg_shared.settings import read_settings

    settings = read_settings()
    if data is not None:
        settings = settings.model_copy(update={"data": data.resolve()})
    if settings.database_url is None:  # patients' images will lie beside it
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    tables = open_tables(settings)
    try:
        yield tables
    finally:
        tables.close()


def _as_json(key: KeyRecord) -> dict[str, object]:
    times = ("created_at", "expires_at", "revoked_at", "last_used_at")
    told = asdict(key) | {"scopes": sorted(key.scopes)}
    return told | {name: moment_text(told[name]) for name in times}


def moment_text(seconds: float | None) -> str | None:
    """Return seconds since 1970 as ISO 8601; None for None."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC).isoformat(timespec="seconds")


def _day(seconds: float | None) -> str:
    found = moment_text(seconds)
    return "" if found is None else found[:10]
