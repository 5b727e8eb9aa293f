"""The JSON documents of a job: what is written to files and sent over HTTP.

Seconds, millimetres and millilitres throughout; times are UTC, ISO 8601.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from hanseg_shared.document import Document
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.organs import Evidence, OrganStatus


class MrVerdict(StrEnum):
    """What became of the MR."""

    USED = "used"
    """It was registered, and the network saw it."""

    REJECTED = "rejected"
    """Its registration cannot be trusted; the organs come from the CT alone."""

    ABSENT = "absent"
    """None was sent; the organs come from the CT alone."""


class TransformKind(StrEnum):
    """Which motion the registration may find."""

    RIGID = "rigid"
    AFFINE = "affine"
    DEFORMABLE = "deformable"
    NONE = "none"
    """Trust the headers: the MR is only resampled."""


class Backend(StrEnum):
    """Which registration library works."""

    ELASTIX = "elastix"
    ANTS = "ants"


class DicomOutput(StrEnum):
    """An object that is written as DICOM; it needs a CT that came as DICOM."""

    RTSTRUCT = "rtstruct"
    """The contours, as a structure set."""

    SEG = "seg"
    """The masks, as a segmentation: one binary segment an organ."""

    LABELMAP = "labelmap"
    """The masks, as a segmentation of the newer LABELMAP type."""

    REG = "reg"
    """The registration of the MR to the CT."""

    MR = "mr"
    """The registered MR, as a series in the CT's frame of reference."""

    REPORT = "report"
    """The review page, as an encapsulated PDF."""


class InferenceMode(StrEnum):
    """How near to float32 on every tile a network's answer must be."""

    RAPID = "rapid"
    """Single voxels of borders may differ, and few tiles are laid around the organs."""

    FAST = "fast"
    """The organs of exact mode; tiles where no organ can be are left out."""

    EXACT = "exact"
    """float32 on every tile, as nnU-Net's own predictor; for comparisons."""


class JobState(StrEnum):
    """Where a job stands; a stage's state lasts until its results are published."""

    QUEUED = "queued"
    REGISTERING = "registering"
    SEGMENTING = "segmenting"
    PACKAGING = "packaging"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    """Its files were deleted; only this record remains."""

    @property
    def is_final(self) -> bool:
        """Whether nothing more will happen to the job's results."""
        return self in FINAL_STATES


FINAL_STATES = frozenset(
    {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED}
)


class ReviewState(StrEnum):
    """How far people are with looking at a job's results."""

    OPEN = "open"
    """Nobody has said anything of them yet."""

    IN_PROGRESS = "in_progress"
    """Something was said, and nothing signed."""

    SIGNED = "signed"
    """Somebody has signed them."""


class Priority(StrEnum):
    """How soon a job is wanted; workers take urgent ones first."""

    URGENT = "urgent"
    """Before every routine job, whosever it is; a stage at work is not interrupted."""

    ROUTINE = "routine"
    """In turn with the other owners' jobs."""


class JobOptions(Document):
    """What a caller may choose about a job."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = (
        "default"
    )
    registration: TransformKind = TransformKind.RIGID
    backend: Backend = Backend.ELASTIX
    outputs: tuple[DicomOutput, ...] | None = None
    """Which DICOM objects are written; None writes `NATURAL_OUTPUTS` for a CT that came
    as DICOM, and nothing for another."""
    template: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}(@[1-9][0-9]{0,8})?$")
    ] = "default"
    """The template of the structure set, ``name`` or ``name@version``."""


NATURAL_OUTPUTS = (DicomOutput.RTSTRUCT, DicomOutput.REG, DicomOutput.REPORT)
"""What a TPS that sends a CT as DICOM gets back if it asks for nothing."""


class DicomReport(Document):
    """What was written as DICOM, what was not, and why.

    Attributes:
        written: The kinds of objects that are among the results.
        left_out: For each kind that was asked for and not written, one sentence.
        template: The template of the structure set, ``name@version``.
        remarks: What a person should know of the objects, such as organs left out.
    """

    written: tuple[DicomOutput, ...] = ()
    left_out: dict[DicomOutput, str] = Field(default_factory=dict)
    template: str | None = None
    remarks: tuple[str, ...] = ()


class RegistrationReport(Document):
    """What the registration stage found; written as `registration.json`.

    Attributes:
        verdict: Whether the network may see the MR.
        reason: For a person: a sentence that names every check that failed, with its
            value and limit, such as ``MR rejected: it does not match this CT (skin 4.1
            mm apart, limit 2.5). Possibly another patient.``
        kind: Which motion was found, or asked for.
        backend: The library that found it; None if none was asked.
        sent: Whether the registration is the caller's own, sent along with the images,
            and only judged here.
        measures: The numbers behind the verdict, by name with unit, such as
            ``rotation_deg``, ``field_of_view_share``, ``mutual_information_after``.
        seconds: Wall time of the stage's computation.
        parameters_sha256: SHA-256 over the files of parameters that the library had.
        remarks: What a person should know of the images; see `JobDocument.remarks`.
    """

    verdict: MrVerdict
    reason: str
    kind: TransformKind = TransformKind.NONE
    backend: Backend | None = None
    sent: bool = False
    measures: dict[str, float] = Field(default_factory=dict)
    seconds: float = 0.0
    parameters_sha256: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def why(self) -> str:
        """The reason without the verdict it begins with, for below a headline."""
        words = self.reason.removeprefix(f"MR {self.verdict}: ")
        return f"{words[:1].upper()}{words[1:]}"

    @property
    def sentence(self) -> str:
        """The verdict and its reason, also where the reason does not begin with it."""
        if "MR" in self.reason[:5]:
            return self.reason
        return f"MR {self.verdict}: {self.reason}"


class OrganResult(Document):
    """What became of one organ.

    Attributes:
        volume_ml: The mask's volume; 0 where there is no mask.
        confidence: Mean probability the model gave the organ where it segmented it,
            0..1: on the model's own grid, strays that were removed afterwards included.
        flags: Every check that found something, with its number.
        evidence: The best kind of data that the model learned this organ from; None if
            the model does not know it.
    """

    name: str
    label: int
    status: OrganStatus
    volume_ml: float = 0.0
    confidence: float | None = None
    flags: tuple[Flag, ...] = ()
    evidence: Evidence | None = None

    @property
    def codes(self) -> frozenset[FlagCode]:
        """The flags without their numbers."""
        return frozenset(flag.code for flag in self.flags)


class ModelSummary(Document):
    """Which weights made the masks."""

    name: str
    version: str
    sha256: str


class InferenceReport(Document):
    """How the network was run: what was chosen for this case and machine, and why.

    Attributes:
        mode: What the site asks for.
        device: Where the network ran, ``cpu`` or ``cuda``.
        engine: Library and precision, such as ``eager-bf16``.
        folds: Networks whose answers were combined.
        folds_in_model: Networks that the model has.
        step: Distance of neighbouring tiles, as a share of a tile's edge.
        mirrored: The patient's axes along which tiles were mirrored as well.
        tiles: Tiles that each network was shown, not counting mirrored ones.
        tiles_in_all: Tiles that show anything but air.
        localised: Whether tiles were left out because no organ can be there.
        moved: Whether the others were laid around the organs, not over the volume:
            much faster, but a network that normalises each tile by itself answers
            differently when a tile shows something else.
        reason: One sentence for a person: why no more and no less was done.
        blanked: Whether couch, mask and all else outside the patient's body were
            blanked before the network saw the CT.
        second_stage: How the finer network was run that contours some organs again;
            with no tiles if there was no time. None if the model has none.
    """

    mode: InferenceMode
    device: str
    engine: str
    folds: int = 1
    folds_in_model: int = 1
    step: float
    mirrored: tuple[str, ...] = ()
    tiles: int
    tiles_in_all: int
    localised: bool = False
    moved: bool = False
    reason: str = ""
    blanked: bool = False
    second_stage: InferenceReport | None = None


class StageTime(Document):
    """How long one stage of a job took, over all its attempts."""

    name: str
    seconds: float
    attempts: int = 1


class InputSummary(Document):
    """One image as the service keeps it.

    Attributes:
        sha256: Of the file that is kept.
        format: What was received: ``nifti``, ``nrrd``, ``mha`` or ``dicom``.
        sent_sha256: Of what was received, where that is not what is kept: DICOM is
            kept as a volume without anything of the patient.
    """

    role: str
    sha256: str
    bytes: int
    format: str
    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    sent_sha256: str | None = None


class ResultFile(Document):
    """One file of a job's results."""

    name: str
    sha256: str
    bytes: int
    media_type: str


class ListedFile(ResultFile):
    """A result file in the list of a job's results.

    Attributes:
        href: Where to fetch it.
        withheld: Why it is not sent, if it is not.
    """

    href: str = ""
    withheld: str | None = None


class Progress(Document):
    """How far the current stage is."""

    stage: str
    done: float = 0.0
    """Share of the stage's work, 0..1."""


class Problem(BaseModel):
    """An error, as RFC 9457 shapes it; `type` is stable, `detail` is for people."""

    model_config = ConfigDict(extra="allow", frozen=True)

    type: str
    title: str
    status: int = 500
    detail: str = ""
    instance: str | None = None


class Removal(Document):
    """Files of a job that were deleted, when, and why."""

    what: Literal["inputs", "results"]
    """`inputs`: what was sent and what was made of it on the way; `results`."""
    files: int
    bytes: int
    at: datetime
    why: Literal["deleted", "expired"]
    """On request, or because their time was over."""


class JobDocument(Document):
    """A job, as the API answers it and as `job.json` keeps it.

    Attributes:
        inputs_expire_at: Until when its images are kept; None before it has ended.
        expires_at: Until when its results are, and all that it says of the patient.
        record_expires_at: Until when it is known that there was a job.
        removed: What is gone.
        review: How far its review is; None where there are no results.
        follows: The job whose images and case it shares, made again without the MR.
        priority: How soon it is wanted.
    """

    id: str
    state: JobState
    case: str | None = None
    batch: str | None = None
    options: JobOptions = JobOptions()
    progress: Progress | None = None
    attempt: int = 0
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    inputs_expire_at: datetime | None = None
    expires_at: datetime | None = None
    record_expires_at: datetime | None = None
    stages: tuple[StageTime, ...] = ()
    inputs: tuple[InputSummary, ...] = ()
    remarks: tuple[str, ...] = ()
    """What a person should know of the images, though nothing was refused for it."""
    mr_verdict: MrVerdict | None = None
    registration: RegistrationReport | None = None
    model: ModelSummary | None = None
    inference: InferenceReport | None = None
    organs: tuple[OrganResult, ...] = ()
    dicom: DicomReport | None = None
    """What was written as DICOM; None where the CT did not come as DICOM."""
    versions: dict[str, str] = Field(default_factory=dict)
    error: Problem | None = None
    removed: tuple[Removal, ...] = ()
    review: ReviewState | None = None
    follows: str | None = None
    priority: Priority = Priority.ROUTINE
    links: dict[str, str] = Field(default_factory=dict)
