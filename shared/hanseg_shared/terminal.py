"""What commands print: one JSON object a line for a script, tables for a person.

Tables wrap what does not fit and cut nothing off: a name that ends in dots cannot be
searched for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

Justify = Literal["left", "right"]


def json_option(command: Command) -> Command:
    """Add the option ``--json`` to a command, whose argument is ``as_json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print JSON, one object a line."
    )(command)


def json_is_asked(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; also one that is otherwise at fault."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


def print_event(event: str, **members: object) -> None:
    """Print an event as one JSON line, at once, so that a pipe's reader sees it."""
    sys.stdout.write(json.dumps({"event": event} | members) + "\n")
    sys.stdout.flush()


def tell(event: str, sentence: str, *, as_json: bool, **members: object) -> None:
    """Print a sentence, or an event that holds it and what it is made of."""
    if as_json:
        print_event(event, message=sentence, **members)
    else:
        click.echo(sentence)


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
