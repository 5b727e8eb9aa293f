"""One case registered and measured, and the record of all that were."""

from __future__ import annotations

import hashlib
import math
import os
import resource
import signal
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from benchmarks.journal import JsonLines
from benchmarks.registration.cases import Case
from benchmarks.registration.groups import SERIES, Group

import hanseg_lab.simulator
import hanseg_registration
from hanseg_registration.pipeline import register
from hanseg_shared.documents import MrVerdict, TransformKind
from hanseg_shared.errors import HansegError
from hanseg_shared.grid import Points
from hanseg_shared.jobs.leash import die_with_parent

NOT_THE_NUMBERS = ("child.py", "cli.py", "pictures.py", "tasks.py", "worker.py")
"""Modules of the registration that no pose and no verdict depends on."""

SOURCES = ("*.py", "*.txt", "*.toml")
"""Files of the registration that numbers depend on."""

LATTICE_MM = 4.0
"""Distance of the points at which a transform is searched for folds."""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of one case.

    Attributes:
        group: The group it belongs to.
        number: Which of the group's cases it is.
        code: Fingerprint of the code that computed it; see `fingerprint`.
        verdict: ``used`` or ``rejected``, or ``error`` if it raised an error.
        reason: The verdict's sentence.
        error_mean_mm, error_max_mm: Over the case's region; None without a truth.
        wall_s, processor_s: Seconds, those of child processes included in the latter.
        smallest_determinant: Of the transform's Jacobian; not above 0 where it folds.
        about: What the case was.
        measures: The verdict's numbers.
    """

    group: Group
    number: int
    code: str
    verdict: str
    reason: str
    error_mean_mm: float | None
    error_max_mm: float | None
    wall_s: float
    processor_s: float
    smallest_determinant: float | None = None
    about: dict[str, float | str] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)

    @property
    def used(self) -> bool:
        """Whether the network would see this MR."""
        return self.verdict == MrVerdict.USED

    def within(self, limit_mm: float) -> bool:
        """Whether there is a right answer and this one is nearer to it than a limit."""
        return self.error_mean_mm is not None and self.error_mean_mm < limit_mm

    def is_lie(self, limit_mm: float) -> bool:
        """Whether this was used though it is wrong by more than a limit."""
        wrong = self.error_mean_mm is None or self.error_mean_mm > limit_mm
        return self.used and wrong


def run(group: Group, number: int, code: str) -> Row:
    """Make one case, register it and measure the result."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    case = SERIES[group].make(number)
    wall, processor = time.perf_counter(), processor_seconds()
    try:
        found = register(case.ct, case.mr, kind=case.kind)
    except HansegError as error:
        verdict, reason, transform, measures = "error", str(error), None, {}
    else:
        report = found.report
        verdict, reason = report.verdict.value, report.reason
        transform, measures = found.transform, dict(report.measures)
    wall, processor = time.perf_counter() - wall, processor_seconds() - processor
    errors = None if transform is None else errors_mm(case, transform)
    bent = case.kind is TransformKind.DEFORMABLE and transform is not None
    return Row(
        group=group,
        number=number,
        code=code,
        verdict=verdict,
        reason=reason,
        error_mean_mm=None if errors is None else round(float(errors.mean()), 4),
        error_max_mm=None if errors is None else round(float(errors.max()), 4),
        wall_s=round(wall, 3),
        processor_s=round(processor, 3),
        smallest_determinant=smallest_determinant(case, transform) if bent else None,
        about=case.about,
        measures=measures,
    )


def processor_seconds() -> float:
    """Return the processor time of this process and its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def errors_mm(case: Case, transform: sitk.Transform) -> Points | None:
    """Return how far from the truth each point of the region lands, ``(n,)``."""
    if case.belongs is None:
        return None
    put = [transform.TransformPoint(point) for point in case.region.tolist()]
    return np.linalg.norm(np.array(put) - case.belongs, axis=1)


def smallest_determinant(case: Case, transform: sitk.Transform) -> float:
    """Return the smallest Jacobian determinant over the box of a case's region."""
    low, high = case.region.min(axis=0), case.region.max(axis=0)
    size = [int(n) for n in np.ceil((high - low) / LATTICE_MM) + 1]
    spacing = [LATTICE_MM] * 3
    field_mm = sitk.GetArrayFromImage(
        sitk.TransformToDisplacementField(
            transform, sitk.sitkVectorFloat64, size, low.tolist(), spacing
        )
    )
    slopes = [np.gradient(field_mm, LATTICE_MM, axis=axis) for axis in (2, 1, 0)]
    jacobian = np.stack(slopes, axis=-1) + np.eye(3)
    return round(float(np.linalg.det(jacobian).min()), 4)


def fingerprint() -> str:
    """Return a short hash of all code that decides on a row's numbers."""
    digest = hashlib.sha256()
    for package in (hanseg_registration, hanseg_lab.simulator):
        folder = Path(str(package.__file__)).parent
        for path in sorted(each for end in SOURCES for each in folder.rglob(end)):
            if path.name not in NOT_THE_NUMBERS:
                digest.update(path.read_bytes())
    for name in ("cases.py", "groups.py", "sabotage.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()[:12]


class Journal(JsonLines):
    """All rows."""

    def append(self, row: Row) -> None:
        """Add a row at the end of the file."""
        self.add(asdict(row))

    def rows(self, code: str | None = None) -> list[Row]:
        """Return the newest row of every case, of one state of the code or of any."""
        newest = {
            (row.group, row.number): row
            for row in map(_row, self.documents())
            if code is None or row.code == code
        }
        return [newest[key] for key in sorted(newest)]


def _row(document: dict[str, Any]) -> Row:
    return Row(**{**document, "group": Group(document["group"])})


Work = list[tuple[Group, int]]


def run_all(work: Work, journal: Journal, *, code: str, jobs: int) -> None:
    """Run cases in processes of their own and note each as soon as it is done.

    Raises:
        BrokenProcessPool: A process died; run again, what is done is kept.
    """
    context = get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_be_a_worker)
    with pool:
        futures = {pool.submit(run, *case, code): case for case in work}
        for count, future in enumerate(as_completed(futures), start=1):
            group, number = futures[future]
            failure = future.exception()
            if isinstance(failure, BrokenProcessPool):
                raise failure
            if failure is not None:
                print(f"{group} {number} could not be made: {failure!r}", flush=True)
                continue
            row = future.result()
            journal.append(row)
            print(f"{count}/{len(work)} {_line(row)}", flush=True)


def _be_a_worker() -> None:
    """Die with the run, and send what elastix prints from C++ nowhere."""
    die_with_parent(signal.SIGKILL)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _line(row: Row) -> str:
    error = math.nan if row.error_mean_mm is None else row.error_mean_mm
    what = row.about.get("sabotage", row.about.get("reach", ""))
    return (
        f"{row.group} {row.number} {what} {row.verdict} {error:.2f} mm "
        f"{row.wall_s:.1f} s ({row.processor_s:.1f} s): {row.reason}"
    )
