"""Which steps are done, and of what they were made: so that a run can go on.

A step is done if its record says that it was made of the same as it would be now:
the same settings, by steps made of the same. A record is written once the step's files
are there, and a mark before the step begins: a step that was killed finds the mark and
goes on with its own files; one that is to be made of something else finds another's
mark, and begins with an empty folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hanseg_lab.challenge.files import remove, write_atomically


@dataclass(frozen=True, slots=True)
class Taken:
    """What a piece of work took.

    Attributes:
        seconds: By the clock.
        processor_seconds: Of all threads and children.
    """

    seconds: float = 0.0
    processor_seconds: float = 0.0

    def __add__(self, other: Taken) -> Taken:
        return Taken(
            self.seconds + other.seconds,
            self.processor_seconds + other.processor_seconds,
        )


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work whose result is kept.

    Attributes:
        stage: What kind of work: data, register, train, batch, evaluate, rank, report.
        subject: On what: a method, mostly.
        folder: Where its files go, and those of no other step.
        work: Does it; goes on where it was if some of its files are there.
        made_from: All that decides the result, besides the steps that it needs.
        needs: Names of the steps that must be done before.
        one_thread: Whether it can be done beside others, with one thread each.
        always: Whether it is done even if it was done before: it takes no time.
    """

    stage: str
    subject: str
    folder: Path
    work: Callable[[], Taken]
    made_from: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    one_thread: bool = False
    always: bool = False

    @property
    def name(self) -> str:
        """What it is called, in records and on the command line."""
        return f"{self.stage} {self.subject}".strip()


class Ledger:
    """The records of the steps of a challenge.

    Args:
        folder: Where they are kept.
        steps: All steps, each after those that it needs.
    """

    def __init__(self, folder: Path, steps: Sequence[Step]) -> None:
        self.folder = folder
        self.steps = tuple(steps)
        self._stamps: dict[str, str] = {}
        for step in self.steps:
            self._stamps[step.name] = self._hash(step)

    def stamp(self, name: str) -> str:
        """Return a hash of all that a step is made of."""
        return self._stamps[name]

    def is_done(self, step: Step) -> bool:
        """Whether the step's files are there, made of what it would be made of now."""
        if step.always:
            return False
        found = read_record(self._path(step, "done"))
        stamp = self.stamp(step.name)
        return found.get("stamp") == stamp and step.folder.exists()

    def with_needs(self, names: Sequence[str]) -> tuple[Step, ...]:
        """Return the steps of those names and all that they need, in order."""
        wanted = set(names)
        for step in reversed(self.steps):
            if step.name in wanted:
                wanted |= set(step.needs)
        return tuple(step for step in self.steps if step.name in wanted)

    def do(self, step: Step) -> Taken:
        """Do a step, from where it was, and write its record."""
        done, begun = self._path(step, "done"), self._path(step, "begun")
        mark = {"step": step.name, "stamp": self.stamp(step.name)}
        if read_record(begun).get("stamp") != mark["stamp"]:
            done.unlink(missing_ok=True)
            remove(step.folder)
            write_atomically(begun, json.dumps(mark) + "\n")
        step.folder.mkdir(parents=True, exist_ok=True)
        taken = step.work()
        record = mark | {
            "made_from": dict(step.made_from),
            "needs": {name: self.stamp(name) for name in step.needs},
            "seconds": round(taken.seconds, 1),
            "processor_seconds": round(taken.processor_seconds, 1),
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_atomically(done, json.dumps(record, indent=2, sort_keys=True) + "\n")
        return taken

    def taken(self, step: Step) -> Taken:
        """Return what the last run of a step took; nothing if it is not recorded."""
        found = read_record(self._path(step, "done"))
        return Taken(found.get("seconds", 0.0), found.get("processor_seconds", 0.0))

    def _hash(self, step: Step) -> str:
        parts = {
            "step": step.name,
            "made_from": step.made_from,
            "needs": {name: self._stamps[name] for name in step.needs},
        }
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _path(self, step: Step, what: str) -> Path:
        slug = re.sub(r"[^\w.-]+", "_", step.name)
        return self.folder / f"{slug}.{what}.json"


def read_record(path: Path) -> dict[str, Any]:
    """Return a record, or an empty one if there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}
