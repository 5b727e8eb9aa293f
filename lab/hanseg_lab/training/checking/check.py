"""Data sets as a whole, checked before anything is trained on them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from hanseg_lab.training.checking.likeness import same_patients
from hanseg_lab.training.checking.look import CaseLook, look_at
from hanseg_lab.training.datasets.dataset import (
    Dataset,
    DatasetCase,
    Finding,
    refuse,
    stamp,
)

logger = logging.getLogger(__name__)

PASSED = "checked.txt"
"""The file, in a training's cache, that remembers which data passed."""

WORTH_PROCESSES = 8
"""With fewer cases to look at, starting processes takes longer than they save."""


@dataclass(frozen=True, slots=True)
class Check:
    """What a check found.

    Attributes:
        findings: What is amiss, in the order of data sets and cases.
        drawn: In how many cases each label was drawn, by data set and label.
    """

    findings: tuple[Finding, ...]
    drawn: dict[tuple[str, str], int]


def check_datasets(
    datasets: Sequence[Dataset],
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> Check:
    """Read every file of every case and return what is amiss.

    Args:
        datasets: What was found in the data's folders.
        progress: Told the share done, 0 to 1.
    """
    cases = [case for each in datasets for case in each.cases]
    looks: list[CaseLook] = []
    for each in _looks(cases):
        looks.append(each)
        progress(len(looks) / len(cases))
    findings = [found for each in datasets for found in each.findings]
    findings += [found for look in looks for found in look.findings]
    findings += _duplicates(cases, looks)
    drawn: dict[tuple[str, str], int] = {}
    for case, look in zip(cases, looks, strict=True):
        for label in look.drawn:
            key = (case.declaration.name, label)
            drawn[key] = drawn.get(key, 0) + 1
    return Check(tuple(findings), drawn)


def require_sound(
    datasets: Sequence[Dataset],
    *,
    passed: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Return if nothing is amiss that refuses; what else was found is logged.

    Args:
        datasets: What was found in the data's folders.
        passed: File that remembers what passed; it is not looked at again until it
            changes, and written only once all has passed.
        progress: Told the share done, 0 to 1.

    Raises:
        InputError: Something is amiss; each thing has a line of its own.
    """
    for each in datasets:
        refuse(each.findings)
    now = "\n".join(stamp(case) for each in datasets for case in each.cases)
    if passed.exists() and passed.read_text() == now:
        return
    check = check_datasets(datasets, progress=progress)
    refuse(check.findings)
    for found in check.findings:
        logger.info("%s", found)
    passed.parent.mkdir(parents=True, exist_ok=True)
    partial = passed.with_suffix(".part")
    partial.write_text(now)
    partial.replace(passed)


def _looks(cases: Sequence[DatasetCase]) -> Iterator[CaseLook]:
    if len(cases) < WORTH_PROCESSES:
        yield from map(look_at, cases)
        return
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        yield from pool.map(look_at, cases)


def _duplicates(
    cases: Sequence[DatasetCase], looks: Sequence[CaseLook]
) -> Iterator[Finding]:
    known = {
        f"{case.declaration.name} {case.name}": look.likeness
        for case, look in zip(cases, looks, strict=True)
        if look.likeness is not None
    }
    for one, other, why in same_patients(known):
        yield Finding(
            other,
            f"its CT is of the same patient as {one} ({why}); remove one of them, so "
            "that no patient is both taught and tested",
        )
