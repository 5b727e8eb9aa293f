"""The registration object moves points as our transform does, and is read back so."""

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from hanseg_shared.dicom.registration_object import (
    make_registration,
    write_registration,
)
from hanseg_shared.errors import OptionError
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.sent_registration import read_sent_registration
from hanseg_shared.io.dicom.source import SentRegistration
from tests.dicom.cases import FRAME_UID, dicom_case, series_source
from tests.dicom.verifier import errors_of

Three = tuple[float, float, float]

MR_FRAME = "1.2.826.0.1.3680043.8.498.99"
CT = Grid((6, 5, 4), (2.0, 2.0, 3.0), (-6.0, -5.0, -100.0))
MR = Grid((4, 4, 3), (1.0, 1.0, 5.0), (300.0, -20.0, 7.0))


def case_of(mr_frame: str = MR_FRAME, **changes):
    mr = series_source(MR, modality="MR", frame_of_reference_uid=mr_frame)
    return dicom_case(series_source(CT, **changes), mr=mr)


def motion(angles_deg: Three, offset_mm: Three) -> np.ndarray:
    matrix = np.eye(4)
    turn = Rotation.from_euler("xyz", angles_deg, degrees=True)
    matrix[:3, :3] = turn.as_matrix()
    matrix[:3, 3] = offset_mm
    return matrix


MR_FROM_CT = motion((5.0, -7.0, 11.0), (12.345678901, -230.125, 1002.75))


def matrix_of(item) -> np.ndarray:
    (registration,) = item.MatrixRegistrationSequence
    (transformation,) = registration.MatrixSequence
    values = transformation.FrameOfReferenceTransformationMatrix
    return np.array([float(value) for value in values]).reshape(4, 4)


def move(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "reg.dcm"
    write_registration(path, MR_FROM_CT, case=case_of())
    return pydicom.dcmread(path)


def test_the_ct_comes_first_and_stays(written):
    first, second = written.RegistrationSequence
    assert first.FrameOfReferenceUID == FRAME_UID == written.FrameOfReferenceUID
    assert second.FrameOfReferenceUID == MR_FRAME
    np.testing.assert_array_equal(matrix_of(first), np.eye(4))


def test_the_mr_item_takes_points_of_the_mr_to_the_ct(written):
    points = np.random.default_rng(1).uniform(-300, 300, (100, 3))
    back = move(matrix_of(written.RegistrationSequence[1]), move(MR_FROM_CT, points))
    assert np.abs(back - points).max() < 1e-8


def test_both_series_are_referenced(written):
    first, second = written.RegistrationSequence
    assert len(first.ReferencedImageSequence) == 4
    assert len(second.ReferencedImageSequence) == 3
    ct, mr = written.ReferencedSeriesSequence
    assert len(ct.ReferencedInstanceSequence) == 4
    assert len(mr.ReferencedInstanceSequence) == 3


def test_an_mr_of_another_study_is_referenced_under_that_study():
    mr = series_source(MR, modality="MR", frame_of_reference_uid=MR_FRAME)
    mr = mr.model_copy(update={"study_instance_uid": "1.2.3"})
    made = make_registration(MR_FROM_CT, case=dicom_case(CT, mr=mr))
    (other,) = made.StudiesContainingOtherReferencedInstancesSequence
    assert other.StudyInstanceUID == "1.2.3"
    assert len(made.ReferencedSeriesSequence) == 1


def test_every_number_fits_its_sixteen_letters(written):
    raw = written.RegistrationSequence[1].MatrixRegistrationSequence[0]
    values = raw.MatrixSequence[0].FrameOfReferenceTransformationMatrix
    assert all(len(value.original_string) <= 16 for value in values)


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    offset=st.tuples(*[st.floats(-2000, 2000)] * 3),
)
def test_any_rigid_motion_reads_back_within_a_micrometre(angles, offset):
    mr_from_ct = motion(angles, offset)
    made = make_registration(mr_from_ct, case=case_of())
    read = read_sent_registration(
        made, ct_frame=FRAME_UID, mr_frame=MR_FRAME, name="reg.dcm"
    )
    points = np.array([(-250.0, -250.0, -800.0), (250.0, 250.0, 800.0)])
    apart = move(np.array(read.mr_from_ct), points) - move(mr_from_ct, points)
    assert np.abs(apart).max() < 1e-3


@pytest.mark.parametrize(
    ("matrix", "kind"),
    [(MR_FROM_CT, "RIGID"), (MR_FROM_CT @ np.diag([1.01, 1, 1, 1]), "AFFINE")],
)
def test_the_type_is_that_of_the_matrix(matrix, kind):
    made = make_registration(matrix, case=case_of())
    transformation = made.RegistrationSequence[1].MatrixRegistrationSequence[0]
    found = transformation.MatrixSequence[0].FrameOfReferenceTransformationMatrixType
    assert found == kind


def test_images_tell_ct_and_mr_apart_where_the_frame_does_not():
    case = case_of(mr_frame=FRAME_UID)
    made = make_registration(MR_FROM_CT, case=case)
    assert "FrameOfReferenceUID" not in made.RegistrationSequence[1]
    read = read_sent_registration(
        made,
        ct_frame=FRAME_UID,
        mr_frame=FRAME_UID,
        name="reg.dcm",
        ct_images=[each.sop_instance_uid for each in case.source.ct.slices],
        mr_images=[each.sop_instance_uid for each in case.source.mr.slices],
    )
    np.testing.assert_allclose(read.mr_from_ct, MR_FROM_CT, atol=1e-9)


def test_the_clinics_own_is_not_said_to_come_from_the_images_content():
    case = case_of()
    rows = tuple(tuple(row) for row in MR_FROM_CT.tolist())
    sent = SentRegistration(sop_instance_uid="1.2", mr_from_ct=rows)
    source = case.source.model_copy(update={"registration": sent})
    case = type(case)(source, case.identity, case.created_at, case.seed)
    made = make_registration(MR_FROM_CT, case=case)
    registration = made.RegistrationSequence[1].MatrixRegistrationSequence[0]
    assert len(registration.RegistrationTypeCodeSequence) == 0


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a.dcm", "b.dcm"):
        write_registration(tmp_path / name, MR_FROM_CT, case=case_of())
    assert (tmp_path / "a.dcm").read_bytes() == (tmp_path / "b.dcm").read_bytes()


def test_an_mr_that_is_no_dicom_is_refused():
    with pytest.raises(OptionError, match="needs an MR that came as DICOM"):
        make_registration(MR_FROM_CT, case=dicom_case(CT))


@pytest.mark.parametrize(
    "matrix", [np.diag([1.0, 1.0, 0.0, 1.0]), np.diag([1.0, np.nan, 1.0, 1.0])]
)
def test_a_matrix_without_inverse_is_refused(matrix):
    with pytest.raises(OptionError, match="not finite and invertible"):
        make_registration(matrix, case=case_of())


@pytest.mark.dicom
@pytest.mark.parametrize("mr_frame", [MR_FRAME, FRAME_UID])
@pytest.mark.parametrize("multi_frame", [False, True])
def test_dciodvfy_finds_no_error(tmp_path, mr_frame, multi_frame):
    path = tmp_path / "reg.dcm"
    case = case_of(mr_frame, multi_frame=multi_frame)
    write_registration(path, MR_FROM_CT, case=case)
    assert errors_of(path) == []
