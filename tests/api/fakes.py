"""What stands in for the checker of images and for the workers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_shared.documents import (
    InputSummary,
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
    ResultFile,
)
from hanseg_shared.errors import ImageTooLargeError, NotAnImageError
from hanseg_shared.io.case_check import CaseCheck
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stages import Stage
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

    def succeed(self, job_id: str, files: dict[str, bytes] | None = None) -> None:
        """Take a job down the whole road."""
        self.do(job_id, Stage.REGISTER, StageResult(registration=REPORT))
        self.do(
            job_id,
            Stage.SEGMENT,
            StageResult(
                organs=ALL_EMPTY,
                model=ModelSummary(name="default", version="1", sha256="a" * 64),
            ),
        )
        stored = tuple(
            self.publish(job_id, name, content)
            for name, content in (files or {}).items()
        )
        self.do(job_id, Stage.PACKAGE, StageResult(files=stored))

    def publish(self, job_id: str, name: str, content: bytes) -> ResultFile:
        path = self.services.settings.data / "made"
        path.write_bytes(content)
        payload = self.services.store.put(job_id, path)
        return ResultFile(
            name=name,
            sha256=payload.sha256,
            bytes=payload.bytes,
            media_type="application/gzip" if name.endswith(".gz") else "image/png",
        )


REPORT = RegistrationReport(verdict=MrVerdict.ABSENT, reason="no MR was sent")

ALL_EMPTY = tuple(
    OrganResult(name=organ.name, label=organ.label, status=OrganStatus.EMPTY)
    for organ in ORGANS
)
