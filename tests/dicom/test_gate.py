"""The gate lets right objects through, and no wrong one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.gate import (
    require_rtstruct,
    require_segmentation,
)
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput
from hanseg_shared.errors import OutputError
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, identity, series_source
from tests.dicom.organs_map import GEOMETRIES, GRID, MODEL, ORGANS, organs_map
from tests.dicom.spoiling import another_name, change

TEMPLATE = default_template()
LABELS = organs_map()
CASE = dicom_case(GRID)

Write = Callable[[Path, Volume, DicomCase], None]
Require = Callable[..., None]


def write_contours(path: Path, labels: Volume, case: DicomCase) -> None:
    write_rtstruct(path, labels, case=case, template=TEMPLATE, organs=(), model=MODEL)


def require_contours(
    path: Path,
    labels: Volume,
    case: DicomCase = CASE,
    organs: Sequence[str] = ORGANS,
) -> None:
    require_rtstruct(path, labels, case=case, template=TEMPLATE, organs=organs)


def write_binary(path: Path, labels: Volume, case: DicomCase) -> None:
    write_segmentation(path, labels, case=case, organs=ORGANS, model=MODEL)


def write_label_map(path: Path, labels: Volume, case: DicomCase) -> None:
    write_segmentation(
        path,
        labels,
        case=case,
        organs=ORGANS,
        model=MODEL,
        kind=DicomOutput.LABELMAP,
    )


def require_masks(
    path: Path,
    labels: Volume,
    case: DicomCase = CASE,
    organs: Sequence[str] = ORGANS,
) -> None:
    require_segmentation(path, labels, case=case, organs=organs)


MASK_OBJECTS: dict[str, tuple[Write, Require]] = {
    "rtstruct": (write_contours, require_contours),
    "seg": (write_binary, require_masks),
    "labelmap": (write_label_map, require_masks),
}


@pytest.fixture(params=MASK_OBJECTS)
def mask_object(request) -> tuple[Write, Require]:
    return MASK_OBJECTS[request.param]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_masks_pass_in_every_position(tmp_path, mask_object, name):
    write, require = mask_object
    case, labels = dicom_case(GEOMETRIES[name]), organs_map(GEOMETRIES[name])
    write(tmp_path / "a.dcm", labels, case)
    require(tmp_path / "a.dcm", labels, case)


@pytest.mark.parametrize("missing", [(4,), (2, 3, 9)])
def test_masks_of_an_uneven_ct_pass_on_the_slices_there_are(
    tmp_path, mask_object, missing
):
    write, require = mask_object
    case = dicom_case(series_source(GRID, missing=missing))
    kept = LABELS.array.copy()
    kept[9, 20, 21] = 0  # the pituitary's one voxel may be on a missing slice
    labels = LABELS.with_array(kept)
    write(tmp_path / "a.dcm", labels, case)
    others = [name for name in ORGANS if name != "Pituitary"]
    require(tmp_path / "a.dcm", labels, case, others)


def test_masks_of_a_multi_frame_ct_pass(tmp_path, mask_object):
    write, require = mask_object
    case = dicom_case(series_source(GRID, multi_frame=True))
    write(tmp_path / "a.dcm", LABELS, case)
    require(tmp_path / "a.dcm", LABELS, case)


def mirror_columns(array: np.ndarray) -> np.ndarray:
    return array[:, :, ::-1]


def flip_slices(array: np.ndarray) -> np.ndarray:
    return array[::-1]


def lose_a_slice(array: np.ndarray) -> np.ndarray:
    array[5][array[5] == organ("SpinalCord").label] = 0
    return array


def add_a_slice(array: np.ndarray) -> np.ndarray:
    array[13, 33, 21] = organ("SpinalCord").label
    return array


def lose_an_organ(array: np.ndarray) -> np.ndarray:
    array[array == organ("Parotid_R").label] = 0
    return array


def fill_the_hole(array: np.ndarray) -> np.ndarray:
    inside = np.hypot(*np.ogrid[-12:28, -21:23]) < 6
    array[2:7][:, inside] = organ("Bone_Mandible").label
    return array


def shift_a_voxel(array: np.ndarray) -> np.ndarray:
    return np.roll(array, 1, axis=2)


def shift_a_slice(array: np.ndarray) -> np.ndarray:
    return np.roll(array, 1, axis=0)


def exchange_sides(array: np.ndarray) -> np.ndarray:
    left, right = (organ(f"Parotid_{side}").label for side in "LR")
    was_left, was_right = array == left, array == right
    array[was_left], array[was_right] = right, left
    return array


def mirror_the_cord(array: np.ndarray) -> np.ndarray:
    """The cord is its own mirror image but for one voxel of twelve hundred."""
    cord = organ("SpinalCord").label
    array[4, 33, 25], array[4, 33, 17] = cord, 0
    return array


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (mirror_columns, "Bone_Mandible|Eye_AL|Parotid_L"),
        (flip_slices, "Bone_Mandible reads back without slice"),
        (lose_a_slice, "SpinalCord reads back without slice 5 of the CT .1 of 11"),
        (add_a_slice, "SpinalCord reads back on slice 13 .* where its mask is empty"),
        (lose_an_organ, "Parotid_R is missing .1 of"),
        (fill_the_hole, "Bone_Mandible reads back with a Dice of 0.[0-9]+ .* 0.999 is"),
        (shift_a_voxel, "Bone_Mandible reads back with a Dice of"),
        (shift_a_slice, "Bone_Mandible reads back without slice 2"),
        (exchange_sides, "Parotid_L reads back"),
        (mirror_the_cord, "SpinalCord reads back mirrored from column to column"),
    ],
)
def test_wrong_masks_are_caught(tmp_path, mask_object, spoil, says):
    write, require = mask_object
    wrong = LABELS.with_array(np.ascontiguousarray(spoil(LABELS.array.copy())))
    write(tmp_path / "a.dcm", wrong, CASE)
    with pytest.raises(OutputError, match=rf"^a\.dcm: .*({says})"):
        require(tmp_path / "a.dcm", LABELS, CASE)


def test_an_organ_that_was_not_found_is_caught(tmp_path, mask_object):
    write, require = mask_object
    write(tmp_path / "a.dcm", LABELS, CASE)
    fewer = [name for name in ORGANS if name != "Parotid_L"]
    with pytest.raises(OutputError, match="Parotid_L is there, but was not found"):
        require(tmp_path / "a.dcm", LABELS, CASE, fewer)


def no_birth_date(dataset: FileDataset) -> None:
    dataset.PatientBirthDate = ""


def another_study(dataset: FileDataset) -> None:
    dataset.StudyInstanceUID = "1.2.3"


def another_frame(dataset: FileDataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3"


def another_character_set(dataset: FileDataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 192"


def the_cts_series(dataset: FileDataset) -> None:
    dataset.SeriesInstanceUID = CASE.source.ct.series_instance_uid


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (another_name, r"PatientName \(0010,0010\) is not the CT's$"),
        (no_birth_date, r"PatientBirthDate \(0010,0030\) is not the CT's"),
        (another_study, r"StudyInstanceUID \(0020,000D\) is not the CT's"),
        (another_frame, r"FrameOfReferenceUID \(0020,0052\) is not the CT's"),
        (another_character_set, r"SpecificCharacterSet \(0008,0005\)"),
        (the_cts_series, r"SeriesInstanceUID \(0020,000E\) is that of a source"),
    ],
)
def test_an_object_of_somebody_else_is_caught(tmp_path, mask_object, spoil, says):
    write, require = mask_object
    write(tmp_path / "a.dcm", LABELS, CASE)
    change(tmp_path / "a.dcm", spoil)
    with pytest.raises(OutputError, match=says) as caught:
        require(tmp_path / "a.dcm", LABELS, CASE)
    assert "Doe" not in str(caught.value)
    assert "Roe" not in str(caught.value)


def first_contour(dataset: FileDataset) -> Dataset:
    return dataset.ROIContourSequence[0].ContourSequence[0]


def frame_of_one_structure(dataset: FileDataset) -> None:
    dataset.StructureSetROISequence[3].ReferencedFrameOfReferenceUID = "1.2.3"


def frame_of_the_series(dataset: FileDataset) -> None:
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.3"


def image_of_another_slice(dataset: FileDataset) -> None:
    contour = first_contour(dataset)
    others = dataset.ROIContourSequence[-1].ContourSequence
    contour.ContourImageSequence = others[-1].ContourImageSequence


def an_image_less(dataset: FileDataset) -> None:
    study = dataset.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0]
    del study.RTReferencedSeriesSequence[0].ContourImageSequence[3]


def between_slices(dataset: FileDataset) -> None:
    contour = first_contour(dataset)
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    contour.ContourData = [f"{v:.3f}" for v in (points + np.array([0, 0, 0.4])).ravel()]


def an_open_contour(dataset: FileDataset) -> None:
    first_contour(dataset).ContourGeometricType = "OPEN_PLANAR"


def a_nested_contour(dataset: FileDataset) -> None:
    contour, copy = first_contour(dataset), Dataset()
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    middle = points.mean(axis=0)
    copy.ContourImageSequence = contour.ContourImageSequence
    copy.ContourGeometricType = "CLOSED_PLANAR"
    copy.NumberOfContourPoints = len(points)
    smaller = middle + 0.8 * (points - middle)
    copy.ContourData = [f"{v:.3f}" for v in smaller.ravel()]
    dataset.ROIContourSequence[0].ContourSequence.append(copy)


def two_names_exchanged(dataset: FileDataset) -> None:
    one, two = dataset.StructureSetROISequence[1:3]
    one.ROIName, two.ROIName = two.ROIName, one.ROIName


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (frame_of_one_structure, "FrameOfReferenceUID"),
        (frame_of_the_series, "FrameOfReferenceUID"),
        (image_of_another_slice, "does not refer to its image"),
        (an_image_less, r"does not list all images of the CT"),
        (between_slices, "has a contour 0.400 mm from the nearest slice"),
        (an_open_contour, "contours that enclose nothing"),
        (a_nested_contour, "contours that overlap in [0-9]+ voxels"),
        (two_names_exchanged, "not in their order"),
    ],
)
def test_a_wrong_structure_set_is_caught(tmp_path, spoil, says):
    write_contours(tmp_path / "a.dcm", LABELS, CASE)
    change(tmp_path / "a.dcm", spoil)
    with pytest.raises(OutputError, match=says):
        require_contours(tmp_path / "a.dcm", LABELS)


def frame_of_another_slice(dataset: FileDataset) -> None:
    frames = dataset.PerFrameFunctionalGroupsSequence
    frames[0].DerivationImageSequence = frames[1].DerivationImageSequence


def frame_moved(dataset: FileDataset) -> None:
    place = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient = [
        place.ImagePositionPatient[0] + 0.9,
        *place.ImagePositionPatient[1:],
    ]


def frame_between_slices(dataset: FileDataset) -> None:
    place = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    place.ImagePositionPatient[2] += 0.4


def label_exchanged(dataset: FileDataset) -> None:
    one, two = dataset.SegmentSequence[1:3]
    one.SegmentLabel, two.SegmentLabel = two.SegmentLabel, one.SegmentLabel


@pytest.mark.parametrize("write", [write_binary, write_label_map])
@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (frame_of_another_slice, "does not refer to its image"),
        (frame_moved, "reads back with a Dice of"),
        (frame_between_slices, "a frame lies 0.400 mm from the nearest slice"),
        (label_exchanged, "not in their order"),
    ],
)
def test_a_wrong_segmentation_is_caught(tmp_path, write, spoil, says):
    write(tmp_path / "a.dcm", LABELS, CASE)
    change(tmp_path / "a.dcm", spoil)
    with pytest.raises(OutputError, match=says):
        require_masks(tmp_path / "a.dcm", LABELS)


def an_observation_twice(dataset: FileDataset) -> None:
    for each in dataset.RTROIObservationsSequence[:2]:
        each.ObservationNumber = 1


def test_a_rule_of_the_linter_is_kept(tmp_path):
    write_contours(tmp_path / "a.dcm", LABELS, CASE)
    change(tmp_path / "a.dcm", an_observation_twice)
    with pytest.raises(OutputError, match=r"a\.dcm: .*ObservationNumber"):
        require_contours(tmp_path / "a.dcm", LABELS)


def test_another_kind_of_object_is_caught(tmp_path):
    write_contours(tmp_path / "a.dcm", LABELS, CASE)
    with pytest.raises(OutputError, match=r"a\.dcm: it is not a DICOM segmentation"):
        require_masks(tmp_path / "a.dcm", LABELS)


@pytest.mark.parametrize("name", ["Doe^Jane ", "Doe^Jane^^^", "Müller", "^", ""])
def test_padding_of_a_name_is_no_difference(tmp_path, name):
    case = dicom_case(GRID, whose=identity(name))
    write_contours(tmp_path / "a.dcm", LABELS, case)
    require_contours(tmp_path / "a.dcm", LABELS, case)


def test_the_identity_is_compared_in_its_own_characters(tmp_path):
    whose = identity("Müller^Jürgen")
    case = dicom_case(GRID, whose=whose)
    write_contours(tmp_path / "a.dcm", LABELS, case)
    require_contours(tmp_path / "a.dcm", LABELS, case)


def roi_item(dataset: FileDataset, sequence: str, name: str) -> Dataset:
    """Return the item about a structure of one of the sequences."""
    (number,) = [
        each.ROINumber
        for each in dataset.StructureSetROISequence
        if each.ROIName == name
    ]
    (item,) = [
        each
        for each in dataset[sequence].value
        if each.get("ReferencedROINumber", each.get("ROINumber")) == number
    ]
    return item


def other_side_of_structure(dataset: FileDataset) -> None:
    item = roi_item(dataset, "RTROIObservationsSequence", "Parotid_L")
    (code,) = item.RTROIIdentificationCodeSequence
    (side,) = code.SegmentedPropertyTypeModifierCodeSequence
    side.CodeValue = "24028007"


def another_organ(dataset: FileDataset) -> None:
    item = roi_item(dataset, "RTROIObservationsSequence", "Parotid_L")
    item.RTROIIdentificationCodeSequence[0].CodeValue = "69105007"


def exchanged_observations(dataset: FileDataset) -> None:
    left, right = (
        roi_item(dataset, "RTROIObservationsSequence", f"Parotid_{side}")
        for side in "LR"
    )
    left.ReferencedROINumber, right.ReferencedROINumber = (
        right.ReferencedROINumber,
        left.ReferencedROINumber,
    )


def another_colour(dataset: FileDataset) -> None:
    roi_item(dataset, "ROIContourSequence", "Parotid_L").ROIDisplayColor = [1, 2, 3]


def another_volume(dataset: FileDataset) -> None:
    roi_item(dataset, "StructureSetROISequence", "Parotid_L").ROIVolume = "999"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_side_of_structure, "Parotid_L has a code for the side"),
        (another_organ, "Parotid_L has the code .* of another organ"),
        (exchanged_observations, "Parotid_[LR] has "),
        (another_colour, "Parotid_L has another ROIDisplayColor"),
        (another_volume, "Parotid_L has a ROIVolume"),
    ],
)
def test_a_structure_that_says_it_is_another_is_refused(tmp_path, spoil, message):
    path = tmp_path / "rtstruct.dcm"
    write_contours(path, LABELS, CASE)
    change(path, spoil)
    with pytest.raises(OutputError, match=rf"rtstruct\.dcm: {message}"):
        require_contours(path, LABELS)


def other_side_of_segment(dataset: FileDataset) -> None:
    (item,) = [
        each for each in dataset.SegmentSequence if each.SegmentLabel == "Parotid_L"
    ]
    (code,) = item.SegmentedPropertyTypeCodeSequence
    code.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue = "24028007"


@pytest.mark.parametrize("write", [write_binary, write_label_map])
def test_a_segment_that_says_it_is_on_the_other_side_is_refused(tmp_path, write):
    path = tmp_path / "seg.dcm"
    write(path, LABELS, CASE)
    change(path, other_side_of_segment)
    with pytest.raises(OutputError, match="Parotid_L has a code for the side"):
        require_masks(path, LABELS)
