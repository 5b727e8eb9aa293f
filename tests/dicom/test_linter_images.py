"""The linter on segmentations, registrations and the registered MR."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset

from hanseg_shared.dicom.linter import lint
from hanseg_shared.dicom.mr_series import write_mr_series
from hanseg_shared.dicom.registration_object import make_registration
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.documents import DicomOutput
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, series_source
from tests.dicom.organs_map import GRID, MODEL, ORGANS, organs_map

MR_FRAME = "1.2.826.0.1.3680043.8.498.99"
CASE = dicom_case(
    GRID, mr=series_source(GRID, modality="MR", frame_of_reference_uid=MR_FRAME)
)
MR_FROM_CT = np.array(
    [[0, -1, 0, 12.5], [1, 0, 0, -3.25], [0, 0, 1, 40], [0, 0, 0, 1]], dtype=float
)

Fault = tuple[Callable[[Dataset], object], str]


def segmentation(folder, kind: DicomOutput) -> FileDataset:
    path = folder / "seg.dcm"
    write_segmentation(
        path, organs_map(), case=CASE, organs=ORGANS, model=MODEL, kind=kind
    )
    return pydicom.dcmread(path)


@pytest.fixture(scope="module")
def binary(tmp_path_factory) -> FileDataset:
    return segmentation(tmp_path_factory.mktemp("seg"), DicomOutput.SEG)


@pytest.fixture(scope="module")
def mr_image(tmp_path_factory) -> FileDataset:
    volume = Volume(np.arange(GRID.voxels, dtype=float).reshape(GRID.shape), GRID)
    paths = write_mr_series(tmp_path_factory.mktemp("mr"), volume, case=CASE)
    return pydicom.dcmread(paths[3])


@pytest.fixture(scope="module")
def registration() -> FileDataset:
    return make_registration(MR_FROM_CT, case=CASE)


def sentences(dataset: FileDataset, spoil: Callable[[Dataset], object]) -> str:
    spoiled = copy.deepcopy(dataset)
    spoil(spoiled)
    return "\n".join(lint(spoiled, source=CASE.source))


def test_what_is_written_has_no_fault(binary, mr_image, registration, tmp_path):
    label_map = segmentation(tmp_path, DicomOutput.LABELMAP)
    for dataset in (binary, label_map, mr_image, registration):
        assert lint(dataset, source=CASE.source) == ()


def test_nor_has_a_registration_within_one_frame_of_reference():
    case = dicom_case(GRID, mr=series_source(GRID, modality="MR"))
    assert lint(make_registration(MR_FROM_CT, case=case), source=case.source) == ()


def test_nor_has_a_registration_of_an_enhanced_mr_of_another_study():
    mr = series_source(
        GRID, modality="MR", multi_frame=True, frame_of_reference_uid=MR_FRAME
    ).model_copy(update={"study_instance_uid": "1.2.3.4"})
    case = dicom_case(GRID, mr=mr)
    assert lint(make_registration(MR_FROM_CT, case=case), source=case.source) == ()


def frame(dataset: Dataset) -> Dataset:
    return dataset.PerFrameFunctionalGroupsSequence[2]


def shared(dataset: Dataset) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0]


SEGMENTATION_FAULTS: dict[str, Fault] = {
    "no segments": (
        lambda d: delattr(d, "SegmentSequence"),
        "SegmentSequence (0062,0002) is missing or empty",
    ),
    "segment number twice": (
        lambda d: setattr(d.SegmentSequence[1], "SegmentNumber", 1),
        "a SegmentNumber (0062,0004) is there more than once",
    ),
    "gap of segment numbers": (
        lambda d: setattr(d.SegmentSequence[-1], "SegmentNumber", 77),
        "SegmentNumber (0062,0004) does not count from 1 on without gaps",
    ),
    "no label": (
        lambda d: setattr(d.SegmentSequence[1], "SegmentLabel", ""),
        "a segment has no SegmentLabel (0062,0005)",
    ),
    "label twice": (
        lambda d: setattr(d.SegmentSequence[1], "SegmentLabel", "BONE_mandible"),
        "a SegmentLabel (0062,0005) is there more than once, in any case",
    ),
    "rows": (
        lambda d: setattr(d, "Rows", 41),
        "Rows and Columns are (41, 44), not the CT's (40, 44)",
    ),
    "pixel spacing": (
        lambda d: setattr(
            shared(d).PixelMeasuresSequence[0], "PixelSpacing", [0.9, 0.91]
        ),
        "(5200,9229): PixelSpacing (0028,0030) is not the CT's",
    ),
    "orientation": (
        lambda d: setattr(
            shared(d).PlaneOrientationSequence[0],
            "ImageOrientationPatient",
            [-1, 0, 0, 0, 1, 0],
        ),
        "(5200,9229): ImageOrientationPatient (0020,0037) is not the CT's",
    ),
    "series": (
        lambda d: setattr(d.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.3"),
        "ReferencedSeriesSequence (0008,1115) does not name the CT's series",
    ),
    "no referenced image": (
        lambda d: delattr(d.ReferencedSeriesSequence[0], "ReferencedInstanceSequence"),
        "ReferencedSeriesSequence (0008,1115) names no image",
    ),
    "foreign image": (
        lambda d: setattr(
            d.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0],
            "ReferencedSOPInstanceUID",
            "1.2.3",
        ),
        "ReferencedSeriesSequence (0008,1115) refers to an image that was not sent",
    ),
    "class of an image": (
        lambda d: setattr(
            d.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0],
            "ReferencedSOPClassUID",
            "1.2.3",
        ),
        "refers to an image by another SOP class than it has",
    ),
    "number of frames": (
        lambda d: d.PerFrameFunctionalGroupsSequence.pop(),
        "NumberOfFrames (0028,0008) is ",
    ),
    "position of a frame": (
        lambda d: setattr(
            frame(d).PlanePositionSequence[0],
            "ImagePositionPatient",
            [-20.0, -18.0, -50.1],
        ),
        "frame 3 lies on no slice of the CT",
    ),
    "segment of a frame": (
        lambda d: setattr(
            frame(d).SegmentIdentificationSequence[0], "ReferencedSegmentNumber", 99
        ),
        "frame 3 is of a segment that is not there",
    ),
    "image of a frame": (
        lambda d: setattr(
            frame(d).DerivationImageSequence[0].SourceImageSequence[0],
            "ReferencedSOPInstanceUID",
            "1.2.3",
        ),
        "frame 3 refers to an image that was not sent: 1.2.3",
    ),
    "frame of reference": (
        lambda d: setattr(d, "FrameOfReferenceUID", "1.2.3"),
        "FrameOfReferenceUID (0020,0052) is not that of the CT",
    ),
}


@pytest.mark.parametrize(
    ("spoil", "sentence"), SEGMENTATION_FAULTS.values(), ids=SEGMENTATION_FAULTS
)
def test_a_rule_for_segmentations_finds_its_fault(binary, spoil, sentence):
    assert sentence in sentences(binary, spoil)


MR_FAULTS: dict[str, Fault] = {
    "columns": (
        lambda d: setattr(d, "Columns", 45),
        "Rows and Columns are (40, 45), not the CT's (40, 44)",
    ),
    "spacing": (
        lambda d: setattr(d, "PixelSpacing", [1.0, 0.9]),
        "the image: PixelSpacing (0028,0030) is not the CT's",
    ),
    "orientation": (
        lambda d: setattr(d, "ImageOrientationPatient", [0, 1, 0, 1, 0, 0]),
        "the image: ImageOrientationPatient (0020,0037) is not the CT's",
    ),
    "position": (
        lambda d: setattr(d, "ImagePositionPatient", [-20.0, -18.0, -52.4]),
        "the image's ImagePositionPatient (0020,0032) is that of no slice",
    ),
    "foreign source": (
        lambda d: setattr(
            d.SourceImageSequence[0], "ReferencedSOPInstanceUID", "1.2.3"
        ),
        "SourceImageSequence (0008,2112) refers to an image that was not sent",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), MR_FAULTS.values(), ids=MR_FAULTS)
def test_a_rule_for_mr_images_finds_its_fault(mr_image, spoil, sentence):
    assert sentence in sentences(mr_image, spoil)


def item(dataset: Dataset, number: int = 1) -> Dataset:
    return dataset.RegistrationSequence[number]


def matrix(dataset: Dataset, number: int = 1) -> Dataset:
    step = item(dataset, number).MatrixRegistrationSequence[0]
    return step.MatrixSequence[0]


def set_matrix(dataset: Dataset, *changes: tuple[int, float], number: int = 1) -> None:
    where = matrix(dataset, number)
    values = [float(v) for v in where.FrameOfReferenceTransformationMatrix]
    for place, value in changes:
        values[place] = value
    where.FrameOfReferenceTransformationMatrix = values


def forget_what_it_is_of(dataset: Dataset) -> None:
    del item(dataset).FrameOfReferenceUID, item(dataset).ReferencedImageSequence


REGISTRATION_FAULTS: dict[str, Fault] = {
    "one item": (
        lambda d: d.RegistrationSequence.pop(),
        "RegistrationSequence (0070,0308) has 1 items, not one for each of 2 images",
    ),
    "a frame twice": (
        lambda d: setattr(
            item(d), "FrameOfReferenceUID", item(d, 0).FrameOfReferenceUID
        ),
        "is registered 2 times",
    ),
    "foreign frame": (
        lambda d: setattr(item(d), "FrameOfReferenceUID", "1.2.3"),
        "the frame of reference 1.2.3 is neither the CT's nor the MR's",
    ),
    "no frame of the CT": (
        lambda d: setattr(item(d, 0), "FrameOfReferenceUID", "1.2.3"),
        "the CT's frame of reference is not registered",
    ),
    "foreign image": (
        lambda d: setattr(
            item(d).ReferencedImageSequence[0], "ReferencedSOPInstanceUID", "1.2.3"
        ),
        "registration 2 refers to an image that was not sent: 1.2.3",
    ),
    "neither frame nor images": (
        forget_what_it_is_of,
        "registration 2 says neither of which frame nor of which images it is",
    ),
    "no matrix": (
        lambda d: delattr(item(d), "MatrixRegistrationSequence"),
        "registration 2 has no matrix",
    ),
    "short matrix": (
        lambda d: setattr(
            matrix(d), "FrameOfReferenceTransformationMatrix", [1.0] * 12
        ),
        "registration 2 has a matrix that is not one of 16 numbers",
    ),
    "last row": (
        lambda d: set_matrix(d, (12, 5.0)),
        "registration 2 has a matrix whose last row is not 0 0 0 1",
    ),
    "mirrored": (
        lambda d: set_matrix(d, (10, -1.0)),
        "registration 2 has a matrix that mirrors or flattens",
    ),
    "not rigid": (
        lambda d: set_matrix(d, (10, 1.1)),
        "registration 2 has a matrix that is called RIGID and is not",
    ),
    "no type": (
        lambda d: setattr(matrix(d), "FrameOfReferenceTransformationMatrixType", "X"),
        "registration 2 has a matrix of the type 'X'",
    ),
    "moved CT": (
        lambda d: set_matrix(d, (3, 0.5), number=0),
        "registration 1 moves the CT, which must stay where it is",
    ),
    "foreign series": (
        lambda d: setattr(d.ReferencedSeriesSequence[1], "SeriesInstanceUID", "1.2.3"),
        "it refers to the series 1.2.3, which was not sent",
    ),
    "missing series": (
        lambda d: d.ReferencedSeriesSequence.pop(),
        "it does not refer to the series of the MR",
    ),
}


@pytest.mark.parametrize(
    ("spoil", "sentence"), REGISTRATION_FAULTS.values(), ids=REGISTRATION_FAULTS
)
def test_a_rule_for_registrations_finds_its_fault(registration, spoil, sentence):
    assert sentence in sentences(registration, spoil)
