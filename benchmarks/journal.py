"""What a benchmark has measured so far, in a file that survives being killed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


class JsonLines:
    """Documents in the order in which they came, one a line of JSON."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, document: Mapping[str, Any]) -> None:
        """Add a document at the end of the file."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(document) + "\n")

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the documents, without one that a kill cut off."""
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:  # the run was killed while it wrote this
                continue
