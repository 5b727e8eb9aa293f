"""Makes the inputs of a door and numbers, and tries them."""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hanseg_shared.errors import HansegError
from tests.fuzz.doors import DOORS
from tests.fuzz.trial import GOOD, Outcome, Verdict, attempt_each, is_sentence


@dataclass(frozen=True, slots=True)
class Trial:
    """An input and what became of it."""

    door: str
    number: int
    verdict: Verdict
    was_sent: bool = False


def run_numbers(
    name: str, numbers: Sequence[int], place: Path, *, send: bool = False
) -> list[Trial]:
    """Make inputs, try them in one process, and remove them.

    Args:
        name: The door.
        numbers: Which inputs.
        place: Where they may lie meanwhile.
        send: Whether the first also goes through the service's own door, if there is
            one, which must say the same of it.
    """
    door = DOORS[name]
    folders = [place / f"{name}-{number}" for number in numbers]
    try:
        for number, folder in zip(numbers, folders, strict=True):
            folder.mkdir()
            door.make(folder, random.Random(f"{name} {number}"))
        verdicts = attempt_each(
            door.work, folders, door.confines, may_name_folder=door.is_command
        )
        trials = [
            Trial(name, number, verdict)
            for number, verdict in zip(numbers, verdicts, strict=True)
        ]
        if send and door.through is not None and verdicts[0].outcome in GOOD:
            trials[0] = _compare(trials[0], _send(door.through, folders[0]))
        return trials
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _compare(trial: Trial, said: str) -> Trial:
    """Return an input that was also sent, with what its door said of it."""
    verdict = trial.verdict
    if said != verdict.kind:
        detail = f"the child says {said or 'nothing'}, the reader {verdict.kind}"
        verdict = replace(verdict, outcome=Outcome.UNEXPECTED, detail=detail)
    return replace(trial, verdict=verdict, was_sent=True)


def _send(through: Callable[[Path], None], folder: Path) -> str:
    """Return the class of the error that the service's door raises, or nothing."""
    logging.getLogger("hanseg_shared.io.confined").setLevel(logging.WARNING)
    try:
        through(folder)
    except HansegError as error:
        return type(error).__name__ if is_sentence(error.message, folder) else "?"
    return ""
