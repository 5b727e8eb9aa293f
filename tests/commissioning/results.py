"""Cases of two organs, and what a service made of them, ready on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hanseg_shared.documents import (
    InputSummary,
    JobDocument,
    JobOptions,
    JobState,
    ModelSummary,
    OrganResult,
)
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.grid import Grid
from hanseg_shared.io.write import write_volume
from hanseg_shared.organs import OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.client.fake_service import NOW

GRID = Grid(size=(40, 30, 20), spacing=(1.0, 1.0, 2.0))

MODEL = ModelSummary(name="default", version="7", sha256="a" * 64)

VERSIONS = {"python": "3.11.2", "hanseg-segmentation": "0.2.0"}

Boxes = dict[str, tuple[slice, slice, slice]]

PAROTID = (slice(5, 15), slice(5, 15), slice(5, 15))
STEM = (slice(4, 12), slice(18, 26), slice(20, 28))
REFERENCE: Boxes = {"Parotid_L": PAROTID, "Brainstem": STEM}


def write_case(folder: Path, name: str, boxes: Boxes = REFERENCE) -> Path:
    """Write a CT and a mask for each organ, and return the case's folder."""
    case = folder / name
    case.mkdir(parents=True)
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[2:18, 3:27, 3:37] = 40
    write_volume(Volume(hu, GRID), case / f"{name}_ct.nii.gz")
    for organ_name, box in boxes.items():
        mask = np.zeros(GRID.shape, np.uint8)
        mask[box] = 1
        write_volume(Volume(mask, GRID), case / f"{name}_OAR_{organ_name}.nii.gz")
    return case


def write_result(
    out: Path,
    case: Path,
    boxes: Boxes = REFERENCE,
    *,
    model: ModelSummary = MODEL,
    not_in_model: str | None = None,
) -> Path:
    """Write what the service would have made of a case."""
    folder = out / "cases" / case.name
    folder.mkdir(parents=True)
    labels = np.zeros(GRID.shape, np.uint8)
    for name, box in boxes.items():
        labels[box] = organ(name).label
    write_volume(Volume(labels, GRID), folder / "segmentation.nii.gz")
    ct = case / f"{case.name}_ct.nii.gz"
    lacking = [] if not_in_model is None else [organ(not_in_model)]
    job = JobDocument(
        id="0" * 32,
        state=JobState.SUCCEEDED,
        case=case.name,
        options=JobOptions(),
        created_at=NOW,
        inputs=(
            InputSummary(
                role="ct",
                sha256=file_sha256(ct),
                bytes=ct.stat().st_size,
                format="nifti",
                size=GRID.size,
                spacing_mm=GRID.spacing,
            ),
        ),
        model=model,
        organs=tuple(
            OrganResult(name=each.name, label=each.label, status=lacks)
            for each in lacking
            for lacks in [OrganStatus.NOT_IN_MODEL]
        ),
        versions=VERSIONS,
    )
    (folder / "job.json").write_text(job.model_dump_json())
    return folder
