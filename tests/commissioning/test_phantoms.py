"""The phantom: one image in every position, and errors that are known."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.commissioning.phantoms import (
    AXES,
    POSITIONS,
    Phantom,
    stored_as,
)
from hanseg_lab.phantom.phantom_case import PhantomCase, Scope, make_case
from hanseg_shared.documents import JobDocument, JobState, MrVerdict
from hanseg_shared.result_files import TRANSFORM
from tests.client.fake_service import NOW

ORIENTATIONS = {
    "HFS": "LPS",
    "HFP": "RAS",
    "HFDR": "PRS",
    "HFDL": "ALS",
    "FFS": "RPI",
    "FFP": "LAI",
    "FFDR": "ARI",
    "FFDL": "PLI",
    "flipped": "LPI",
    "sagittal": "PIR",
    "oblique": "LPS",
}


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    spacing = (5.0, 5.0, 5.0)
    return make_case(
        20, ct_spacing=spacing, mr_spacing=(6.0, 6.0, 6.0), scope=Scope.HEAD
    )


def job(verdict: MrVerdict) -> JobDocument:
    return JobDocument(
        id="0" * 32, state=JobState.SUCCEEDED, created_at=NOW, mr_verdict=verdict
    )


def test_positions_are_stored_as_the_standard_has_them(case):
    found = {each: stored_as(case.ct, each).grid.orientation for each in POSITIONS}
    assert found == ORIENTATIONS


def test_patient_positions_are_rotations_and_only_flipped_is_mirrored(case):
    turns = {name: round(float(np.linalg.det(axes))) for name, axes in AXES.items()}
    assert turns.pop("flipped") == -1
    assert set(turns.values()) == {1}


@pytest.mark.parametrize("position", AXES)
def test_every_voxel_stays_where_it_is_in_the_patient(case, position):
    moved = stored_as(case.ct, position)
    index = np.array([[3, 4, 5], [30, 20, 10], [12, 25, 7]])
    at = moved.grid.index_to_world(index)
    was = np.rint(case.ct.grid.world_to_index(at)).astype(int)
    assert np.abs(case.ct.grid.world_to_index(at) - was).max() < 1e-6
    x, y, z = index.T
    u, v, w = was.T
    assert (moved.array[z, y, x] == case.ct.array[w, v, u]).all()


def test_the_truth_has_no_error_and_a_shift_has_its_length(case, tmp_path):
    truth = sitk.AffineTransform(3)
    truth.SetMatrix(case.mr_from_ct[:3, :3].ravel().tolist())
    truth.SetTranslation(case.mr_from_ct[:3, 3].tolist())
    sitk.WriteTransform(truth, str(tmp_path / TRANSFORM))
    used = job(MrVerdict.USED)
    exact = Phantom(case).judge("HFS", used, tmp_path, limit_mm=2.0)
    assert (exact.mean_mm, exact.max_mm, exact.passed) == (0.0, 0.0, True)
    truth.SetTranslation((case.mr_from_ct[:3, 3] + (0, 3, 4)).tolist())
    sitk.WriteTransform(truth, str(tmp_path / TRANSFORM))
    off = Phantom(case).judge("HFS", used, tmp_path, limit_mm=4.9)
    assert (off.mean_mm, off.passed) == (5.0, False)


def test_a_rejected_mr_fails_however_well_it_lies(case, tmp_path):
    truth = sitk.AffineTransform(3)
    truth.SetMatrix(case.mr_from_ct[:3, :3].ravel().tolist())
    truth.SetTranslation(case.mr_from_ct[:3, 3].tolist())
    sitk.WriteTransform(truth, str(tmp_path / TRANSFORM))
    found = Phantom(case).judge("HFS", job(MrVerdict.REJECTED), tmp_path, limit_mm=2.0)
    assert not found.passed


def test_without_a_transform_there_is_no_error_and_no_pass(case, tmp_path):
    found = Phantom(case).judge("HFS", job(MrVerdict.REJECTED), tmp_path, limit_mm=2.0)
    assert (found.mean_mm, found.passed) == (None, False)
