"""A Spatial Registration object read as one matrix, and those that cannot be used."""

from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import SpatialRegistrationStorage
from pydicom.valuerep import format_number_as_ds
from scipy.spatial.transform import Rotation

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.dicom.sent_registration import read_sent_registration
from tests.dicom.plastimatch import write_by_plastimatch

CT, MR, OTHER = "1.2.826.1", "1.2.826.2", "1.2.826.3"
CT_IMAGES, MR_IMAGES = ("1.2.826.1.1", "1.2.826.1.2"), ("1.2.826.2.1",)

Matrix = np.ndarray


def motion(
    angles_deg: tuple[float, float, float], offset_mm: tuple[float, float, float]
) -> Matrix:
    matrix = np.eye(4)
    turn = Rotation.from_euler("xyz", angles_deg, degrees=True)
    matrix[:3, :3] = turn.as_matrix()
    matrix[:3, 3] = offset_mm
    return matrix


RCS_FROM_CT = motion((3.0, -4.0, 5.0), (10.0, 20.0, -30.0))
RCS_FROM_MR = motion((-8.0, 2.0, 1.0), (-110.0, 7.5, 400.25))
SHIFT = motion((0.0, 0.0, 0.0), (1.0, 2.0, 3.0))
IDENTITY = np.eye(4)


def item(
    frame: str | None,
    *matrices: Matrix,
    images: tuple[str, ...] = (),
    kind: str = "RIGID",
) -> Dataset:
    """Return an item of a Registration Sequence."""
    transformations = []
    for matrix in matrices:
        transformation = Dataset()
        transformation.FrameOfReferenceTransformationMatrixType = kind
        transformation.FrameOfReferenceTransformationMatrix = [
            format_number_as_ds(float(value)) for value in matrix.ravel()
        ]
        transformations.append(transformation)
    registration = Dataset()
    registration.MatrixSequence = Sequence(transformations)
    made = Dataset()
    if frame is not None:
        made.FrameOfReferenceUID = frame
    if images:
        referenced = []
        for uid in images:
            reference = Dataset()
            reference.ReferencedSOPInstanceUID = uid
            referenced.append(reference)
        made.ReferencedImageSequence = Sequence(referenced)
    made.MatrixRegistrationSequence = Sequence([registration])
    return made


def registration(*items: Dataset, frame: str = CT) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = SpatialRegistrationStorage
    dataset.SOPInstanceUID = "1.2.826.9"
    dataset.FrameOfReferenceUID = frame
    dataset.RegistrationSequence = Sequence(items)
    return dataset


def read(dataset: Dataset, ct: str = CT, mr: str = MR) -> Matrix:
    found = read_sent_registration(
        dataset,
        ct_frame=ct,
        mr_frame=mr,
        name="reg.dcm",
        ct_images=CT_IMAGES,
        mr_images=MR_IMAGES,
    )
    assert found.sop_instance_uid == "1.2.826.9"
    return np.array(found.mr_from_ct)


MR_FROM_CT = np.linalg.inv(RCS_FROM_MR) @ RCS_FROM_CT
FROM_MR_ALONE = np.linalg.inv(RCS_FROM_MR)


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (registration(item(MR, RCS_FROM_MR)), FROM_MR_ALONE),
        (registration(item(CT, IDENTITY), item(MR, RCS_FROM_MR)), FROM_MR_ALONE),
        (registration(item(MR, RCS_FROM_MR), item(CT, IDENTITY)), FROM_MR_ALONE),
        (registration(item(CT, RCS_FROM_CT), frame=MR), RCS_FROM_CT),
        (
            registration(item(MR, RCS_FROM_MR), item(CT, RCS_FROM_CT), frame=OTHER),
            MR_FROM_CT,
        ),
        (
            registration(item(OTHER, SHIFT), item(CT, IDENTITY), item(MR, RCS_FROM_MR)),
            FROM_MR_ALONE,
        ),
        (
            registration(
                item(None, IDENTITY, images=CT_IMAGES),
                item(None, RCS_FROM_MR, images=MR_IMAGES),
                frame=OTHER,
            ),
            FROM_MR_ALONE,
        ),
        (
            registration(item(None, RCS_FROM_MR, images=MR_IMAGES)),
            FROM_MR_ALONE,
        ),
        (
            registration(item(MR, RCS_FROM_MR), item(MR, RCS_FROM_MR)),
            FROM_MR_ALONE,
        ),
    ],
    ids=[
        "the CT's frame, no CT item",
        "CT item first",
        "CT item last",
        "the MR's frame",
        "a third frame",
        "another image beside them",
        "by images",
        "the MR by its images, the CT by its frame",
        "the MR twice, the same",
    ],
)
def test_what_maps_the_ct_to_the_mr_is_found(dataset, expected):
    np.testing.assert_allclose(read(dataset), expected, atol=1e-9)


def test_of_several_matrices_the_first_is_applied_first():
    turn = motion((0.0, 0.0, 90.0), (0.0, 0.0, 0.0))
    found = read(registration(item(MR, SHIFT, turn)))
    point_of_the_mr = np.array([0.0, 0.0, 0.0, 1.0])
    in_the_ct = turn @ SHIFT @ point_of_the_mr
    np.testing.assert_allclose(in_the_ct, (-2.0, 1.0, 3.0, 1.0), atol=1e-12)
    np.testing.assert_allclose(found @ in_the_ct, point_of_the_mr, atol=1e-9)


@pytest.mark.parametrize("kind", ["RIGID", "RIGID_SCALE", "AFFINE"])
def test_every_type_of_matrix_is_read(kind):
    stretched = RCS_FROM_MR @ np.diag([1.01, 1.0, 0.99, 1.0])
    found = read(registration(item(MR, stretched, kind=kind)))
    np.testing.assert_allclose(found, np.linalg.inv(stretched), atol=1e-9)


def test_images_tell_two_images_of_one_frame_apart():
    dataset = registration(
        item(CT, IDENTITY, images=CT_IMAGES), item(CT, RCS_FROM_MR, images=MR_IMAGES)
    )
    np.testing.assert_allclose(read(dataset, mr=CT), FROM_MR_ALONE, atol=1e-9)


def changed(change: Callable[[Dataset], object]) -> Dataset:
    dataset = registration(item(CT, IDENTITY), item(MR, RCS_FROM_MR))
    change(dataset)
    return dataset


def with_matrix(*rows: tuple[float, ...]) -> Dataset:
    return registration(item(MR, np.array(rows, dtype=float)))


def set_numbers(dataset: Dataset, values: list[str]) -> None:
    matrices = dataset.RegistrationSequence[1].MatrixRegistrationSequence[0]
    first = matrices.MatrixSequence[0]
    first.FrameOfReferenceTransformationMatrix = values


def set_type(dataset: Dataset, value: str) -> None:
    matrices = dataset.RegistrationSequence[1].MatrixRegistrationSequence[0]
    matrices.MatrixSequence[0].FrameOfReferenceTransformationMatrixType = value


FLAT = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 0, 0), (0, 0, 0, 1))
MIRRORED = ((-1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1))
PROJECTIVE = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0.5, 1))
TRANSPOSED = tuple(tuple(row) for row in RCS_FROM_MR.T)


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (registration(item(OTHER, SHIFT), frame=OTHER), "is about other images"),
        (registration(item(CT, IDENTITY)), "does not register the MR"),
        (registration(item(MR, SHIFT), frame=OTHER), "does not register the CT"),
        (
            registration(item(MR, SHIFT), item(MR, RCS_FROM_MR)),
            "2 items about the MR .* contradict each other",
        ),
        (with_matrix(*FLAT), r"cannot be inverted \(determinant 0\)"),
        (with_matrix(*MIRRORED), "swaps left and right"),
        (with_matrix(*PROJECTIVE), "last row 0 0 0.5 1, not 0 0 0 1"),
        (with_matrix(*TRANSPOSED), "last row"),
        (changed(lambda d: set_numbers(d, ["1"] * 12)), "has 12 values, but needs 16"),
        (changed(lambda d: set_numbers(d, [])), "is missing, but needs 16"),
        (changed(lambda d: set_type(d, "")), r"\(none\), not one of RIGID"),
        (changed(lambda d: set_type(d, "ELASTIC")), "ELASTIC, not one of RIGID"),
        (registration(), "empty Registration Sequence"),
        (registration(item(MR)), "without Matrix Sequence"),
        (
            changed(
                lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.66.3")
            ),
            "Deformable Spatial Registration .* only rigid and affine",
        ),
        (changed(lambda d: delattr(d, "SOPClassUID")), r"\(0008,0016 is empty\)"),
        (changed(lambda d: delattr(d, "SOPInstanceUID")), "SOPInstanceUID"),
        (
            changed(
                lambda d: delattr(
                    d.RegistrationSequence[1], "MatrixRegistrationSequence"
                )
            ),
            "0 items in its Matrix Registration Sequence",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(dataset, words):
    with pytest.raises(ImageContentError, match=rf"reg\.dcm.*{words}"):
        read(dataset)


@pytest.mark.parametrize("text", ["nan", "inf", "x", "1e400"])
def test_a_value_that_is_no_number_is_refused(text):
    dataset = registration(item(MR, RCS_FROM_MR))
    raw = dataset.RegistrationSequence[0].MatrixRegistrationSequence[0]
    values = "\\".join([text, *["0"] * 15]).encode()
    raw.MatrixSequence[0][0x300600C6] = pydicom.dataelem.RawDataElement(
        pydicom.tag.Tag(0x300600C6), "DS", len(values), values, 0, False, True
    )
    with pytest.raises(
        ImageContentError,
        match=r"\(3006,00C6\) (is not finite|is no number|cannot be read)",
    ):
        read(dataset)


def test_images_of_one_frame_that_are_not_told_apart_are_refused():
    dataset = registration(item(CT, IDENTITY), item(CT, RCS_FROM_MR))
    with pytest.raises(ImageContentError, match="is about other images"):
        read(dataset, mr=CT)


def test_matrices_of_other_images_may_be_anything():
    dataset = registration(item(OTHER, np.zeros((4, 4))), item(MR, RCS_FROM_MR))
    np.testing.assert_allclose(read(dataset), FROM_MR_ALONE, atol=1e-9)


KEYWORDS = (
    "FrameOfReferenceUID",
    "SOPClassUID",
    "RegistrationSequence",
    "MatrixRegistrationSequence",
    "MatrixSequence",
    "ReferencedImageSequence",
    "FrameOfReferenceTransformationMatrix",
    "FrameOfReferenceTransformationMatrixType",
)


@given(
    keyword=st.sampled_from(KEYWORDS),
    depth=st.integers(0, 3),
    value=st.binary(max_size=40),
    kind=st.sampled_from(["UN", "OB", "LO", "SQ", "DS", "UI"]),
)
def test_damaged_elements_end_in_a_sentence_or_the_same_matrix(
    keyword, depth, value, kind
):
    dataset = registration(item(CT, IDENTITY), item(MR, RCS_FROM_MR))
    place = dataset
    for down in (
        "RegistrationSequence",
        "MatrixRegistrationSequence",
        "MatrixSequence",
    ):
        if depth == 0 or down not in place:
            break
        place, depth = place[down][-1], depth - 1
    tag = pydicom.tag.Tag(keyword)
    place[tag] = pydicom.dataelem.RawDataElement(
        tag, kind, len(value), value, 0, False, True
    )
    try:
        found = read(dataset)
    except ImageContentError:
        return
    np.testing.assert_allclose(found, FROM_MR_ALONE, atol=1e-9)


@pytest.mark.dicom
def test_what_plastimatch_writes_is_read(tmp_path):
    """plastimatch writes six decimals: 0.001 mm at the corners of a head."""
    mr_from_ct = motion((5.0, -3.0, 8.0), (12.5, -7.25, 30.125))
    written = write_by_plastimatch(tmp_path, mr_from_ct)
    corners = np.array([(-100.0, -100.0, -100.0, 1.0), (100.0, 100.0, 100.0, 1.0)]).T
    apart = written.read() @ corners - mr_from_ct @ corners
    assert np.abs(apart).max() < 1e-3
