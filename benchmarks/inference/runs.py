"""One way on one image, measured in a process of its own, and the record of all."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.inference.memory import TreeMemory, available_gb
from benchmarks.journal import JsonLines

import hanseg_segmentation

PEER = Path(__file__).with_name("peer.py")
PEER_MODELS = Path(__file__).with_name("peer_models.py")
OURS = "benchmarks.inference.ours"

NUMBERS_COME_FROM = ("inference", "network", "models", "pipeline.py")
"""Parts of the segmentation that decide on a number of this benchmark."""

PEERS_CODE = "peers"
"""What stands for the state of the code in rows that no code of ours computed."""

LONGEST_S = 3600.0
"""A child that runs longer is stopped."""


class PeerError(RuntimeError):
    """A child process ended without numbers."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one run.

    Attributes:
        way: What was run, such as ``nnunet`` or ``ours exact``.
        model: Which model.
        image: On what.
        repeat: Which of several equal runs.
        code: Fingerprint of our code, or `PEERS_CODE`.
        numbers: Seconds by phase; ``wall`` and ``processor``, from file to file with
            the model loaded; ``peak_gb`` of the process tree; shares and counts.
        engine: What computed the network, if the way says so.
    """

    way: str
    model: str
    image: str
    repeat: int
    code: str
    numbers: dict[str, float] = field(default_factory=dict)
    engine: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What tells it from other runs."""
        return self.way, self.model, self.image, self.repeat


class Journal(JsonLines):
    """All rows."""

    def append(self, row: Row) -> None:
        """Add a row at the end of the file."""
        self.add(asdict(row))

    def rows(self, code: str | None = None) -> list[Row]:
        """Return the newest row of every run, of one state of our code or of any."""
        rows = [Row(**document) for document in self.documents()]
        wanted = [r for r in rows if code is None or r.code in (code, PEERS_CODE)]
        return list({row.key: row for row in wanted}.values())


def fingerprint() -> str:
    """Return a short hash of all code of ours that decides on a number."""
    digest = hashlib.sha256()
    package = Path(str(hanseg_segmentation.__file__)).parent
    for name in NUMBERS_COME_FROM:
        place = package / name
        files = [place] if place.is_file() else sorted(place.rglob("*"))
        for path in files:
            if path.suffix in (".py", ".json"):
                digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def run_ours(*arguments: str) -> dict[str, float | str]:
    """Run a task of `benchmarks.inference.ours` and return what it measured."""
    return run_child([sys.executable, "-m", OURS, *arguments])


def run_peer(python: str, *arguments: str) -> dict[str, float | str]:
    """Run a task of `peer.py` by the peers' interpreter."""
    return run_child([python, str(PEER), *arguments], environment=peer_environment())


def peer_environment() -> dict[str, str]:
    """Return an environment in which nothing of this project is found."""
    return {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}


def run_child(
    command: list[str], *, environment: dict[str, str] | None = None
) -> dict[str, float | str]:
    """Run a process, watch its tree's memory, and return its last line's JSON.

    ``processor`` is what the tree used once the model was loaded, if the child tells
    what it used before; ``peak_gb`` is the tree's largest proportional set size.

    Raises:
        PeerError: It failed, or printed no numbers.
    """
    before = _children_seconds()
    with (
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child,
        TreeMemory(child.pid) as memory,
    ):
        out, err = child.communicate(timeout=LONGEST_S)
    spent = _children_seconds() - before
    lines = out.strip().splitlines()
    if child.returncode != 0 or not lines:
        raise PeerError(f"{' '.join(command)}: {err.strip()[-800:]}")
    found: dict[str, float | str] = json.loads(lines[-1])
    if "processor_before" in found:
        found["processor"] = spent - float(found.pop("processor_before"))
    return found | {"peak_gb": round(memory.peak_gb, 3)}


def has_room(needed_gb: float) -> bool:
    """Whether a run that takes so much memory would leave the machine some."""
    return available_gb() > 1.15 * needed_gb


def _children_seconds() -> float:
    """Return the processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
