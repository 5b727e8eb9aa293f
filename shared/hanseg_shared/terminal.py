"""What commands print: one JSON object a line for a script, tables for a person.

Tables wrap what does not fit and cut nothing off: a name that ends in dots cannot be
searched for.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_AS_JSON = "hanseg_shared.terminal.as_json"

_PADDING = 2
"""Blanks beside a cell, at most."""

Justify = Literal["left", "right"]


def json_option(command: Command) -> Command:
    """Add the option ``--json`` to a command, whose argument is ``as_json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, one object a line."
    )(command)


def json_flag(command: Command) -> Command:
    """Add the option ``--json`` to a command that prints by `say` alone."""

    def note(context: click.Context, _: click.Parameter, given: bool) -> None:
        context.meta[_AS_JSON] = given

    return click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=note,
        help="Print JSON, one object a line.",
    )(command)


def say(event: str, sentence: str, **members: object) -> None:
    """Print a sentence, or an event if the command that runs was given ``--json``."""
    tell(event, sentence, as_json=json_is_on(), **members)


def json_is_on() -> bool:
    """Whether the command that runs was given ``--json`` by `json_flag`."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_AS_JSON, False))


def json_is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; also one that is otherwise at fault."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


def print_event(event: str, **members: object) -> None:
    """Print an event as one JSON line, at once, so that a pipe's reader sees it.

    Numbers that are not finite, which JSON cannot carry, become null.
    """
    line = json.dumps(_finite({"event": event} | members), allow_nan=False)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value


def tell(event: str, sentence: str, *, as_json: bool, **members: object) -> None:
    """Print a sentence, or an event that holds it and what it is made of."""
    if as_json:
        print_event(event, message=sentence, **members)
    else:
        click.echo(sentence)


def minute_of(moment: datetime) -> str:
    """Return a moment as people read it, to the minute, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> None:
    """Print a table as wide as the terminal, with lines that are too long wrapped.

    Args:
        headings: One for each column.
        rows: Cells as they are to be shown; square brackets are no markup.
        title: Shown above.
        right: Headings of the columns that hold numbers.
        whole: Headings of the columns whose cells stay on one line.
    """
    from rich.console import Console

    table = table_of(headings, rows, title=title, right=right, whole=whole)
    Console().print(table)


def print_figures(rows: Sequence[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table of figures, the headings first; a wide one in several parts.

    Each part has the first column and as many others as fit the terminal: a figure
    that is broken over two lines is read wrongly.
    """
    from rich.console import Console

    console = Console()
    headings = rows[0]
    for columns in column_groups(rows, console.width):
        part = [[row[n] for n in columns] for row in rows[1:]]
        names = [headings[n] for n in columns]
        table = table_of(names, part, title=title, right=names[1:])
        needed = [cell_width(rows, n) for n in columns]
        if sum(needed) + _PADDING * (len(needed) + 1) <= console.width:
            for column, width in zip(table.columns, needed, strict=True):
                column.width = width  # rich would narrow the first column too
        console.print(table)


def column_groups(rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Return which columns are shown together so that no cell is broken.

    Args:
        rows: The headings, whose words may be broken apart, and the cells.
        width: Characters of a line.
    """
    beside_first = cell_width(rows, 0) + 2 * _PADDING
    groups, used = [[0]], beside_first
    for column in range(1, len(rows[0])):
        needed = cell_width(rows, column) + _PADDING
        if len(groups[-1]) > 1 and used + needed > width:
            groups.append([0])
            used = beside_first
        groups[-1].append(column)
        used += needed
    return groups


def cell_width(rows: Sequence[Sequence[str]], column: int) -> int:
    """Return how wide a column must be for its cells, and its heading's words."""
    from rich.cells import cell_len

    words = rows[0][column].split() or [""]
    return max(map(cell_len, [*words, *(row[column] for row in rows[1:])]))


def table_of(
    headings: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> Any:  # noqa: ANN401 - rich's table, which is imported only when one is shown
    """Return the table that `print_table` prints; cells may be rich's own texts."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    numbers, unbroken = set(right), set(whole)
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading in headings:
        justify: Justify = "right" if heading in numbers else "left"
        table.add_column(
            Text(heading),
            justify=justify,
            overflow="fold",
            no_wrap=heading in unbroken,
        )
    for row in rows:
        table.add_row(*(Text(c) if isinstance(c, str) else c for c in row))
    return table
