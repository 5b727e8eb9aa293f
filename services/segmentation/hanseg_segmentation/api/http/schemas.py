"""The bodies of requests and answers that only the API has.

What a job is, is in `hanseg_shared.documents`.
"""

from __future__ import annotations

import unicodedata
from datetime import date, datetime
from typing import Annotated, Literal, Self

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from hanseg_shared.access import Scope
from hanseg_shared.dicom.template import Template
from hanseg_shared.document import Document
from hanseg_shared.documents import (
    JobDocument,
    JobOptions,
    JobState,
    ListedFile,
    MrVerdict,
    Priority,
    Progress,
    ReviewState,
)
from hanseg_shared.io.dicom.source import Uid
from hanseg_shared.organs import Evidence, Side
from hanseg_shared.webhooks.documents import LONGEST_URL, EventType

MOST_CASES = 200
"""Most cases of one batch: all are looked at before it is accepted."""


def _compose(name: object) -> object:
    """Return a name in Unicode's composed form (NFC): one name, one spelling."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


Label = Annotated[
    str,
    BeforeValidator(_compose),
    StringConstraints(
        min_length=1,
        max_length=128,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        strip_whitespace=True,
    ),
]
"""A name given by the caller, shown again but never used in a path or a log.

It is kept in Unicode's composed form (NFC), in whatever form it was sent."""


def _written_as(example: str) -> BeforeValidator:
    """Refuse seconds since 1970, which pydantic would take for a day or a time."""

    def refuse_number(value: object) -> object:
        if isinstance(value, str) and value[:1].isdigit() and "-" in value[1:]:
            return value
        raise ValueError(f"write it as {example}")

    return BeforeValidator(refuse_number)


Day = Annotated[date, _written_as("2026-01-31")]
"""A day as ISO 8601, and nothing else."""

Moment = Annotated[AwareDatetime, _written_as("2026-01-31T12:00:00Z")]
"""A time as ISO 8601 with its zone, and nothing else."""

Id = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

_UID = "1.2.826.0.1.3680043.8.498.1"

_ID_1, _ID_2 = "4f0c1d2e3b4a59687786a5b4c3d2e1f0", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"


class CaseRequest(Document):
    """What is asked of every case, however its images come.

    `ct_series` and `mr_series` choose among several series of a DICOM archive;
    `template_document` is a template to use without saving it; the `priority` `urgent`
    needs a key that has the scope `urgent`.
    """

    options: JobOptions = JobOptions()
    case: Label | None = None
    ct_series: Uid | None = None
    mr_series: Uid | None = None
    template_document: Template | None = None
    priority: Priority = Priority.ROUTINE


class JobSubmission(CaseRequest):
    """The part ``request`` of a multipart submission: options, and a case's name."""

    model_config = ConfigDict(
        title="JobRequest",
        json_schema_extra={
            "examples": [{"case": "case_01", "options": {"registration": "affine"}}]
        },
    )


class UploadedCase(CaseRequest):
    """A submission of images that were uploaded before."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"ct": _ID_1, "mr": _ID_2, "case": "case_01", "options": {}}]
        }
    )

    ct: Id
    mr: Id | None = None
    reg: Id | None = None


class StudyCase(CaseRequest):
    """A submission of a study whose instances were stored by STOW-RS before."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"study": _UID, "options": {}}]}
    )

    study: Uid


class WebhookRequest(Document):
    """Where what is to be told: by default everything there is to tell.

    The `url` begins with `https://` and leads to a public address, unless the service's
    settings allow others.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://example.org/hanseg", "events": ["job.succeeded"]}
            ]
        }
    )

    url: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]
    events: Annotated[
        tuple[EventType, ...], Field(min_length=1, max_length=len(EventType))
    ] = tuple(EventType)


class UploadRequest(Document):
    """A file that is going to be uploaded: its size and SHA-256 (hexadecimal)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"bytes": 73400320, "sha256": "9f86d081884c7d65" * 4}]
        }
    )

    bytes: Annotated[int, Field(ge=1, le=2**62, strict=True)]
    sha256: Sha256


class UploadDocument(Document):
    """An announced file; `received` once its content is there and verified."""

    id: str
    bytes: int
    sha256: str
    received: bool
    created_at: datetime
    expires_at: datetime
    links: dict[str, str]


class BatchCase(Document):
    """One case of a batch, its images uploaded before."""

    name: Label
    ct: Id
    mr: Id | None = None
    reg: Id | None = None


class BatchRequest(Document):
    """Cases to queue together: uploaded ones, or a folder on the server."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "spring", "cases": [{"name": "case_01", "ct": _ID_1}]},
                {"name": "HaN-Seg", "folder": "HaN-Seg/set_1"},
            ],
            "oneOf": [{"required": ["cases"]}, {"required": ["folder"]}],
        }
    )

    name: Label | None = None
    options: JobOptions = JobOptions()
    cases: (
        Annotated[tuple[BatchCase, ...], Field(min_length=1, max_length=MOST_CASES)]
        | None
    ) = None
    folder: Label | None = None
    """A folder below the one that the service was told to read batches from."""
    template_document: Template | None = None
    priority: Priority = Priority.ROUTINE

    @model_validator(mode="after")
    def _require_cases_or_folder(self) -> Self:
        if (self.cases is None) == (self.folder is None):
            raise ValueError("a batch is made of either cases or a folder")
        names = [case.name for case in self.cases or ()]
        if len(set(names)) < len(names):
            raise ValueError("two cases of a batch have one name")
        return self


class BatchDocument(Document):
    """A batch: how many of its jobs are in which state, and where they are listed."""

    id: str
    name: str | None
    created_at: datetime
    total: int
    unfinished: int
    counts: dict[JobState, int]
    links: dict[str, str]


class JobList(Document):
    """A page of jobs, newest first; `next` is where the next page is."""

    jobs: tuple[JobDocument, ...]
    next: str | None = None


class WorklistLine(Document):
    """A job as one line of the worklist.

    Attributes:
        version: Grows with every change of the job.
        cancelling: Whether somebody wants it cancelled, and its worker has not heard.
        owner: Whose it is, for callers who see everybody's.
        seconds_left: How long it will take from now on, as the jobs before it did;
            None once it has ended, and where no such job has ended yet.
        has_mr: Whether an MR was sent.
        flags: How many findings there are about its organs; None before it is done.
        review: How far its review is; None where there are no results.
        error: Why it failed, or what became of it.
    """

    id: str
    version: int
    state: JobState
    cancelling: bool
    case: str | None
    batch: str | None
    owner: str | None
    created_at: datetime
    finished_at: datetime | None
    progress: Progress | None
    seconds_left: float | None
    model: str | None
    has_mr: bool
    mr_verdict: MrVerdict | None
    flags: int | None
    review: ReviewState | None
    error: str | None


class WorklistPage(Document):
    """A page of lines, the newest job first; `next` is where the next page is."""

    jobs: tuple[WorklistLine, ...]
    next: str | None = None


class ResultList(Document):
    """All result files of a job that has succeeded."""

    job: str
    state: JobState
    files: tuple[ListedFile, ...]
    links: dict[str, str]


class TemplateLink(Document):
    """A template: its newest version, and where it is."""

    name: str
    version: int
    label: str
    description: str
    structures: int
    read_only: bool
    href: str


class TemplateList(Document):
    """The templates, by name; those that ship come first."""

    templates: tuple[TemplateLink, ...]


class CodeDocument(Document):
    """A SNOMED CT concept."""

    value: str
    meaning: str


class OrganDocument(Document):
    """One of the 30 organs at risk."""

    label: int
    name: str
    side: Side
    code: CodeDocument
    colour: tuple[int, int, int]
    description: str


class OrganList(Document):
    """The 30 organs at risk, in label order."""

    organs: tuple[OrganDocument, ...]


class ModelDocument(Document):
    """A model that a job may ask for.

    `evidence` names, for each organ, the best kind of contours it was trained on.
    """

    name: str
    version: str
    sha256: str
    licence: str
    description: str
    spacing_mm: tuple[float, float, float]
    evidence: dict[str, Evidence]
    provenance: dict[str, str]
    figures: dict[str, dict[str, float]]


class ModelList(Document):
    """The installed models, by name."""

    models: tuple[ModelDocument, ...]


class SigningKeyDocument(Document):
    """A public key (ed25519) that results were signed with.

    Attributes:
        id: What people compare: 16 digits of the key's SHA-256.
        key: Its 32 bytes in base64.
        since: When a worker first had it.
    """

    id: str
    key: str
    algorithm: Literal["ed25519"] = "ed25519"
    since: datetime


class SigningKeyList(Document):
    """The keys, the newest first; one that was replaced stays among them."""

    keys: tuple[SigningKeyDocument, ...]


class SessionDocument(Document):
    """In whose name requests are made.

    Attributes:
        key: The key's id; None where no key is needed, or a token was sent.
        scopes: What it may do, with what that contains.
        signed_in: Whether a cookie says so, which can be given up by signing out.
        csrf_token: What a browser sends as `X-CSRF-Token` with what changes something.
    """

    owner: str
    key: str | None
    scopes: tuple[Scope, ...]
    signed_in: bool
    csrf_token: str | None


class Liveness(Document):
    """The process answers."""

    status: str = "alive"


class HealthCheck(Document):
    """One thing that must work before jobs can be done."""

    model_config = ConfigDict(title="Check")

    name: str
    ok: bool
    detail: str
    state: Literal["ready", "loading", "dead"] | None = None
    """Of a worker: takes jobs, gets ready, or not heard of any more."""
    since: datetime | None = None
    """Since when the worker is ready or loading, or when the last one was heard of."""


class Readiness(Document):
    """Whether jobs that are sent now will be done."""

    ready: bool
    checks: tuple[HealthCheck, ...]
