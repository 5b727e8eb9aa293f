"""The built files of the page: the document that starts it, and its assets.

They are made from `services/segmentation/web` by ``make page`` and are no part of the
repository. An asset's name holds a hash of its content, so that it may be kept for
ever; beside it lie compressed forms of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

BUILT = Path(__file__).parent / "built"
"""Where ``make page`` puts what it builds."""

MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}

ENCODINGS = {"br": ".br", "gzip": ".gz"}
"""The forms of an asset, the smallest first."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_BASE = '<base href="/" />'

_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8">
<title>The page was not built</title><h1>The page was not built</h1>
<p>The service works, but its page is not there. Run <code>make page</code> in the
project's folder, which needs the npm registry once, and load this again. The API is
described at <a href="{root}/docs">{root}/docs</a>.</p></html>
"""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file to send: where it is, what it is, and how it is compressed if it is."""

    path: Path
    media_type: str
    encoding: str | None = None


class Site:
    """The built files of a folder, which may be built while the service runs.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path = BUILT) -> None:
        self._folder = folder

    def document(self, root_path: str) -> str | None:
        """Return the page's document for a service below a path; None if not built.

        Args:
            root_path: The prefix under which a proxy publishes the service, such as
                ``/contouring``; empty where there is none.
        """
        try:
            found = (self._folder / "index.html").read_text("utf-8")
        except FileNotFoundError:
            return None
        base = escape(f"{root_path.rstrip('/')}/", quote=True)
        return found.replace(_BASE, f'<base href="{base}" />', 1)

    def asset(self, name: str, accept_encoding: str = "") -> Asset | None:
        """Return an asset in the smallest form that is accepted; None if there is none.

        Args:
            name: Its file's name.
            accept_encoding: The field of that name.
        """
        path = self._folder / "assets" / name
        media_type = MEDIA_TYPES.get(path.suffix)
        if not _NAME.fullmatch(name) or media_type is None or not path.is_file():
            return None
        accepted = _accepted(accept_encoding)
        for encoding, suffix in ENCODINGS.items():
            smaller = path.with_name(name + suffix)
            if encoding in accepted and smaller.is_file():
                return Asset(smaller, media_type, encoding)
        return Asset(path, media_type)


def not_built(root_path: str) -> str:
    """Return the document that says how the page is built."""
    return _NOT_BUILT.format(root=escape(root_path.rstrip("/"), quote=True))


def _accepted(field: str) -> set[str]:
    parts = (each.strip().lower().partition(";") for each in field.split(","))
    return {name.strip() for name, _, weight in parts if weight.strip() != "q=0"}
