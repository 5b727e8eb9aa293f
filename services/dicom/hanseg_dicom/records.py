"""What the bridge remembers of studies, cases and deliveries; see `ledger.py`.

Times are seconds since 1970.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hanseg_dicom.plan import Plan
from hanseg_shared.documents import JobOptions


class CaseState(StrEnum):
    """Where a case stands."""

    FOUND = "found"
    """Its instances are in Orthanc; nothing was sent."""

    SUBMITTING = "submitting"
    """It is being sent, or was, and the answer was lost."""

    SUBMITTED = "submitted"
    """The service has a job for it."""

    FETCHED = "fetched"
    """The results are here."""

    STORED = "stored"
    """The results are in Orthanc; destinations may not have them yet."""

    DONE = "done"

    FAILED = "failed"
    """It will not be tried again unless someone asks for it."""

    SUPERSEDED = "superseded"
    """Other instances took its place, or Orthanc lost them, before it was sent."""


ENDED = (CaseState.DONE, CaseState.FAILED, CaseState.SUPERSEDED)


class DeliveryState(StrEnum):
    """Whether a destination has a case's results."""

    DUE = "due"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NotedStudy:
    """A study that is to be looked at.

    Attributes:
        alone_key: Which CT, by the key of a plan with nothing else, waits for an MR.
        alone_since: Since when it waits.
    """

    id: str
    alone_key: str
    alone_since: float | None


@dataclass(frozen=True, slots=True)
class Case:
    """One set of instances and what became of it.

    Attributes:
        round: How often it was begun anew at a person's wish.
        retries: How often the service was asked to do a failed job again.
        attempts: Failures in a row of the step that is due.
        files: Names of the results, relative to the case's folder.
        instances: What Orthanc calls them.
    """

    key: str
    study: str
    state: CaseState
    plan: Plan
    options: JobOptions
    round: int
    job: str | None
    retries: int
    attempts: int
    due_at: float
    reason: str
    files: tuple[str, ...]
    instances: tuple[str, ...]
    changed_at: float

    @property
    def name(self) -> str:
        """What the case is called in logs, and by the service; tells of no patient."""
        return f"orthanc-{self.key[:16]}"

    @property
    def idempotency_key(self) -> str:
        """Makes the service do it once; another after each wish to begin anew."""
        return f"{self.key}-{self.round}" if self.round else self.key


@dataclass(frozen=True, slots=True)
class Delivery:
    """One case's results on their way to one destination."""

    key: str
    destination: str
    state: DeliveryState
    attempts: int
    due_at: float
    reason: str
