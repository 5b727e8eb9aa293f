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
"""The file, in a training's cache, that records which data passed."""

WORTH_PROCESSES = 8
"""With fewer cases to look at, starting processes takes longer than they save."""


@dataclass(frozen=True, slots=True)
class DataCheck:
    """What a check found.

    Attributes:
        findings: Errors and remarks, in the order of data sets and cases.
        contoured: In how many cases each label has a contour, by data set and label.
    """

    findings: tuple[Finding, ...]
    contoured: dict[tuple[str, str], int]


def check_datasets(
    datasets: Sequence[Dataset],
    *,
    progress: Callable[[float], None] = lambda _: None,
) -> DataCheck:
    """Read every file of every case; return errors and remarks.

    Args:
        datasets: What was found in the data's folders.
        progress: Called with the share done, 0 to 1.
    """
    cases = [case for each in datasets for case in each.cases]
    looks: list[CaseLook] = []
    for each in _looks(cases):
        looks.append(each)
        progress(len(looks) / len(cases))
    findings = [found for each in datasets for found in each.findings]
    findings += [found for look in looks for found in look.findings]
    findings += _duplicates(cases, looks)
    contoured: dict[tuple[str, str], int] = {}
    for case, look in zip(cases, looks, strict=True):
        for label in look.contoured:
            key = (case.declaration.name, label)
            contoured[key] = contoured.get(key, 0) + 1
    return DataCheck(tuple(findings), contoured)


def require_sound(
    datasets: Sequence[Dataset],
    *,
    passed: Path,
    progress: Callable[[float], None] = lambda _: None,
) -> None:
    """Return if there are no errors; remarks are logged.

    Args:
        datasets: What was found in the data's folders.
        passed: File that records the data that passed; they are not checked again
            until they change. It is written only when all have passed.
        progress: Called with the share done, 0 to 1.

    Raises:
        InputError: There are errors; each has its own line.
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
    partial = passed.with_suffix(f".{os.getpid()}.part")  # trainings may share it
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
            "that no patient is used for both training and testing",
        )
