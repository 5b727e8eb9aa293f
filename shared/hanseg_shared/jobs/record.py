"""A job's row as a value, and what it looks like as a document."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.dicom.template import TEMPLATE_FILE
from hanseg_shared.documents import (
    DicomReport,
    InferenceReport,
    InputSummary,
    JobDocument,
    JobOptions,
    JobState,
    ModelSummary,
    OrganResult,
    Priority,
    Problem,
    Progress,
    RegistrationReport,
    Removal,
    ResultFile,
    ReviewState,
    StageTime,
)
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE

KEPT_WITH_RESULTS = frozenset({SOURCE_FILE, IDENTITY_FILE, TEMPLATE_FILE})
"""Of what goes with a job's images, what its structure set is written again with once
somebody has reviewed it; the structure set has the same of the patient."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """What is known when a job is created; its inputs are already in the store.

    Attributes:
        attachments: Files that belong to the inputs, such as where DICOM slices came
            from: every stage may read them, and they are no results.
        owned_by: Whose job it is.
        follows: The job of whose images it is made, without the MR.
        priority: How soon it is wanted.
    """

    id: str
    inputs: tuple[InputSummary, ...]
    remarks: tuple[str, ...] = ()
    attachments: tuple[ResultFile, ...] = ()
    options: JobOptions = field(default_factory=JobOptions)
    case_name: str | None = None
    batch_id: str | None = None
    owned_by: str = LOCAL_OWNER
    follows: str | None = None
    priority: Priority = Priority.ROUTINE


@dataclass(frozen=True, slots=True)
class Upload:
    """A file announced by size and hash, to be used by a job later."""

    id: str
    bytes: int
    sha256: str
    received: bool
    created_at: float
    owned_by: str = LOCAL_OWNER

    @property
    def owner(self) -> str:
        """Under which name the store keeps it."""
        return upload_owner(self.id)


@dataclass(frozen=True, slots=True)
class DicomInstance:
    """A DICOM file that was stored for a job to come."""

    study_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    sha256: str
    bytes: int
    created_at: float = 0.0
    owned_by: str = LOCAL_OWNER

    @property
    def owner(self) -> str:
        """Under which name the store keeps it."""
        return study_owner(self.study_uid, self.owned_by)


@dataclass(frozen=True, slots=True)
class Batch:
    """Jobs that were queued together, counted by state."""

    id: str
    name: str | None
    created_at: float
    counts: dict[JobState, int] = field(default_factory=dict)
    owned_by: str = LOCAL_OWNER

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
    inputs_expire_at: float | None = None
    record_expires_at: float | None = None
    case_name: str | None = None
    batch_id: str | None = None
    owned_by: str = LOCAL_OWNER
    remarks: tuple[str, ...] = ()
    progress: Progress | None = None
    stages: tuple[StageTime, ...] = ()
    registration: RegistrationReport | None = None
    intermediate: tuple[ResultFile, ...] = ()
    model: ModelSummary | None = None
    inference: InferenceReport | None = None
    organs: tuple[OrganResult, ...] = ()
    files: tuple[ResultFile, ...] = ()
    dicom: DicomReport | None = None
    versions: dict[str, str] = field(default_factory=dict)
    error: Problem | None = None
    model_name: str | None = None
    mr_verdict: str | None = None
    flag_codes: str | None = None
    flag_count: int | None = None
    removed: tuple[Removal, ...] | None = None
    counted: bool = False
    summed: bool = False
    review: ReviewState = ReviewState.OPEN
    follows: str | None = None
    priority: Priority = Priority.ROUTINE
    passed_over: int = 0
    put_off: bool = False
    announced: bool = False

    def input(self, role: str) -> InputSummary | None:
        """Return the input of a role (``ct`` or ``mr``), None if there is none."""
        return next((image for image in self.inputs if image.role == role), None)

    @property
    def kept_with_results(self) -> tuple[ResultFile, ...]:
        """What goes with the images, but is kept as long as the results."""
        if self.state is not JobState.SUCCEEDED:
            return ()
        return tuple(f for f in self.intermediate if f.name in KEPT_WITH_RESULTS)

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
            started_at=moment_or_none(self.started_at),
            finished_at=moment_or_none(self.finished_at),
            inputs_expire_at=moment_or_none(self.inputs_expire_at),
            expires_at=moment_or_none(self.expires_at),
            record_expires_at=moment_or_none(self.record_expires_at),
            stages=self.stages,
            inputs=self.inputs,
            remarks=self.remarks,
            mr_verdict=self.registration.verdict if self.registration else None,
            registration=self.registration,
            model=self.model,
            inference=self.inference,
            organs=self.organs,
            dicom=self.dicom,
            versions=self.versions,
            error=self.error,
            removed=self.removed or (),
            review=self.review if self.state is JobState.SUCCEEDED else None,
            follows=self.follows,
            priority=self.priority,
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
    dicom: DicomReport | None = None
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
        proven_seconds: How long ago it last proved that it can work; None if never.
    """

    name: str
    queue: str
    state: WorkerState
    since: float
    silent_seconds: float
    trouble: str | None = None
    proven_seconds: float | None = None


STUDY = "study-"
"""How the names begin under which the store keeps studies."""


def upload_owner(upload_id: str) -> str:
    """Return under which name the store keeps an upload."""
    return f"upload-{upload_id}"


def study_owner(study_uid: str, owned_by: str = LOCAL_OWNER) -> str:
    """Return under which name the store keeps what one owner sent of a study.

    It is a hash: what a study is called stays out of paths.
    """
    named = study_uid if owned_by == LOCAL_OWNER else f"{owned_by}\n{study_uid}"
    return f"{STUDY}{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def moment(seconds: float) -> datetime:
    """Return seconds since 1970 as a UTC time."""
    return datetime.fromtimestamp(seconds, tz=UTC)


def moment_or_none(seconds: float | None) -> datetime | None:
    """Return seconds since 1970 as a UTC time; None stays None."""
    return None if seconds is None else moment(seconds)
