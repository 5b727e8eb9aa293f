"""Fuzzes every door for some minutes: ``python -m tests.fuzz --minutes 10``.

Each input depends on its door and number alone, so that one that was found is made
again by ``--door images --number 4711``.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.doors import DOORS
from tests.fuzz.run import Trial, run_numbers
from tests.fuzz.trial import GOOD

AT_ONCE = 40
"""So many inputs are read by one process; the first of them also goes through the
service's own door."""


class Tally:
    """What became of the inputs of one door."""

    def __init__(self, door: str) -> None:
        self._door = door
        self._counts: Counter[str] = Counter()
        self._sent = 0
        self._slowest: Trial | None = None
        self._largest: Trial | None = None
        self.found: dict[str, Trial] = {}

    def add(self, trial: Trial) -> bool:
        """Count an input; return whether it is a finding of a new kind."""
        verdict = trial.verdict
        self._counts[verdict.outcome.value] += 1
        self._sent += trial.was_sent
        if not self._slowest or verdict.seconds > self._slowest.verdict.seconds:
            self._slowest = trial
        if not self._largest or (
            verdict.memory_bytes > self._largest.verdict.memory_bytes
        ):
            self._largest = trial
        if verdict.outcome in GOOD:
            return False
        last = " ".join(verdict.detail.strip().splitlines()[-3:])
        key = f"{verdict.outcome} {verdict.kind} {last[-120:]}"
        is_new = key not in self.found
        self.found.setdefault(key, trial)
        return is_new

    def line(self) -> str:
        """Return the counts as a line of JSON."""
        told: dict[str, object] = {
            "door": self._door,
            "inputs": self._counts.total(),
            **self._counts,
            "sent": self._sent,
        }
        if self._slowest and self._largest:
            told["slowest"] = self._slowest.number
            told["seconds"] = round(self._slowest.verdict.seconds, 2)
            told["largest"] = self._largest.number
            told["mib"] = self._largest.verdict.memory_bytes >> 20
        return json.dumps(told)


def fuzz(doors: list[str], numbers: Iterator[int], minutes: float) -> int:
    """Try inputs of each door in turn; return how many kinds of findings there are."""
    gc.freeze()  # so that children touch as few pages as can be
    gc.disable()
    until = time.monotonic() + 60.0 * minutes
    tallies = {door: Tally(door) for door in doors}
    with tempfile.TemporaryDirectory(prefix="hanseg-fuzz-") as place:
        while time.monotonic() < until:
            some = list(itertools.islice(numbers, AT_ONCE))
            for door in doors:
                for trial in run_numbers(door, some, Path(place), send=True):
                    if tallies[door].add(trial):
                        _say(trial)
    for tally in tallies.values():
        sys.stdout.write(f"{tally.line()}\n")
    return sum(len(tally.found) for tally in tallies.values())


def _say(trial: Trial) -> None:
    verdict = trial.verdict
    head = f"{trial.door} {trial.number}: {verdict.outcome}: {verdict.kind}"
    sys.stdout.write(f"{head}\n{verdict.detail!r}\n")
    sys.stdout.flush()


def main() -> int:
    """Fuzz, print the findings and a line a door; the status is 1 if any is bad."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--door", choices=DOORS, action="append")
    parser.add_argument("--start", type=int, default=0, help="the first number")
    parser.add_argument("--number", type=int, help="this one alone")
    asked = parser.parse_args()
    doors = asked.door or list(DOORS)
    if asked.number is not None:
        with tempfile.TemporaryDirectory() as place:
            for door in doors:
                for trial in run_numbers(door, [asked.number], Path(place), send=True):
                    _say(trial)
        return 0
    numbers = iter(range(asked.start, sys.maxsize))
    return 1 if fuzz(doors, numbers, asked.minutes) else 0


if __name__ == "__main__":
    sys.exit(main())
