"""A folder of cases through a service: few at a time, resumable, each done once.

What was done is known from the output folder; what was submitted is known to the
service by an idempotency key, which is made of the images and the options. So a run
that was killed can be started again: it fetches what has finished meanwhile, waits
for what is under way, and submits the rest.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

from pydantic import ValidationError

from hanseg_shared.client.client import Client
from hanseg_shared.client.inputs import sent_sha256
from hanseg_shared.client.request import JobRequest
from hanseg_shared.client.segment import LOST_TOUCH, PAUSE_SECONDS
from hanseg_shared.csv_cells import safe_row
from hanseg_shared.documents import JobDocument, JobOptions, JobState, OrganResult
from hanseg_shared.errors import (
    HansegError,
    InputError,
    JobStateError,
    ServiceUnavailableError,
)
from hanseg_shared.io.cases import CaseFiles, FoundCases, PassedOver
from hanseg_shared.organs import OrganStatus
from hanseg_shared.result_files import RECORD

IN_FLIGHT = 4
"""How many cases a batch has in the service at a time."""

POLL_SECONDS = 1
"""How long the oldest unfinished case is waited for before the others are looked at."""

SUMMARY = "summary.csv"
"""Name of the table that a batch writes into its output folder."""

REFUSED = "refused"
"""State, in the summary, of a case whose images the service did not take."""

PASSED_OVER = "passed over"
"""State, in the summary, of a file that may be a CT and was not taken for one."""

FOUND = frozenset({OrganStatus.CONTOURED, OrganStatus.LOW_CONFIDENCE})


@dataclass(frozen=True, slots=True)
class CaseOutcome:
    """One row of the summary: a case, or a file that was passed over.

    Attributes:
        reason: Why there are no results.
        mr_reason: Why the MR was used or rejected.
        flags: What the checks found, organ by organ; see `flags_of`.
        remarks: What a person should know of the images, separated by `` | ``.
    """

    case: str
    state: str
    mr_verdict: str = ""
    organs_found: int = 0
    seconds: float = 0.0
    job: str = ""
    reason: str = ""
    mr_reason: str = ""
    flags: str = ""
    remarks: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the case has results."""
        return self.state == JobState.SUCCEEDED

    @property
    def flags_found(self) -> int:
        """How many findings there are."""
        return len(self.flags.split("; ")) if self.flags else 0


@dataclass(slots=True)
class BatchRun:
    """The cases of one run and where they stand.

    Attributes:
        client: The service.
        cases: What is to be done.
        options: The same for all cases.
        out: Output folder: one sub-folder a case, and the summary.
        on_change: Told after every change, for a progress bar.
        pause: Waits for so many seconds.
        passed_over: What the search for cases did not take, for the summary.
        finished: What earlier runs have done, if that is known; see `finished_cases`.
    """

    client: Client
    cases: Sequence[CaseFiles]
    options: JobOptions
    out: Path
    on_change: Callable[[BatchRun], None] = lambda _: None
    pause: Callable[[float], None] = time.sleep
    passed_over: Sequence[PassedOver] = ()
    finished: Mapping[str, JobDocument] | None = None
    outcomes: dict[str, CaseOutcome] = field(default_factory=dict)
    in_flight: dict[str, JobDocument] = field(default_factory=dict)

    def run(self) -> list[CaseOutcome]:
        """Do every case and return their outcomes, in the cases' order.

        Raises:
            ServiceUnavailableError: The service did not answer for about a minute.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        self._write_summary()
        waiting = deque(self.cases)
        failures = 0
        while waiting or self.in_flight:
            try:
                self._fill(waiting)
                self._collect()
                failures = 0
            except ServiceUnavailableError:
                failures += 1
                if failures >= LOST_TOUCH:
                    raise
                self.pause(PAUSE_SECONDS)
        return self._in_order()

    def _fill(self, waiting: deque[CaseFiles]) -> None:
        while waiting and len(self.in_flight) < IN_FLIGHT:
            try:
                self._begin(waiting[0])
            except JobStateError:
                # an earlier run was killed while it sent this case, and the service
                # is still busy with that request; the others need not wait for it
                waiting.rotate(-1)
                self.pause(PAUSE_SECONDS)
                return
            waiting.popleft()

    def _begin(self, case: CaseFiles) -> None:
        try:
            done = self._done_before(case)
            if done is None:
                self.in_flight[case.name] = submit_once(
                    self.client, case, self.options, hashes=hash_images(case)
                )
        except InputError as error:
            self._settle(
                case.name, CaseOutcome(case.name, REFUSED, reason=error.message)
            )
            return
        if done is not None:
            self._settle(case.name, outcome_of(case.name, done))
        self.on_change(self)

    def _done_before(self, case: CaseFiles) -> JobDocument | None:
        if self.finished is not None:
            return self.finished.get(case.name)
        return read_finished(case, self.options, self.out / case.name)

    def _collect(self) -> None:
        for position, (name, job) in enumerate(list(self.in_flight.items())):
            wait = POLL_SECONDS if position == 0 else 0
            newest = self.client.job(job.id, wait_seconds=wait)
            self.in_flight[name] = newest
            if newest.state.is_final:
                self._finish(name, newest)
        self.on_change(self)

    def _finish(self, name: str, job: JobDocument) -> None:
        outcome = outcome_of(name, job)
        if job.state is JobState.SUCCEEDED:
            try:
                self.client.download(job.id, self.out / name)
            except ServiceUnavailableError:
                raise  # it may be starting again; the job stays in flight
            except HansegError as error:
                outcome = CaseOutcome(
                    name, "not fetched", job=job.id, reason=error.message
                )
        del self.in_flight[name]
        self._settle(name, outcome)

    def _settle(self, name: str, outcome: CaseOutcome) -> None:
        self.outcomes[name] = outcome
        self._write_summary()
        self.on_change(self)

    def _write_summary(self) -> None:
        rows = [*self._in_order(), *passed_over_rows(self.passed_over)]
        write_summary(self.out / SUMMARY, rows)

    def _in_order(self) -> list[CaseOutcome]:
        return [self.outcomes[c.name] for c in self.cases if c.name in self.outcomes]


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """A batch of which every case was done before: no service is needed."""

    outcomes: Mapping[str, CaseOutcome]
    in_flight: Mapping[str, JobDocument] = field(default_factory=dict)

    @classmethod
    def of(
        cls, found: FoundCases, finished: Mapping[str, JobDocument], out: Path
    ) -> Self:
        """Return the outcomes of finished cases, and write the summary again."""
        names = [case.name for case in found.cases]
        outcomes = {name: outcome_of(name, finished[name]) for name in names}
        rows = [*outcomes.values(), *passed_over_rows(found.passed_over)]
        write_summary(out / SUMMARY, rows)
        return cls(outcomes)


class BatchProgress(Protocol):
    """Where the cases of a batch stand."""

    @property
    def outcomes(self) -> Mapping[str, CaseOutcome]:
        """The cases that have ended."""

    @property
    def in_flight(self) -> Mapping[str, JobDocument]:
        """The cases that the service has."""


def submit_once(
    client: Client, case: CaseFiles, options: JobOptions, *, hashes: Sequence[str]
) -> JobDocument:
    """Submit a case unless the service has it; one that failed gets a new try.

    Args:
        client: The service.
        case: What is sent.
        options: What is to be done.
        hashes: See `hash_images`.
    """
    request = JobRequest(case.ct, case.mr, options, case.name)
    fingerprint = _fingerprint(case.name, options, hashes)
    attempt = 1
    while True:
        job = client.submit(request, idempotency_key=f"batch-{fingerprint}-{attempt}")
        if not job.state.is_final or job.state is JobState.SUCCEEDED:
            return job
        # a job that has ended without results is one of an earlier run
        attempt += 1


def _fingerprint(name: str, options: JobOptions, hashes: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for part in (name, options.model_dump_json(), *hashes):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


def hash_images(case: CaseFiles) -> list[str]:
    """Return the SHA-256 of what is sent of the CT, and of the MR if there is one.

    Raises:
        InputError: One cannot be read.
    """
    return [sent_sha256(path) for path in (case.ct, case.mr) if path is not None]


def finished_cases(
    cases: Sequence[CaseFiles], options: JobOptions, out: Path
) -> dict[str, JobDocument]:
    """Return what earlier runs have left in `out` of these cases, by name."""
    found: dict[str, JobDocument] = {}
    for case in cases:
        # an unreadable image is reported when its case is submitted
        with contextlib.suppress(InputError):
            done = read_finished(case, options, out / case.name)
            if done is not None:
                found[case.name] = done
    return found


def read_finished(
    case: CaseFiles, options: JobOptions, folder: Path
) -> JobDocument | None:
    """Return what `folder` holds of the case if it was done with these very inputs.

    A record that is damaged, or of another version, counts as none.
    """
    record = folder / RECORD
    if not record.is_file():
        return None
    try:
        job = JobDocument.model_validate_json(record.read_bytes())
    except ValidationError:
        return None
    sent = [image.sent_sha256 or image.sha256 for image in job.inputs]
    same_inputs = list(dict.fromkeys(sent)) == hash_images(case)
    return job if same_inputs and job.options == options else None


def outcome_of(name: str, job: JobDocument) -> CaseOutcome:
    """Return a finished job as a row of the summary."""
    return CaseOutcome(
        case=name,
        state=job.state.value,
        mr_verdict=job.mr_verdict.value if job.mr_verdict else "",
        organs_found=count_found(job.organs),
        seconds=round(sum(stage.seconds for stage in job.stages), 1),
        job=job.id,
        reason=job.error.detail if job.error else "",
        mr_reason=job.registration.sentence if job.registration else "",
        flags=flags_of(job.organs),
        remarks=" | ".join(job.remarks),
    )


def flags_of(organs: Sequence[OrganResult]) -> str:
    """Return the flagged organs, such as ``Cochlea_L few_voxels voxels=1 limit=8``.

    Findings are separated by semicolons; each starts with its organ.
    """
    return "; ".join(f"{organ.name} {flag}" for organ in organs for flag in organ.flags)


def count_found(organs: Sequence[OrganResult]) -> int:
    """Return how many organs have a mask."""
    return sum(organ.status in FOUND for organ in organs)


def passed_over_rows(passed_over: Iterable[PassedOver]) -> list[CaseOutcome]:
    """Return files that may be a CT and are no case's as rows of the summary."""
    return [
        CaseOutcome(each.name, PASSED_OVER, reason=each.reason) for each in passed_over
    ]


def count_outcomes(outcomes: Sequence[CaseOutcome]) -> dict[str, int]:
    """Return how many cases ended in each state, the most frequent first."""
    return dict(Counter(outcome.state for outcome in outcomes).most_common())


def write_summary(path: Path, outcomes: Sequence[CaseOutcome]) -> None:
    """Write the table of outcomes; it is replaced as a whole."""
    names = list(CaseOutcome.__dataclass_fields__)
    partial = path.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for outcome in outcomes:
            writer.writerow(safe_row(getattr(outcome, name) for name in names))
    partial.replace(path)
