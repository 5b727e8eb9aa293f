"""RIRE's first patient, a real head, down the whole road: against the bone markers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.demo.demo import registration_error
from hanseg_shared.client import Client, JobRequest
from hanseg_shared.client.console import JsonReporter
from hanseg_shared.client.segment import segment_case
from hanseg_shared.documents import JobDocument, MrVerdict
from hanseg_shared.io import read_labels, read_mr, write_volume
from hanseg_shared.organs import OrganStatus
from hanseg_shared.stack import Stack
from hanseg_shared.volume import Volume
from tests.real_data import real_data

pytestmark = [pytest.mark.data, pytest.mark.elastix]


@dataclass(frozen=True)
class Patient:
    """A real patient's files."""

    ct: Path
    mr: Path


@dataclass(frozen=True)
class Segmented:
    """What came of a job, and where its results are."""

    job: JobDocument
    out: Path


NECK = ("Glottis", "Glnd_Thyroid", "Esophagus_S", "Larynx_SG", "Cricopharyngeus")
"""Organs that a CT from the skull base upward cannot show."""


def segment(client: Client, ct: Path, mr: Path, out: Path) -> Segmented:
    with JsonReporter() as reporter:
        return Segmented(segment_case(client, JobRequest(ct, mr), out, reporter), out)


@pytest.fixture(scope="module")
def patient() -> Patient:
    return Patient(
        real_data("rire_001", "ct.nii.gz"), real_data("rire_001", "t1.nii.gz")
    )


@pytest.fixture(scope="module")
def segmented(
    stack: Stack, patient: Patient, tmp_path_factory: pytest.TempPathFactory
) -> Segmented:
    """The patient as it is, segmented once for all."""
    stack.wait_until_ready()
    out = tmp_path_factory.mktemp("patient") / "out"
    with Client(stack.url, retry=None) as client:
        return segment(client, patient.ct, patient.mr, out)


def test_the_registration_agrees_with_the_markers_to_one_millimetre(patient, segmented):
    assert segmented.job.mr_verdict is MrVerdict.USED
    assert registration_error(patient.ct, segmented.out).mean_mm <= 1.0


def test_organs_of_the_neck_lie_outside_the_field_of_view(segmented):
    status = {organ.name: organ.status for organ in segmented.job.organs}
    assert len(status) == 30
    assert {status[name] for name in NECK} == {OrganStatus.OUTSIDE_FIELD_OF_VIEW}


def test_moving_the_mr_by_half_a_metre_changes_nothing(
    client, patient, segmented, tmp_path
):
    image = read_mr(patient.mr)
    x, y, z = image.grid.origin
    moved = Volume(image.array, replace(image.grid, origin=(x + 500, y - 500, z + 500)))
    moved_mr = write_volume(moved, tmp_path / "moved.nii.gz")
    shifted = segment(client, patient.ct, moved_mr, tmp_path / "out")
    for name in ("segmentation.nii.gz", "field_of_view.nii.gz"):
        np.testing.assert_array_equal(
            read_labels(segmented.out / name).array,
            read_labels(shifted.out / name).array,
        )
