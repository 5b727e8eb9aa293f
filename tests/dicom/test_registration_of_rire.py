"""The registration object moves the markers of a real patient as the transform does."""

import re

import numpy as np
import pydicom
import pytest

from hanseg_shared.dicom.registration_object import write_registration
from hanseg_shared.io import read_ct, read_mr
from tests.dicom.cases import FRAME_UID, dicom_case, series_source
from tests.dicom.plastimatch import write_by_plastimatch
from tests.real_data import real_data

MR_FRAME = "1.2.826.0.1.3680043.8.498.99"
NUMBERS = re.compile(r"^\s+\d+((?:\s+-?\d+\.\d+){6})\s*$", re.MULTILINE)


def rigid_between(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the rigid matrix that brings points closest to others (Kabsch 1976)."""
    middle, there = points.mean(axis=0), others.mean(axis=0)
    left, _, right = np.linalg.svd((points - middle).T @ (others - there))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    matrix = np.eye(4)
    matrix[:3, :3] = (left @ flip @ right).T
    matrix[:3, 3] = there - matrix[:3, :3] @ middle
    return matrix


@pytest.fixture
def markers() -> tuple[np.ndarray, np.ndarray]:
    """Where the eight points are in the CT and in the MR, in mm."""
    text = real_data("rire_001", "ct_T1.standard").read_text()
    rows = np.array([match.split() for match in NUMBERS.findall(text)], dtype=float)
    assert rows.shape == (8, 6)
    return rows[:, :3], rows[:, 3:]


def move(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def farthest_mm(some: np.ndarray, others: np.ndarray) -> float:
    return float(np.linalg.norm(some - others, axis=1).max())


@pytest.mark.data
def test_the_eight_markers_are_moved_within_a_hundredth_of_a_millimetre(
    tmp_path, markers
):
    of_ct, of_mr = markers
    mr_from_ct = rigid_between(of_ct, of_mr)
    assert farthest_mm(move(mr_from_ct, of_ct), of_mr) < 0.01

    ct = series_source(read_ct(real_data("rire_001", "ct.nii.gz")).grid)
    grid = read_mr(real_data("rire_001", "t1.nii.gz")).grid
    mr = series_source(grid, modality="MR", frame_of_reference_uid=MR_FRAME)
    path = tmp_path / "reg.dcm"
    write_registration(path, mr_from_ct, case=dicom_case(ct, mr=mr))

    first, second = pydicom.dcmread(path).RegistrationSequence
    assert first.FrameOfReferenceUID == FRAME_UID
    assert second.FrameOfReferenceUID == MR_FRAME
    values = second.MatrixRegistrationSequence[0].MatrixSequence[0]
    numbers = [float(v) for v in values.FrameOfReferenceTransformationMatrix]
    ct_from_mr = np.array(numbers).reshape(4, 4)
    assert farthest_mm(move(ct_from_mr, move(mr_from_ct, of_ct)), of_ct) < 1e-6


@pytest.mark.data
@pytest.mark.dicom
def test_what_plastimatch_writes_for_the_pair_moves_the_markers_alike(
    tmp_path, markers
):
    of_ct, of_mr = markers
    mr_from_ct = rigid_between(of_ct, of_mr)
    read = write_by_plastimatch(tmp_path, mr_from_ct).read()
    assert farthest_mm(move(read, of_ct), move(mr_from_ct, of_ct)) < 0.01
