"""A job's row as a value, and what it looks like as a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from hanseg_shared.documents import (
    InferenceReport,
    InputSummary,
    JobDocument,
    JobOptions,
    JobState,
    ModelSummary,
    OrganResult,
    Problem,
    Progress,
    RegistrationReport,
    ResultFile,
    StageTime,
)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is known when a job is created; its inputs are already in the store."""

    id: str
    inputs: tuple[InputSummary, ...]
    remarks: tuple[str, ...] = ()
    options: JobOptions = field(default_factory=JobOptions)
    case_name: str | None = None
    batch_id: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """A file announced by size and hash, to be used by a job later."""

    id: str
    bytes: int
    sha256: str
    received: bool
    created_at: float

    @property
    def owner(self) -> str:
        """Under which name the store keeps it."""
        return upload_owner(self.id)


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were queued together, counted by state."""

    id: str
    name: str | None
    created_at: float
    counts: dict[JobState, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """How many jobs it has."""
        return sum(self.counts.values())

    @property
    def unfinished(self) -> int:
        """How many of them are not in a final state."""
        return sum(n for state, n in self.counts.items() if not state.is_final)


@dataclass(frozen=True, slots=True)
class Job:
    """One row of the table of jobs; times are seconds since 1970."""

    id: str
    state: JobState
    options: JobOptions
    inputs: tuple[InputSummary, ...]
    created_at: float
    updated_at: float
    version: int = 1
    token: str | None = None
    lease_until: float | None = None
    attempts: int = 0
    total_attempts: int = 0
    published_at: float | None = None
    cancel_requested: bool = False
    started_at: float | None = None
    stage_started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    case_name: str | None = None
    batch_id: str | None = None
    remarks: tuple[str, ...] = ()
    progress: Progress | None = None
    stages: tuple[StageTime, ...] = ()
    registration: RegistrationReport | None = None
    intermediate: tuple[ResultFile, ...] = ()
    model: ModelSummary | None = None
    inference: InferenceReport | None = None
    organs: tuple[OrganResult, ...] = ()
    files: tuple[ResultFile, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    error: Problem | None = None

    def input(self, role: str) -> InputSummary | None:
        """Return the input of a role (``ct`` or ``mr``), None if there is none."""
        return next((image for image in self.inputs if image.role == role), None)

    def file(self, name: str) -> ResultFile | None:
        """Return the result file of a name, None if there is none."""
        return next((file for file in self.files if file.name == name), None)

    def document(self, *, links: dict[str, str] | None = None) -> JobDocument:
        """Return the job as callers see it."""
        return JobDocument(
            id=self.id,
            state=self.state,
            case=self.case_name,
            batch=self.batch_id,
            options=self.options,
            progress=self.progress,
            attempt=self.total_attempts,
            created_at=moment(self.created_at),
            started_at=_moment_or_none(self.started_at),
            finished_at=_moment_or_none(self.finished_at),
            expires_at=_moment_or_none(self.expires_at),
            stages=self.stages,
            inputs=self.inputs,
            remarks=self.remarks,
            mr_verdict=self.registration.verdict if self.registration else None,
            registration=self.registration,
            model=self.model,
            inference=self.inference,
            organs=self.organs,
            versions=self.versions,
            error=self.error,
            links=links or {},
        )


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a worker publishes with a finished stage; None leaves a field as it is."""

    registration: RegistrationReport | None = None
    intermediate: tuple[ResultFile, ...] = ()
    """Files for the next stages, added to those of the stages before."""
    model: ModelSummary | None = None
    inference: InferenceReport | None = None
    organs: tuple[OrganResult, ...] | None = None
    files: tuple[ResultFile, ...] | None = None
    """The job's result files, set by the last stage."""
    versions: dict[str, str] | None = None


class WorkerState(StrEnum):
    """How far a worker is."""

    LOADING = "loading"
    """It gets ready: loads its model, or tries to reach the database."""

    READY = "ready"
    """It takes jobs, or would if there were any."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """What a worker last said of itself; times are seconds since 1970.

    Attributes:
        since: When it came into its state.
        silent_seconds: How long ago it said so.
        trouble: Why it is not ready yet, though it tries; None if nothing is wrong.
    """

    name: str
    queue: str
    state: WorkerState
    since: float
    silent_seconds: float
    trouble: str | None = None


def upload_owner(upload_id: str) -> str:
    """Return under which name the store keeps an upload."""
    return f"upload-{upload_id}"


def moment(seconds: float) -> datetime:
    """Return seconds since 1970 as a UTC time."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def _moment_or_none(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment(seconds)
