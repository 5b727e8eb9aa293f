"""A simulated patient with contours of all organs, as a job that has succeeded."""

from __future__ import annotations

import hashlib
import uuid
from enum import StrEnum
from pathlib import Path

import numpy as np

from hanseg_lab.phantom import make_case
from hanseg_segmentation.results.view_files import write_view_ct, write_view_mr
from hanseg_shared.documents import (
    InputSummary,
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
    ResultFile,
)
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io import write_volume
from hanseg_shared.jobs.record import NewJob, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.organs import ORGANS, Evidence, OrganStatus
from hanseg_shared.result_files import SEGMENTATION, VIEW_CT, VIEW_MR
from hanseg_shared.volume import Volume

LEASE_SECONDS = 600.0
SPACING = (3.0, 3.0, 4.0)

REPORT = RegistrationReport(
    verdict=MrVerdict.USED,
    reason="MR used: it was moved by 12.3 mm and 4 degrees, and matches the CT",
)
DOUBTED = "OpticChiasm"
"""The organ that a check doubts."""


class Storage(StrEnum):
    """How the voxels of a case are stored; where they are does not change."""

    AS_MADE = "as made"
    FROM_THE_LEFT = "from the left"
    TURNED = "turned"
    """z fastest, from the head; then x from the left; then y from the front."""


class ShownCase:
    """Makes jobs whose images and contours lie on one grid, in any orientation.

    Args:
        tables: The service's database.
        store: Its store.
        folder: For files on the way.
    """

    def __init__(self, tables: Tables, store: PayloadStore, folder: Path) -> None:
        self._tables, self._store, self._folder = tables, store, folder

    def make(
        self,
        owner: str,
        *,
        name: str = "A case",
        spacing: Vector = SPACING,
        storage: Storage = Storage.AS_MADE,
    ) -> str:
        """Make a job, and return its id.

        Args:
            owner: Whose it is.
            name: What it is called.
            spacing: Of the CT, in mm.
            storage: In which order its voxels are.
        """
        made = make_case(11, ct_spacing=spacing, mr=False, t1=True)
        assert made.t1 is not None
        ct, labels, mr = made.ct, made.labels, made.t1
        ct, labels, mr = (store_otherwise(each, storage) for each in (ct, labels, mr))
        return self.put(owner, ct, labels, mr, name=name)

    def put(
        self, owner: str, ct: Volume, labels: Volume, mr: Volume, *, name: str
    ) -> str:
        """Make a job of images and contours on one grid, and return its id."""
        job_id = uuid.uuid4().hex
        files = self._write(job_id, ct, labels, mr)
        self._finish(job_id, owner, name, labels, files)
        return job_id

    def _write(
        self, job_id: str, ct: Volume, labels: Volume, mr: Volume
    ) -> dict[str, ResultFile]:
        folder = self._folder / job_id
        (folder / "view").mkdir(parents=True)
        write_view_ct(folder / VIEW_CT, ct)
        z, y, x = mr.grid.shape
        seen = np.zeros(mr.grid.shape, dtype=np.uint8)
        seen[z // 4 : -z // 8, y // 5 : -y // 5, x // 4 : -x // 4] = 1
        write_view_mr(folder / VIEW_MR, mr, mr.with_array(seen))
        write_volume(labels, folder / SEGMENTATION)
        return {
            name: self._publish(job_id, folder / name, name)
            for name in (SEGMENTATION, VIEW_CT, VIEW_MR)
        }

    def _publish(self, job_id: str, path: Path, name: str) -> ResultFile:
        payload = self._store.put(job_id, path)
        return ResultFile(
            name=name,
            sha256=payload.sha256,
            bytes=payload.bytes,
            media_type="application/gzip",
        )

    def _finish(
        self,
        job_id: str,
        owner: str,
        name: str,
        labels: Volume,
        files: dict[str, ResultFile],
    ) -> None:
        summary = InputSummary(
            role="ct",
            sha256=hashlib.sha256(job_id.encode()).hexdigest(),
            bytes=1,
            format="nifti",
            size=labels.grid.size,
            spacing_mm=labels.grid.spacing,
        )
        segmented = StageResult(
            organs=_organs(labels),
            model=ModelSummary(name="phantom", version="1", sha256="a" * 64),
        )
        packaged = StageResult(
            intermediate=(files[VIEW_CT], files[VIEW_MR]),
            files=(files[SEGMENTATION],),
        )
        job = NewJob(id=job_id, inputs=(summary,), case_name=name, owned_by=owner)
        # from here on at once: the service's own workers may want the job too
        self._tables.jobs.create(job)
        for stage, result in (
            (Stage.REGISTER, StageResult(registration=REPORT)),
            (Stage.SEGMENT, segmented),
            (Stage.PACKAGE, packaged),
        ):
            claims = self._tables.claims
            claimed = claims.claim(job_id, stage, lease_seconds=LEASE_SECONDS)
            assert claimed is not None
            assert claims.finish_stage(claimed, stage, result)


def _organs(labels: Volume) -> tuple[OrganResult, ...]:
    counts = np.bincount(labels.array.ravel(), minlength=len(ORGANS) + 1)
    doubt = Flag.of(FlagCode.LOW_PROBABILITY, 0.41, limit=0.5)
    found = []
    for organ in ORGANS:
        status = OrganStatus.CONTOURED if counts[organ.label] else OrganStatus.EMPTY
        doubted = organ.name == DOUBTED and counts[organ.label] > 0
        found.append(
            OrganResult(
                name=organ.name,
                label=organ.label,
                status=OrganStatus.LOW_CONFIDENCE if doubted else status,
                volume_ml=float(counts[organ.label] * labels.grid.voxel_ml),
                confidence=0.41 if doubted else 0.93,
                flags=(doubt,) if doubted else (),
                evidence=Evidence.PHANTOM,
            )
        )
    return tuple(found)


def store_otherwise(volume: Volume, storage: Storage) -> Volume:
    """Return the same voxels at the same places, stored in another order."""
    if storage is Storage.FROM_THE_LEFT:
        return _stored_along(volume, (0, 1, 2), (True, False, False))
    if storage is Storage.TURNED:
        return _stored_along(volume, (2, 0, 1), (True, True, True))
    return volume


def _stored_along(
    volume: Volume, axes: tuple[int, int, int], turned: tuple[bool, bool, bool]
) -> Volume:
    """Store a volume along its own axes in another order, some the other way round."""
    grid = volume.grid
    first = [grid.size[axis] - 1 if turned[axis] else 0 for axis in range(3)]
    signs = [-1.0 if turned[axis] else 1.0 for axis in range(3)]
    columns = np.array(grid.direction) * signs
    other = Grid(
        tuple(grid.size[axis] for axis in axes),  # type: ignore[arg-type]
        tuple(grid.spacing[axis] for axis in axes),  # type: ignore[arg-type]
        tuple(grid.index_to_world(first).tolist()),
        tuple(map(tuple, columns[:, axes].tolist())),  # type: ignore[arg-type]
    )
    xyz = volume.array.transpose(2, 1, 0)
    xyz = xyz[tuple(slice(None, None, -1 if each else 1) for each in turned)]
    array = np.ascontiguousarray(xyz.transpose(axes).transpose(2, 1, 0))
    return Volume(array, other)
