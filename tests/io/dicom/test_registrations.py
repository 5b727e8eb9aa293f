"""A registration that was sent along is found, and one of other images is not taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.dicom_file import DicomFile
from tests.io.dicom.made_series import (
    made_uid,
    made_volume,
    write_files,
    write_series,
)

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"
CT_FRAME, MR_FRAME = made_uid("frame", "CT", "1"), made_uid("frame", "MR", "1")

CT_FROM_MR = np.array([[0, -1, 0, 7], [1, 0, 0, -3], [0, 0, 1, 12], [0, 0, 0, 1.0]])


def make_registration(number: int = 1, mr_frame: str = MR_FRAME) -> FileDataset:
    """Return a registration whose registered coordinate system is the CT's."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(SPATIAL_REGISTRATION)
    meta.MediaStorageSOPInstanceUID = UID(made_uid("registration", number))
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = SPATIAL_REGISTRATION
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.Modality = "REG"
    dataset.FrameOfReferenceUID = CT_FRAME
    pairs = ((CT_FRAME, np.eye(4)), (mr_frame, CT_FROM_MR))
    dataset.RegistrationSequence = Items([_item(*pair) for pair in pairs])
    return dataset


def _item(frame: str, matrix: np.ndarray) -> Dataset:
    transform, registration, item = Dataset(), Dataset(), Dataset()
    transform.FrameOfReferenceTransformationMatrixType = "RIGID"
    transform.FrameOfReferenceTransformationMatrix = [str(v) for v in matrix.ravel()]
    registration.MatrixSequence = Items([transform])
    item.FrameOfReferenceUID = frame
    item.MatrixRegistrationSequence = Items([registration])
    return item


@pytest.fixture
def ct(tmp_path):
    return write_series(tmp_path, made_volume())


@pytest.fixture
def mr(tmp_path):
    return write_series(tmp_path, made_volume(lowest=0), "MR")


def write(folder: Path, *registrations: FileDataset) -> tuple[DicomFile, ...]:
    return write_files(folder, registrations, start="reg")


def test_one_that_was_sent_as_such_is_read(tmp_path, ct, mr):
    found = read_case(ct, mr, write(tmp_path, make_registration())).source.registration
    assert found is not None
    assert np.allclose(found.mr_from_ct, np.linalg.inv(CT_FROM_MR))


@pytest.mark.parametrize("beside", ["ct", "mr"])
def test_one_among_the_images_is_found(tmp_path, ct, mr, beside):
    reg = write(tmp_path, make_registration())
    case = read_case((*ct, *reg), mr) if beside == "ct" else read_case(ct, (*mr, *reg))
    assert case.source.registration is not None
    assert case.source.remarks == ()


def test_one_in_a_mixed_archive_is_found(tmp_path, ct, mr):
    case = read_case((*write(tmp_path, make_registration()), *mr, *ct))
    assert case.source.registration is not None


def test_one_of_other_images_is_passed_over(tmp_path, ct, mr):
    reg = write(tmp_path, make_registration(mr_frame="1.2.3"))
    case = read_case((*ct, *mr, *reg))
    assert case.source.registration is None
    assert case.source.remarks == (
        "reg001.dcm: passed over, a registration of other images",
    )


def test_one_of_other_images_is_refused_if_it_was_sent_as_such(tmp_path, ct, mr):
    reg = write(tmp_path, make_registration(mr_frame="1.2.3"))
    with pytest.raises(ImageContentError, match=r"reg001\.dcm"):
        read_case(ct, mr, reg)


def test_of_two_none_is_guessed(tmp_path, ct, mr):
    reg = write(tmp_path, make_registration(1), make_registration(2))
    wanted = r"reg001\.dcm, reg002\.dcm: several registrations of this MR"
    with pytest.raises(ImageContentError, match=wanted):
        read_case((*ct, *reg), mr)


def test_the_same_one_twice_is_one(tmp_path, ct, mr):
    reg = write(tmp_path, make_registration(), make_registration())
    assert read_case((*ct, *reg), mr).source.registration is not None


def test_one_without_an_mr_is_passed_over(tmp_path, ct):
    case = read_case((*ct, *write(tmp_path, make_registration())))
    assert case.source.registration is None
    assert "there is no MR" in case.source.remarks[0]


def test_one_sent_as_such_needs_an_mr(tmp_path, ct):
    with pytest.raises(ImageContentError, match="there is no MR"):
        read_case(ct, (), write(tmp_path, make_registration()))


def test_an_image_is_no_registration(ct, mr):
    with pytest.raises(ImageContentError, match=r"ct001\.dcm: 0 spatial registrations"):
        read_case(ct, mr, ct[:1])


def relate(number: int, one: str, other: str) -> FileDataset:
    """Return a registration of two frames of reference; the first one stays."""
    dataset = make_registration(number)
    dataset.FrameOfReferenceUID = one
    pairs = ((one, np.eye(4)), (other, CT_FROM_MR))
    dataset.RegistrationSequence = Items([_item(*pair) for pair in pairs])
    return dataset


@pytest.mark.parametrize("stays", [MR_FRAME, "1.2.3"])
def test_one_of_the_mr_and_a_third_image_is_passed_over(tmp_path, ct, mr, stays):
    moves = "1.2.3" if stays == MR_FRAME else MR_FRAME
    reg = write(tmp_path, relate(1, stays, moves), make_registration(2))
    case = read_case((*ct, *mr, *reg))
    assert case.source.registration is not None
    assert case.source.registration.sop_instance_uid == made_uid("registration", 2)
    assert case.source.remarks == (
        "reg001.dcm: passed over, a registration of other images",
    )


def test_one_of_the_ct_and_a_third_image_says_nothing_of_an_mr_of_its_frame(
    tmp_path, ct
):
    mr = write_series(
        tmp_path, made_volume(lowest=0), "MR", FrameOfReferenceUID=CT_FRAME
    )
    reg = write(tmp_path, relate(1, CT_FRAME, "1.2.3"))
    case = read_case((*ct, *mr, *reg))
    assert case.source.registration is None


def test_two_that_differ_under_one_uid_are_two(tmp_path, ct, mr):
    changed = make_registration()
    matrix = np.eye(4)
    changed.RegistrationSequence[1] = _item(MR_FRAME, matrix)
    reg = write(tmp_path, make_registration(), changed)
    with pytest.raises(ImageContentError, match="several registrations"):
        read_case((*ct, *reg), mr)


def test_a_deformable_one_is_refused_as_what_it_is(tmp_path, ct, mr):
    reg = make_registration()
    reg.SOPClassUID = reg.file_meta.MediaStorageSOPClassUID = UID(
        "1.2.840.10008.5.1.4.1.1.66.3"
    )
    with pytest.raises(ImageContentError, match=r"reg001\.dcm: it is a Deformable"):
        read_case(ct, mr, write(tmp_path, reg))
