"""Cases from a watched folder through a service: each once, none lost.

The order of the steps is what keeps that promise. A case is written down before it is
sent, is sent under an idempotency key made of its images, name and options, and is
written down as done when its results are in their place; its images are moved last.
Killed between any two steps, the next start goes on with the second.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from hanseg_shared.client.batch import (
    IN_FLIGHT,
    POLL_SECONDS,
    count_found,
    hash_images,
    submit_once,
)
from hanseg_shared.client.client import Client
from hanseg_shared.client.inputs import check_headers, require_dicom
from hanseg_shared.client.watch.arrivals import Arrival, Arrivals
from hanseg_shared.client.watch.journal import CaseState, Journal, Record
from hanseg_shared.client.watch.moving import move_away
from hanseg_shared.documents import JobDocument, JobOptions, JobState
from hanseg_shared.errors import (
    HansegError,
    InputError,
    JobError,
    JobNotFoundError,
    JobStateError,
    ServiceUnavailableError,
)
from hanseg_shared.io.cases import CaseFiles

PUT_OFF_SECONDS = 60.0
"""How long a case is left alone that the service had trouble to take."""


class Report(Protocol):
    """Told what happens, as an event and as a sentence."""

    def __call__(self, event: str, sentence: str, **members: object) -> None:
        """Show it."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go.

    Attributes:
        out: Results, a sub-folder a case.
        processed: Images of cases that succeeded; they stay if None.
        failed: Images of cases that did not, with the reason beside them; likewise.
    """

    out: Path
    processed: Path | None = None
    failed: Path | None = None


@dataclass(slots=True)
class WatchRun:
    """A watched folder, its service, and what is under way.

    Attributes:
        client: The service.
        arrivals: The folder.
        journal: What became of earlier cases.
        options: The same for all cases.
        places: Where things go.
        report: Told what happens.
        needs_dicom: What asks for DICOM, such as ``--dicom``; empty if nothing does.
        counts: How many cases ended how in this run.
        put_off: Names of cases that are tried again later: the service has lost their
            job, or has a trouble of its own, an answer of 500 most often.
    """

    client: Client
    arrivals: Arrivals
    journal: Journal
    options: JobOptions
    places: Places
    report: Report
    needs_dicom: str = ""
    counts: dict[CaseState, int] = field(default_factory=dict)
    put_off: set[str] = field(default_factory=set)
    _here: dict[str, Arrival] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    def round(self) -> None:
        """Fetch what has finished, and send what has arrived.

        Raises:
            ServiceUnavailableError: The service does not answer; nothing is lost.
        """
        self._collect()
        try:
            arrived = self.arrivals.look()
        except OSError as error:
            self._tell_once("folder", f"the watched folder cannot be read: {error}")
            return
        for arrival in arrived:
            if len(self.in_flight) >= IN_FLIGHT:
                return
            self._take(arrival)

    @property
    def in_flight(self) -> list[Record]:
        """The cases that the service has, the oldest first."""
        return [
            record
            for record in self.journal.records.values()
            if record.state is CaseState.TAKEN and record.job is not None
        ]

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to do now unless something else arrives."""
        goes_on = any(record.name not in self.put_off for record in self.in_flight)
        return not goes_on and not self.arrivals.is_waiting

    def _take(self, arrival: Arrival) -> None:
        """Send what has arrived, unless it is known."""
        record = self.journal.of_signature(arrival.signature)
        if record is None or self._is_to_be_sent(record):
            record = self._read(arrival)
            if record is None:
                return
            if record.state is CaseState.SUCCEEDED:
                where = self.places.out / record.name
                self._say("known", f"{arrival.name}: done already, see {where}")
        if record.state is CaseState.TAKEN:
            self._here[record.content] = arrival
            return
        if record.state is CaseState.FAILED:
            self._say("failed before", f"{arrival.name}: failed: {record.reason}")
        self._put_away(record, arrival)

    def _read(self, arrival: Arrival) -> Record | None:
        """Look into an arrival; returns what is known of it now, None if nothing."""
        try:
            case = arrival.case()
            hashes = hash_images(case)
        except InputError as error:
            if isinstance(error.__cause__, OSError):  # locked by its writer, perhaps
                self._tell_once(arrival.name, f"not yet: {error.message}")
                self.arrivals.postpone(arrival)
            else:
                self._pass_over(arrival, error)
            return None
        if not self.arrivals.is_unchanged(arrival):
            return None
        content = hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        known = self.journal.records.get(content)
        if known is not None and not self._is_wanted(known, arrival):
            return self.journal.put(
                known.model_copy(update={"signature": arrival.signature})
            )
        record = known or Record(
            content=content,
            name=self.journal.free_name(arrival.name, self.places.out),
        )
        begun = Record(content=content, name=record.name, signature=arrival.signature)
        return self._send(self.journal.put(begun), case, arrival, hashes)

    def _send(
        self, record: Record, case: CaseFiles, arrival: Arrival, hashes: Sequence[str]
    ) -> Record | None:
        self.put_off.discard(record.name)
        try:
            self._check(case)
            named = CaseFiles(record.name, case.ct, case.mr)
            job = submit_once(self.client, named, self.options, hashes=hashes)
        except JobStateError:
            return None  # a request of before the last stop is still worked on
        except InputError as error:
            self._here[record.content] = arrival
            self._fail(record, error.message)
            return None
        except JobError as error:
            self._put_off(record, error)
            self.arrivals.put_off(arrival, PUT_OFF_SECONDS)
            return None
        found = self.journal.put(record.model_copy(update={"job": job.id}))
        with_mr = "CT and MR" if case.mr else case.ct.name
        self._say("sent", f"{record.name}: sent ({with_mr}), job {job.id}", job=job.id)
        return found

    def _check(self, case: CaseFiles) -> None:
        if self.needs_dicom:
            require_dicom(case.ct, because=self.needs_dicom)
        check_headers(case.ct, case.mr)

    def _collect(self) -> None:
        """Look at the jobs that are under way; the oldest is waited for a little."""
        for position, record in enumerate(self.in_flight):
            assert record.job is not None
            wait = POLL_SECONDS if position == 0 else 0
            self.put_off.discard(record.name)
            try:
                job = self.client.job(record.job, wait_seconds=wait)
            except JobNotFoundError:
                self._forget_job(record)
                continue
            except JobError as error:
                self._put_off(record, error)
                continue
            if job.state.is_final:
                self._finish(record, job)

    def _put_off(self, record: Record, error: JobError) -> None:
        """Tell once that the service cannot do with a case what it should."""
        self.put_off.add(record.name)
        self._tell_once(record.name, f"{record.name}: tried again: {error.message}")

    def _forget_job(self, record: Record) -> None:
        """Have a case whose job the service does not know sent as if it arrived now.

        Its images are looked at anew for that: they may have changed since.
        """
        self._here.pop(record.content, None)
        self.put_off.add(record.name)
        self._say(
            "lost",
            f"{record.name}: the service does not know its job {record.job} any more; "
            "its images are sent again if they are still here",
            job=record.job,
        )
        self.journal.put(record.model_copy(update={"job": None}))

    def _finish(self, record: Record, job: JobDocument) -> None:
        if job.state is not JobState.SUCCEEDED:
            reason = job.error.detail if job.error and job.error.detail else "no reason"
            self._fail(record, f"the job is {job.state}: {reason}")
            return
        try:
            self.client.download(job.id, self.places.out / record.name)
        except ServiceUnavailableError:
            raise  # it may be starting again, or the disk is full; it stays in flight
        except HansegError as error:
            self._fail(record, f"its results were not fetched: {error.message}")
            return
        done = {"state": CaseState.SUCCEEDED}
        record = self.journal.put(record.model_copy(update=done))
        where = self.places.out / record.name
        verdict = f", MR {job.mr_verdict}" if job.mr_verdict else ""
        self._say(
            "done",
            f"{record.name}: {count_found(job.organs)} organs{verdict}; {where}",
            job=job.id,
            out=str(where),
        )
        self._end(record)

    def _fail(self, record: Record, reason: str) -> None:
        failed = {"state": CaseState.FAILED, "reason": reason}
        record = self.journal.put(record.model_copy(update=failed))
        self._say("failed", f"{record.name}: failed: {reason}", reason=reason)
        self._end(record)

    def _end(self, record: Record) -> None:
        self.counts[record.state] = self.counts.get(record.state, 0) + 1
        arrival = self._here.pop(record.content, None)
        if arrival is not None:
            self._put_away(record, arrival)

    def _put_away(self, record: Record, arrival: Arrival) -> None:
        """Move the images of a case that has ended, if they are to be moved."""
        if not self.arrivals.is_unchanged(arrival):
            return  # it is another case now, or was taken away
        has_failed = record.state is CaseState.FAILED
        target = self.places.failed if has_failed else self.places.processed
        if target is None:
            self.arrivals.dismiss(arrival)
            return
        try:
            reason = record.reason if has_failed else None
            move_away(arrival, target, reason=reason)
        except OSError as error:
            self._tell_once(arrival.name, f"it cannot be moved to {target}: {error}")
            self.arrivals.dismiss(arrival)
            return
        self.journal.put(record.model_copy(update={"moved": True}))

    def _pass_over(self, arrival: Arrival, error: InputError) -> None:
        self._say("passed over", f"not taken: {error.message}", name=arrival.name)
        self.arrivals.dismiss(arrival)

    @staticmethod
    def _is_to_be_sent(record: Record) -> bool:
        """Whether the files of a record that have not changed are to be sent."""
        if record.state is CaseState.FAILED:
            return record.moved  # and put into the folder once more
        return record.state is CaseState.TAKEN and record.job is None

    @staticmethod
    def _is_wanted(record: Record, arrival: Arrival) -> bool:
        """Whether images that are known, but not from these files, are to be sent."""
        if record.state is CaseState.FAILED:
            return record.moved or record.signature != arrival.signature
        return record.state is CaseState.TAKEN and record.job is None

    def say_waiting(self, sentence: str) -> None:
        """Tell that something is waited for, unless that was the last that was told."""
        self._tell_once("service", sentence)

    def say_well(self) -> None:
        """Note that nothing is waited for: if it is again, that is told again."""
        self._told = {each for each in self._told if each[0] != "service"}

    def _say(self, event: str, sentence: str, **members: object) -> None:
        self.report(event, sentence, **members)

    def _tell_once(self, name: str, sentence: str) -> None:
        if (name, sentence) not in self._told:
            self._told.add((name, sentence))
            self.report("waiting", sentence, name=name)
