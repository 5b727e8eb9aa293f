"""One line of a benchmark's table: what was asked, what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the benchmark's table.

    Attributes:
        name: What is measured.
        asked: What was asked for, in words.
        measured: What came out.
        reached: Whether that is as good as asked; None where nothing was asked.
    """

    name: str
    asked: str
    measured: str
    reached: bool | None

    @classmethod
    def of(cls, name: str, measured: str, asked: str, reached: bool) -> Self:
        """Return a line that says nothing was reached where nothing was asked."""
        return cls(name, asked, measured, reached if asked else None)


def table(lines: Sequence[Figure]) -> str:
    """Return figures as a Markdown table."""
    marks = {True: "yes", False: "**no**", None: ""}
    head = ["| figure | asked | measured | reached |", "|---|---|---|---|"]
    return "\n".join(
        head
        + [
            f"| {line.name} | {line.asked} | {line.measured} | {marks[line.reached]} |"
            for line in lines
        ]
    )
