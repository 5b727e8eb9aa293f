"""RIRE's first patient, a real head, down the whole road: against the bone markers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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
from hanseg_shared.volume import Volume
from tests.real_data import real_data

pytestmark = [pytest.mark.data, pytest.mark.elastix]

Segment = Callable[[Path, Path], tuple[JobDocument, Path]]

NECK = ("Glottis", "Glnd_Thyroid", "Esophagus_S", "Larynx_SG", "Cricopharyngeus")
"""Organs that a CT from the skull base upward cannot show."""


@pytest.fixture
def ct() -> Path:
    return real_data("rire_001", "ct.nii.gz")


@pytest.fixture
def mr() -> Path:
    return real_data("rire_001", "t1.nii.gz")


@pytest.fixture
def segment(client: Client, tmp_path: Path) -> Segment:
    def do(ct: Path, mr: Path) -> tuple[JobDocument, Path]:
        out = tmp_path / f"out_{mr.name}"
        with JsonReporter() as reporter:
            return segment_case(client, JobRequest(ct, mr), out, reporter), out

    return do


def test_the_registration_agrees_with_the_markers_to_one_millimetre(segment, ct, mr):
    job, out = segment(ct, mr)
    assert job.mr_verdict is MrVerdict.USED
    assert registration_error(ct, out).mean_mm <= 1.0


def test_organs_of_the_neck_lie_outside_the_field_of_view(segment, ct, mr):
    job, _ = segment(ct, mr)
    status = {organ.name: organ.status for organ in job.organs}
    assert len(status) == 30
    assert {status[name] for name in NECK} == {OrganStatus.OUTSIDE_FIELD_OF_VIEW}


def test_moving_the_mr_by_half_a_metre_changes_nothing(segment, ct, mr, tmp_path):
    image = read_mr(mr)
    x, y, z = image.grid.origin
    moved = Volume(image.array, replace(image.grid, origin=(x + 500, y - 500, z + 500)))
    write_volume(moved, tmp_path / "moved.nii.gz")
    _, plain = segment(ct, mr)
    _, shifted = segment(ct, tmp_path / "moved.nii.gz")
    for name in ("segmentation.nii.gz", "field_of_view.nii.gz"):
        np.testing.assert_array_equal(
            read_labels(plain / name).array, read_labels(shifted / name).array
        )
