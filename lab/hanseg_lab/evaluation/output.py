"""Files of a result, written all together or not at all."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanseg_shared.errors import InputError


@contextmanager
def all_or_nothing(out: Path) -> Iterator[Path]:
    """Give a folder to write into; its files move to `out` once all went well.

    Files of the same names are replaced, others in `out` stay.

    Raises:
        InputError: The folder cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        draft = tempfile.TemporaryDirectory(prefix=".writing-", dir=out)
    except OSError as error:
        raise InputError(f"{out}: cannot write there: {error}") from error
    with draft as folder:
        yield Path(folder)
        for path in sorted(Path(folder).iterdir()):
            path.replace(out / path.name)


def write_json(document: dict[str, Any], path: Path) -> None:
    """Write a document; numbers that JSON has not, such as infinity, are refused."""
    text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
