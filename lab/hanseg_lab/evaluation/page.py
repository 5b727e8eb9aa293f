"""A report as one HTML file that needs nothing else: headings, tables, pictures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1200px;
  padding: 0 1em; color: #1b1f24; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
table { border-collapse: collapse; margin: 0.6em 0;
  font-variant-numeric: tabular-nums; }
th, td { padding: 0.15em 0.7em; text-align: right; border-bottom: 1px solid #dde1e6; }
th:first-child, td:first-child { text-align: left; }
tr.total td { font-weight: 600; border-top: 2px solid #57606a; }
img { max-width: 100%; } .note { color: #57606a; } .wide { overflow-x: auto; }
"""


class ReportPage:
    """Collects the parts of a report, every text escaped."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._parts: list[str] = [f"<h1>{html.escape(title)}</h1>"]

    def heading(self, text: str) -> None:
        """Start a section."""
        self._parts.append(f"<h2>{html.escape(text)}</h2>")

    def paragraph(self, text: str) -> None:
        """Add a sentence or more."""
        self._parts.append(f"<p>{html.escape(text)}</p>")

    def note(self, text: str) -> None:
        """Add a sentence in a muted colour."""
        self._parts.append(f'<p class="note">{html.escape(text)}</p>')

    def items(self, texts: Iterable[str]) -> None:
        """Add a list."""
        rows = "".join(f"<li>{html.escape(text)}</li>" for text in texts)
        self._parts.append(f"<ul>{rows}</ul>")

    def table(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[str]],
        *,
        total: Sequence[str] | None = None,
    ) -> None:
        """Add a table; `total` is a last row that stands out."""
        head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in rows)
        last = f'<tr class="total">{_cells(total)}</tr>' if total is not None else ""
        self._parts.append(
            f'<div class="wide"><table><tr>{head}</tr>{body}{last}</table></div>'
        )

    def picture(self, png: bytes, *, what: str) -> None:
        """Add a picture, kept in the page itself; `what` is read out for the blind."""
        data = base64.b64encode(png).decode("ascii")
        self._parts.append(
            f'<img alt="{html.escape(what)}" src="data:image/png;base64,{data}">'
        )

    def render(self) -> str:
        """Return the whole document."""
        body = "\n".join(self._parts)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f"<title>{html.escape(self._title)}</title><style>{STYLE}</style></head>"
            f"\n<body>\n{body}\n</body></html>\n"
        )


def _cells(row: Sequence[str]) -> str:
    return "".join(f"<td>{html.escape(cell)}</td>" for cell in row)
