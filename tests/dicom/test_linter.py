"""The linter: nothing to say about what we write, and each rule finds its own fault."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from hanseg_shared.dicom.linter import lint
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.templates import shipped_template
from hanseg_shared.grid import Grid
from tests.dicom.cases import DIRECTIONS, dicom_case, series_source
from tests.dicom.test_rtstruct import labels_of

GRID = Grid((24, 20, 5), (0.9766, 0.9, 2.5), (-20.0, 31.0, 12.3456), DIRECTIONS["HFDL"])
SOURCE = dicom_case(GRID).source


def written_to(folder, case) -> FileDataset:
    write_rtstruct(
        folder / "rtstruct.dcm",
        labels_of("Glottis", "Lips", grid=GRID),
        case=case,
        template=shipped_template("hanseg"),
        organs=(),
        model=None,
    )
    return pydicom.dcmread(folder / "rtstruct.dcm")


@pytest.fixture(scope="module")
def structure_set(tmp_path_factory) -> FileDataset:
    return written_to(tmp_path_factory.mktemp("rtstruct"), dicom_case(GRID))


def test_what_is_written_has_no_fault(structure_set):
    assert lint(structure_set, source=SOURCE) == ()


def test_nor_has_a_structure_set_of_an_enhanced_ct(tmp_path):
    case = dicom_case(series_source(GRID, multi_frame=True))
    assert lint(written_to(tmp_path, case), source=case.source) == ()


def test_nor_one_of_a_ct_that_lacks_a_slice(tmp_path):
    case = dicom_case(series_source(GRID, missing=(2,)))
    assert lint(written_to(tmp_path, case), source=case.source) == ()


def contour(dataset: Dataset) -> Dataset:
    return dataset.ROIContourSequence[0].ContourSequence[1]


def image(dataset: Dataset) -> Dataset:
    return contour(dataset).ContourImageSequence[0]


def roi(dataset: Dataset, number: int = 1) -> Dataset:
    return dataset.StructureSetROISequence[number]


def frame(dataset: Dataset) -> Dataset:
    return dataset.ReferencedFrameOfReferenceSequence[0]


def series(dataset: Dataset) -> Dataset:
    return frame(dataset).RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]


def move(dataset: Dataset, axis: int, millimetres: float) -> None:
    data = [float(value) for value in contour(dataset).ContourData]
    data[axis::3] = [round(value + millimetres, 3) for value in data[axis::3]]
    contour(dataset).ContourData = data


def keep_points(dataset: Dataset, count: int) -> None:
    contour(dataset).ContourData = list(contour(dataset).ContourData)[: 3 * count]
    contour(dataset).NumberOfContourPoints = count


def long_coordinate(dataset: Dataset) -> None:
    text = "\\".join(["-12.3456789012345"] * 9)
    contour(dataset)[0x30060050] = pydicom.DataElement(
        0x30060050, "DS", text, already_converted=True
    )


FAULTS: dict[str, tuple[Callable[[Dataset], object], str]] = {
    "ROI number twice": (
        lambda d: setattr(roi(d), "ROINumber", roi(d, 0).ROINumber),
        "ROINumber (3006,0022) '21' is there 2 times",
    ),
    "no ROI number": (
        lambda d: delattr(roi(d), "ROINumber"),
        "a structure has no ROINumber (3006,0022)",
    ),
    "name twice in another case": (
        lambda d: setattr(roi(d), "ROIName", "GLOTTIS"),
        "ROIName, in any case, 'glottis' is there 2 times",
    ),
    "name of 17 characters": (
        lambda d: setattr(roi(d), "ROIName", "Glnd_Submandibula"),
        "the ROIName 'Glnd_Submandibula' has 17 characters, and a TPS takes at most 16",
    ),
    "empty name": (
        lambda d: setattr(roi(d), "ROIName", ""),
        "a structure has no ROIName (3006,0026)",
    ),
    "frame of a structure": (
        lambda d: setattr(roi(d), "ReferencedFrameOfReferenceUID", "1.2.3"),
        "the frame of reference of the structure 'Lips' is not the CT's",
    ),
    "frame of the object": (
        lambda d: setattr(d, "FrameOfReferenceUID", "1.2.3"),
        "FrameOfReferenceUID (0020,0052) is not that of the CT",
    ),
    "frame that is referred to": (
        lambda d: setattr(frame(d), "FrameOfReferenceUID", "1.2.3"),
        "(3006,0010) has another frame of reference than the CT",
    ),
    "two frames": (
        lambda d: d.ReferencedFrameOfReferenceSequence.append(Dataset()),
        "(3006,0010) has 2 items, not one for the CT",
    ),
    "series that is referred to": (
        lambda d: setattr(series(d), "SeriesInstanceUID", "1.2.3"),
        "(3006,0010) does not refer to the CT's series",
    ),
    "study that is referred to": (
        lambda d: setattr(
            frame(d).RTReferencedStudySequence[0], "ReferencedSOPInstanceUID", "1.2.3"
        ),
        "(3006,0010) does not refer to the CT's study",
    ),
    "an image of the series is missing": (
        lambda d: series(d).ContourImageSequence.pop(),
        "(3006,0010) lacks 1 of the CT's images",
    ),
    "an image of the series is foreign": (
        lambda d: setattr(
            series(d).ContourImageSequence[0], "ReferencedSOPInstanceUID", "1.2.3"
        ),
        "(3006,0010) refers to an image that was not sent: 1.2.3",
    ),
    "an image of the series is there twice": (
        lambda d: series(d).ContourImageSequence.append(
            copy.deepcopy(series(d).ContourImageSequence[0])
        ),
        "is there 2 times",
    ),
    "no structures": (
        lambda d: delattr(d, "StructureSetROISequence"),
        "StructureSetROISequence (3006,0020) is missing or empty",
    ),
    "point count": (
        lambda d: setattr(contour(d), "NumberOfContourPoints", 9),
        "structure 21: contour 2 has a NumberOfContourPoints (3006,0046) other than",
    ),
    "two points": (
        lambda d: keep_points(d, 2),
        "structure 21: contour 2 has fewer than 3 points",
    ),
    "one point": (
        lambda d: keep_points(d, 1),
        "structure 21: contour 2 has fewer than 3 points",
    ),
    "no points": (
        lambda d: keep_points(d, 0),
        "structure 21: contour 2 has fewer than 3 points",
    ),
    "half a point": (
        lambda d: setattr(contour(d), "ContourData", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        "structure 21: contour 2 has coordinates that are no points",
    ),
    "open contour": (
        lambda d: setattr(contour(d), "ContourGeometricType", "OPEN_PLANAR"),
        "structure 21: contour 2 is not CLOSED_PLANAR",
    ),
    "exclusive or": (
        lambda d: setattr(contour(d), "ContourGeometricType", "CLOSEDPLANAR_XOR"),
        "structure 21: contour 2 is not CLOSED_PLANAR",
    ),
    "off its plane": (
        lambda d: move(d, 2, 0.02),
        "structure 21: contour 2 does not lie in the plane of the image it refers to",
    ),
    "on another plane": (
        lambda d: setattr(
            image(d),
            "ReferencedSOPInstanceUID",
            SOURCE.ct.slices[4].sop_instance_uid,
        ),
        "structure 21: contour 2 does not lie in the plane of the image it refers to",
    ),
    "outside the CT": (
        lambda d: move(d, 0, 500.0),
        "structure 21: contour 2 leaves the image it refers to",
    ),
    "no image": (
        lambda d: delattr(contour(d), "ContourImageSequence"),
        "structure 21: contour 2 refers to 0 images, not to one",
    ),
    "foreign image": (
        lambda d: setattr(image(d), "ReferencedSOPInstanceUID", "1.2.3"),
        "structure 21: contour 2 refers to an image that was not sent",
    ),
    "a frame of a single-frame image": (
        lambda d: setattr(image(d), "ReferencedFrameNumber", 1),
        "structure 21: contour 2 refers to an image that was not sent, or to no one",
    ),
    "class of an image": (
        lambda d: setattr(image(d), "ReferencedSOPClassUID", "1.2.3"),
        "structure 21: contour 2 refers to its image by another SOP class",
    ),
    "empty contours": (
        lambda d: setattr(d.ROIContourSequence[0], "ContourSequence", []),
        "structure 21 has no contour; it must be left out entirely",
    ),
    "missing contours": (
        lambda d: delattr(d.ROIContourSequence[0], "ContourSequence"),
        "structure 21 has no contour; it must be left out entirely",
    ),
    "structure without contour item": (
        lambda d: d.ROIContourSequence.pop(),
        "ROIContourSequence (3006,0039) has no item for the structure '23'",
    ),
    "contours of no structure": (
        lambda d: setattr(d.ROIContourSequence[1], "ReferencedROINumber", 77),
        "ROIContourSequence (3006,0039) refers to the structure '77', which is not",
    ),
    "contours of a structure twice": (
        lambda d: setattr(d.ROIContourSequence[1], "ReferencedROINumber", 21),
        "ROIContourSequence (3006,0039): ReferencedROINumber '21' is there 2 times",
    ),
    "structure without observation": (
        lambda d: d.RTROIObservationsSequence.pop(),
        "RTROIObservationsSequence (3006,0080) has no item for the structure '23'",
    ),
    "observation of no structure": (
        lambda d: setattr(d.RTROIObservationsSequence[1], "ReferencedROINumber", 77),
        "RTROIObservationsSequence (3006,0080) refers to the structure '77', which is",
    ),
    "observation number twice": (
        lambda d: setattr(d.RTROIObservationsSequence[1], "ObservationNumber", 21),
        "ObservationNumber (3006,0082) '21' is there 2 times",
    ),
    "coordinate of 17 characters": (
        long_coordinate,
        "ContourData (3006,0050) has a value of 17 characters, and DS has at most 16",
    ),
    "label of 17 characters": (
        lambda d: d.__setitem__(
            0x30060002,
            pydicom.DataElement(0x30060002, "SH", "x" * 17, already_converted=True),
        ),
        "StructureSetLabel (3006,0002) has a value of 17 characters, and SH has",
    ),
    "empty label": (
        lambda d: setattr(d, "StructureSetLabel", ""),
        "StructureSetLabel (3006,0002) is empty",
    ),
    "class in the file meta": (
        lambda d: setattr(d.file_meta, "MediaStorageSOPClassUID", UID("1.2.3")),
        "MediaStorageSOPClassUID is 1.2.3, and SOPClassUID is",
    ),
    "instance in the file meta": (
        lambda d: setattr(d.file_meta, "MediaStorageSOPInstanceUID", UID("1.2.3")),
        "MediaStorageSOPInstanceUID is 1.2.3, and SOPInstanceUID is",
    ),
    "study": (
        lambda d: setattr(d, "StudyInstanceUID", "1.2.3"),
        "StudyInstanceUID (0020,000D) is not that of the CT",
    ),
    "series of the CT": (
        lambda d: setattr(d, "SeriesInstanceUID", SOURCE.ct.series_instance_uid),
        "SeriesInstanceUID (0020,000E) is not a new one",
    ),
    "instance of the CT": (
        lambda d: setattr(d, "SOPInstanceUID", SOURCE.ct.slices[0].sop_instance_uid),
        "SOPInstanceUID (0008,0018) is that of an image",
    ),
    "series and instance alike": (
        lambda d: setattr(d, "SeriesInstanceUID", d.SOPInstanceUID),
        "study, series and instance do not have different UIDs",
    ),
}


@pytest.mark.parametrize(("spoil", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_rule_finds_its_fault(structure_set, spoil, sentence, tmp_path):
    spoiled = copy.deepcopy(structure_set)
    spoil(spoiled)
    found = lint(spoiled, source=SOURCE)
    assert any(sentence in fault for fault in found), found


def test_a_fault_survives_the_file(structure_set, tmp_path):
    spoiled = copy.deepcopy(structure_set)
    long_coordinate(spoiled)
    spoiled.save_as(tmp_path / "spoiled.dcm")
    (fault, *_) = lint(pydicom.dcmread(tmp_path / "spoiled.dcm"), source=SOURCE)
    assert "has a value of 17 characters" in fault


@pytest.mark.filterwarnings("ignore:The value for the data element")
def test_a_contour_that_an_explicit_vr_cannot_hold_is_found(structure_set, tmp_path):
    spoiled = copy.deepcopy(structure_set)
    long = [float(value) for value in contour(spoiled).ContourData] * 700
    contour(spoiled).ContourData = long
    contour(spoiled).NumberOfContourPoints = len(long) // 3
    spoiled.save_as(tmp_path / "long.dcm", implicit_vr=True)
    assert lint(pydicom.dcmread(tmp_path / "long.dcm"), source=SOURCE) == ()
    spoiled.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    spoiled.save_as(tmp_path / "long.dcm", implicit_vr=False)
    found = lint(pydicom.dcmread(tmp_path / "long.dcm"), source=SOURCE)
    assert "ContourData (3006,0050) is written as UN, not as DS" in found


def test_a_fault_of_many_contours_is_said_once(structure_set):
    spoiled = copy.deepcopy(structure_set)
    for each in spoiled.ROIContourSequence[0].ContourSequence:
        each.NumberOfContourPoints = 77
    (fault,) = lint(spoiled, source=SOURCE)
    assert fault.startswith("structure 21: contour 1 (and 2 more) has a Number")


def test_a_file_without_meta_information_is_told_so(structure_set):
    bare = Dataset(copy.deepcopy(structure_set))
    assert "the file has no file meta information" in lint(bare, source=SOURCE)


def approve(dataset: FileDataset) -> None:
    dataset.ApprovalStatus = "APPROVED"


def name_a_reviewer(dataset: FileDataset) -> None:
    dataset.ReviewerName = "A"


def call_a_plan(dataset: FileDataset) -> None:
    dataset.Modality = "RTPLAN"


def draw_by_hand(dataset: FileDataset) -> None:
    dataset.StructureSetROISequence[1].ROIGenerationAlgorithm = "MANUAL"


def make_a_target(dataset: FileDataset) -> None:
    dataset.RTROIObservationsSequence[1].RTROIInterpretedType = "PTV"


def two_colours(dataset: FileDataset) -> None:
    dataset.ROIContourSequence[0].ROIDisplayColor = [1, 2]


def draw_twice(dataset: FileDataset) -> None:
    contours = dataset.ROIContourSequence[0].ContourSequence
    contours.append(copy.deepcopy(contours[0]))


def lose_the_frame(dataset: FileDataset) -> None:
    del dataset.FrameOfReferenceUID


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (approve, "ApprovalStatus"),
        (name_a_reviewer, "not approved"),
        (call_a_plan, "Modality"),
        (draw_by_hand, "ROIGenerationAlgorithm"),
        (make_a_target, "RTROIInterpretedType"),
        (two_colours, "no colour"),
        (draw_twice, "the same contour twice"),
        (lose_the_frame, "FrameOfReferenceUID .* is missing"),
    ],
)
def test_what_a_draft_of_organs_must_not_say_is_a_fault(structure_set, spoil, fault):
    spoilt = copy.deepcopy(structure_set)
    spoil(spoilt)
    (found,) = lint(spoilt, source=SOURCE)
    assert re.search(fault, found)
