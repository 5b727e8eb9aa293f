"""The file `results.json`: per case its label map, its images and what went wrong.

Before a case is begun it is written down as unfinished. So the file tells the truth
also if the container is killed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hanseg_challenge.cases import ChallengeCase

LABEL_MAPS = Path("images", "head_neck_oar")
"""Where the label maps go, in the output folder."""

RESULTS = "results.json"

UNFINISHED = "the case was not finished: the container was stopped before"


@dataclass(frozen=True, slots=True)
class CaseRecord:
    """What became of one case.

    Attributes:
        case: Its images.
        done: Whether its label map is there.
        errors: Why it is not, for a person.
    """

    case: ChallengeCase
    done: bool = False
    errors: tuple[str, ...] = (UNFINISHED,)

    def succeed(self) -> CaseRecord:
        """Return the record of the case whose label map is written."""
        return replace(self, done=True, errors=())

    def fail(self, why: str) -> CaseRecord:
        """Return the record of the case that could not be contoured."""
        return replace(self, errors=(why,))

    def as_json(self) -> dict[str, Any]:
        """Return the record in the challenge's own form."""
        inputs = [{"type": "metaio_ct_image", "filename": self.case.ct.name}]
        if self.case.mr is not None:
            mr = {"type": "metaio_mrt1_image", "filename": self.case.mr.name}
            inputs.append(mr)
        made = {"type": "metaio_image", "filename": self.case.label_map}
        return {
            "outputs": [made] if self.done else [],
            "inputs": inputs,
            "error_messages": list(self.errors),
        }


def write_results(output: Path, records: Iterable[CaseRecord]) -> None:
    """Write the file anew, whole or not at all.

    Raises:
        OSError: The output folder cannot be written.
    """
    _write(output, [each.as_json() for each in records])


def write_refusal(output: Path, why: str) -> None:
    """Write that nothing was done at all, and why.

    Raises:
        OSError: The output folder cannot be written.
    """
    _write(output, [{"outputs": [], "inputs": [], "error_messages": [why]}])


def _write(output: Path, entries: Sequence[dict[str, Any]]) -> None:
    with tempfile.TemporaryDirectory(prefix=".results-", dir=output) as folder:
        draft = Path(folder) / RESULTS
        draft.write_text(json.dumps(entries, indent=2) + "\n", "utf-8")
        draft.chmod(0o644)
        draft.replace(output / RESULTS)
