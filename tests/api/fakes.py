"""What stands in for the checker of images and for the workers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_segmentation.api.dicom_case import DicomCaseFiles
from hanseg_shared.documents import (
    InputSummary,
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
    ResultFile,
)
from hanseg_shared.errors import ImageTooLargeError, NotAnImageError, UnsafeImageError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.dicom.conversion import Conversion
from hanseg_shared.io.dicom.source import (
    IDENTITY_FILE,
    SOURCE_FILE,
    DicomIdentity,
    DicomSource,
    SeriesSource,
    SliceSource,
)
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import MEDIA_TYPES
from hanseg_shared.organs import ORGANS, OrganStatus

CT = b"CT: Hounsfield units"
MR = b"MR: arbitrary units"
NO_IMAGE = b"no image"
TOO_LARGE = b"too large"

LEASE_SECONDS = 60.0


@dataclass
class FakeChecker:
    """Knows an image by its first two bytes; remembers what it was shown."""

    seen: list[tuple[bytes, bytes | None]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    remarks: tuple[str, ...] = ()

    def __call__(
        self, ct: Path, mr: Path | None, limits: Limits, halt: Halt
    ) -> CaseCheck:
        self.seen.append((ct.read_bytes(), mr.read_bytes() if mr else None))
        self.paths += [path for path in (ct, mr) if path is not None]
        inputs = [_summary("ct", ct)]
        if mr is not None:
            inputs.append(_summary("mr", mr))
        return CaseCheck(inputs=tuple(inputs), remarks=self.remarks)


def _summary(role: str, path: Path) -> InputSummary:
    content = path.read_bytes()
    if content.startswith(TOO_LARGE):
        raise ImageTooLargeError(f"{path}: it has too many voxels; crop it")
    if not content.startswith((b"CT", b"MR")):
        raise NotAnImageError(f"{path}: it is no image; send NIfTI")
    return InputSummary(
        role=role,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        format="nifti",
        size=(4, 5, 6),
        spacing_mm=(1.0, 1.0, 2.5),
    )


@dataclass
class FakeConverter:
    """Makes volumes of what begins as a zip archive or DICOM file does, or a folder.

    The first word after the head says what it holds: ``CT``, ``MR`` or ``CT+MR``.
    """

    seen: list[DicomCaseFiles] = field(default_factory=list)
    remarks: tuple[str, ...] = ("the CT: its slices are 2 to 3 mm apart",)

    def __call__(
        self, files: DicomCaseFiles, folder: Path, limits: Limits, halt: Halt
    ) -> Conversion:
        self.seen.append(files)
        held = _read_fake(files.ct) if files.mr is None else _read_fake(files.mr)
        if b"bomb" in held:
            raise UnsafeImageError(f"{files.ct}: it unpacks to 4 GB; send less")
        (folder / "ct.nrrd").write_bytes(CT + _read_fake(files.ct)[-8:])
        plain = files.mr is not None and held.startswith(b"MR")
        has_mr = b"MR" in held and not plain
        if has_mr:
            (folder / "mr.nrrd").write_bytes(MR + held[-8:])
        (folder / SOURCE_FILE).write_text(SOURCE.model_dump_json())
        (folder / IDENTITY_FILE).write_text(IDENTITY.model_dump_json())
        return Conversion(mr="mr.nrrd" if has_mr else None, remarks=self.remarks)


def _read_fake(path: Path) -> bytes:
    if path.is_dir():
        return b"".join(sorted(each.read_bytes() for each in path.rglob("*.dcm")))
    return path.read_bytes()


PATIENT = "Musterfrau^Erika"

IDENTITY = DicomIdentity(
    attributes={"00100010": {"vr": "PN", "Value": [{"Alphabetic": PATIENT}]}}
)

SERIES = SeriesSource(
    sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
    modality="CT",
    series_instance_uid="1.2.3.4",
    study_instance_uid="1.2.3",
    frame_of_reference_uid="1.2.3.5",
    rows=5,
    columns=4,
    size=(4, 5, 2),
    spacing=(1.0, 1.0, 2.0),
    origin=(0.0, 0.0, 0.0),
    direction=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    slices=tuple(
        SliceSource(
            sop_instance_uid=f"1.2.3.4.{k}", position=(0.0, 0.0, 2.0 * k), index=k
        )
        for k in range(2)
    ),
)

SOURCE = DicomSource(ct=SERIES)


@dataclass
class FakeWorker:
    """Does a job's stages as a worker would, with results made by hand."""

    services: Services

    def begin(self, job_id: str, stage: Stage = Stage.REGISTER) -> Job:
        job = self.services.tables.claims.claim(
            job_id, stage, lease_seconds=LEASE_SECONDS
        )
        assert job is not None
        return job

    def do(self, job_id: str, stage: Stage, result: StageResult | None = None) -> None:
        job = self.begin(job_id, stage)
        assert self.services.tables.claims.finish_stage(
            job, stage, result or StageResult()
        )

    def succeed(
        self,
        job_id: str,
        files: dict[str, bytes] | None = None,
        *,
        contoured: Mapping[str, float] | None = None,
        registration: RegistrationReport | None = None,
        shown: dict[str, bytes] | None = None,
    ) -> None:
        """Take a job down the whole road.

        Args:
            job_id: The job.
            files: Its results.
            contoured: Volumes in ml of the organs that are found.
            registration: What becomes of the MR.
            shown: What there is for the viewer.
        """
        self.do(
            job_id, Stage.REGISTER, StageResult(registration=registration or REPORT)
        )
        self.do(
            job_id,
            Stage.SEGMENT,
            StageResult(
                organs=organs_with(contoured or {}),
                model=ModelSummary(name="default", version="1", sha256="a" * 64),
            ),
        )
        stored = tuple(
            self.publish(job_id, name, content)
            for name, content in (files or {}).items()
        )
        views = tuple(
            self.publish(job_id, name, content)
            for name, content in (shown or {}).items()
        )
        self.do(job_id, Stage.PACKAGE, StageResult(files=stored, intermediate=views))

    def publish(self, job_id: str, name: str, content: bytes) -> ResultFile:
        path = self.services.settings.data / "made"
        path.write_bytes(content)
        payload = self.services.store.put(job_id, path)
        return ResultFile(
            name=name,
            sha256=payload.sha256,
            bytes=payload.bytes,
            media_type=MEDIA_TYPES[Path(name).suffix],
        )


REPORT = RegistrationReport(verdict=MrVerdict.ABSENT, reason="no MR was sent")

ALL_EMPTY = tuple(
    OrganResult(name=organ.name, label=organ.label, status=OrganStatus.EMPTY)
    for organ in ORGANS
)


def organs_with(contoured: Mapping[str, float]) -> tuple[OrganResult, ...]:
    """Return all organs, some of them with a volume in ml."""
    return tuple(
        each.model_copy(
            update={"status": OrganStatus.CONTOURED, "volume_ml": contoured[each.name]}
        )
        if each.name in contoured
        else each
        for each in ALL_EMPTY
    )


USED = RegistrationReport(verdict=MrVerdict.USED, reason="MR used: it fits")
