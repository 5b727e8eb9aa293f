"""What the packaging stage hands to the writers of DICOM."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.results.dicom_objects import read_matrix, write_dicom
from hanseg_shared.dicom.template import TEMPLATE_FILE
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import (
    DicomOutput,
    InputSummary,
    JobOptions,
    JobState,
    ResultFile,
)
from hanseg_shared.errors import JobStateError
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE, DicomSource
from hanseg_shared.jobs.record import Job
from hanseg_shared.result_files import SEGMENTATION
from tests.dicom.cases import identity, series_source
from tests.grids import GRIDS
from tests.results.cases import MODEL, result_on, roomy

GRID = roomy(next(iter(GRIDS.values())))
POINTS = [(0.0, 0.0, 0.0), (12.0, -30.0, 4.5), (100.0, 90.0, -80.0)]

JOB = Job(
    id="a" * 32,
    state=JobState.PACKAGING,
    options=JobOptions(),
    inputs=(
        InputSummary(
            role="ct",
            sha256="b" * 64,
            bytes=1,
            format="dicom",
            size=GRID.size,
            spacing_mm=GRID.spacing,
        ),
    ),
    created_at=1_770_000_000.25,
    updated_at=1_770_000_001.0,
    model=MODEL,
    intermediate=(
        ResultFile(name=SEGMENTATION, sha256="c" * 64, bytes=1, media_type="x"),
    ),
)


@dataclass
class FakePlace:
    """A workplace whose job has these files of earlier stages."""

    job: Job = JOB
    files: dict[str, Path] = field(default_factory=dict)

    def fetch_intermediate(self, name: str) -> Path | None:
        return self.files.get(name)


@pytest.fixture
def place(tmp_path) -> FakePlace:
    documents = {
        SOURCE_FILE: DicomSource(ct=series_source(GRID)),
        IDENTITY_FILE: identity(),
        TEMPLATE_FILE: default_template(),
    }
    files = {}
    for name, document in documents.items():
        files[name] = tmp_path / name
        files[name].write_text(document.model_dump_json())
    return FakePlace(files=files)


def write(place: FakePlace, folder: Path):
    folder.mkdir()
    return write_dicom(place, folder, result_on(GRID))  # type: ignore[arg-type]


def test_a_case_that_did_not_come_as_dicom_has_no_objects(tmp_path):
    assert write(FakePlace(), tmp_path / "out") is None
    assert list((tmp_path / "out").iterdir()) == []


def test_who_asks_for_nothing_gets_what_a_planning_system_needs(place, tmp_path):
    report = write(place, tmp_path / "out")
    assert report.written == (DicomOutput.RTSTRUCT, DicomOutput.REPORT)
    assert report.left_out == {DicomOutput.REG: "no MR was sent"}


def test_who_asks_for_some_gets_these(place, tmp_path):
    options = JobOptions(outputs=(DicomOutput.SEG,))
    place.job = dataclasses.replace(JOB, options=options)
    assert write(place, tmp_path / "out").written == (DicomOutput.SEG,)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seg.dcm"]


def test_packaging_again_gives_the_same_bytes(place, tmp_path):
    for name in ("one", "two"):
        write(place, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_another_job_of_the_same_images_has_identifiers_of_its_own(place, tmp_path):
    write(place, tmp_path / "one")
    place.job = dataclasses.replace(JOB, id="d" * 32)
    write(place, tmp_path / "two")
    one, two = (
        pydicom.dcmread(tmp_path / name / "rtstruct.dcm").SOPInstanceUID
        for name in ("one", "two")
    )
    assert one != two


def test_an_attachment_that_is_missing_is_not_made_up(place, tmp_path):
    del place.files[IDENTITY_FILE]
    with pytest.raises(JobStateError, match=f"lacks {IDENTITY_FILE}"):
        write(place, tmp_path / "out")


def rigid() -> sitk.Transform:
    found = sitk.VersorRigid3DTransform()
    found.SetRotation((0.0, 0.0, 1.0), 0.2)
    found.SetCenter((10.0, 20.0, 30.0))
    found.SetTranslation((3.0, -2.0, 1.0))
    return found


def affine() -> sitk.Transform:
    found = sitk.AffineTransform(3)
    found.SetMatrix((1.1, 0.1, 0.0, 0.0, 0.9, 0.0, 0.05, 0.0, 1.0))
    found.SetTranslation((1.0, 2.0, 3.0))
    return found


@pytest.mark.parametrize(
    "transform",
    [rigid(), affine(), sitk.CompositeTransform([rigid(), affine()])],
    ids=["rigid", "affine", "composite"],
)
def test_a_matrix_moves_points_as_its_transform_does(tmp_path, transform):
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    matrix = read_matrix(tmp_path / "a.tfm")
    assert matrix is not None
    for point in POINTS:
        moved = (matrix @ [*point, 1.0])[:3]
        np.testing.assert_allclose(moved, transform.TransformPoint(point), atol=1e-9)


def test_a_deformation_has_no_matrix(tmp_path):
    spline = sitk.BSplineTransform(3)
    sitk.WriteTransform(
        sitk.CompositeTransform([rigid(), spline]), str(tmp_path / "a.tfm")
    )
    assert read_matrix(tmp_path / "a.tfm") is None
