"""What a written structure set says, and what it leaves out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.linting.values import values_of
from hanseg_shared.dicom.rtstruct import WrittenStructures, write_rtstruct
from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import ModelSummary, OrganResult
from hanseg_shared.errors import GridMismatchError, OutputError
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.grid import Grid
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, identity, series_source
from tests.dicom.verifier import errors_of

GRID = Grid((24, 20, 5), (0.9766, 0.9766, 2.5), (-250.0, -249.5117, 1234.5678))
MODEL = ModelSummary(name="default", version="1.2", sha256="0123456789ab" * 5 + "cdef")


def labels_of(*names: str, grid: Grid = GRID) -> Volume:
    """Return a label map in which each organ has a block of its own."""
    array = np.zeros(grid.shape, dtype=np.uint8)
    for place, name in enumerate(names):
        row, column = 1 + 4 * (place // 5), 1 + 4 * (place % 5)
        array[1:4, row : row + 3, column : column + 3] = organ(name).label
    return Volume(array, grid)


def results(labels: Volume, **flags: tuple[Flag, ...]) -> tuple[OrganResult, ...]:
    """Return what became of each organ; one with flags is doubted."""
    present = set(np.unique(labels.array).tolist())
    found = []
    for each in ORGANS:
        status = OrganStatus.CONTOURED if each.label in present else OrganStatus.EMPTY
        if each.name in flags:
            status = OrganStatus.LOW_CONFIDENCE
        found.append(
            OrganResult(
                name=each.name,
                label=each.label,
                status=status,
                flags=flags.get(each.name, ()),
            )
        )
    return tuple(found)


def write(
    path: Path,
    labels: Volume,
    *,
    case: DicomCase | None = None,
    template: Template | None = None,
    organs: tuple[OrganResult, ...] | None = None,
) -> tuple[WrittenStructures, FileDataset]:
    written = write_rtstruct(
        path / "rtstruct.dcm",
        labels,
        case=case or dicom_case(GRID),
        template=template or default_template(),
        organs=results(labels) if organs is None else organs,
        model=MODEL,
    )
    return written, pydicom.dcmread(path / "rtstruct.dcm")


def contours(dataset: FileDataset) -> list[pydicom.Dataset]:
    return [
        contour for roi in dataset.ROIContourSequence for contour in roi.ContourSequence
    ]


def test_a_structure_is_described_in_three_places(tmp_path):
    written, dataset = write(tmp_path, labels_of("Parotid_L", "Brainstem"))
    (stem, parotid) = written.structures
    assert (stem.name, stem.number) == ("Brainstem", 5)
    assert (parotid.name, parotid.contours) == ("Parotid_L", 3)
    assert parotid.volume_ml == pytest.approx(27 * GRID.voxel_ml)
    roi = dataset.StructureSetROISequence[1]
    observation = dataset.RTROIObservationsSequence[1]
    drawn = dataset.ROIContourSequence[1]
    assert roi.ROIName == "Parotid_L"
    assert roi.ROIGenerationAlgorithm == "AUTOMATIC"
    assert roi.ROIGenerationDescription == "hanseg model default 1.2 0123456789ab"
    assert observation.RTROIInterpretedType == "ORGAN"
    assert drawn.ROIDisplayColor == list(organ("Parotid_L").colour)
    assert (
        roi.ROINumber
        == observation.ReferencedROINumber
        == drawn.ReferencedROINumber
        == parotid.number
    )


def test_it_is_unapproved_and_belongs_to_the_cts_study_and_frame(tmp_path):
    case = dicom_case(GRID)
    _, dataset = write(tmp_path, labels_of("Lips"), case=case)
    ct = case.source.ct
    assert dataset.ApprovalStatus == "UNAPPROVED"
    assert dataset.StudyInstanceUID == ct.study_instance_uid
    assert dataset.SeriesInstanceUID != ct.series_instance_uid
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    assert dataset.FrameOfReferenceUID == frame.FrameOfReferenceUID
    assert frame.FrameOfReferenceUID == ct.frame_of_reference_uid
    assert (dataset.StructureSetDate, dataset.SeriesTime) == ("20260304", "050607")


def test_the_whole_series_is_referred_to(tmp_path):
    case = dicom_case(GRID)
    _, dataset = write(tmp_path, labels_of("Lips"), case=case)
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (series,) = study.RTReferencedSeriesSequence
    assert [each.ReferencedSOPInstanceUID for each in series.ContourImageSequence] == [
        each.sop_instance_uid for each in case.source.ct.slices
    ]


def test_every_contour_refers_to_the_slice_it_lies_on(tmp_path):
    case = dicom_case(GRID)
    _, dataset = write(tmp_path, labels_of("Lips"), case=case)
    by_uid = {each.sop_instance_uid: each for each in case.source.ct.slices}
    for contour in contours(dataset):
        (image,) = contour.ContourImageSequence
        z = by_uid[image.ReferencedSOPInstanceUID].position[2]
        assert np.allclose(contour.ContourData[2::3], z, atol=0.0005)
        assert contour.NumberOfContourPoints * 3 == len(contour.ContourData)


def test_coordinates_have_three_decimals_and_at_most_16_characters(tmp_path):
    _, dataset = write(tmp_path, labels_of("Lips"))
    for contour in contours(dataset):
        for value in contour.ContourData:
            text = value.original_string
            assert len(text) <= 16
            assert len(text.split(".")[1]) == 3


def test_a_frame_of_an_enhanced_ct_is_referred_to_by_its_number(tmp_path):
    case = dicom_case(series_source(GRID, multi_frame=True))
    _, dataset = write(tmp_path, labels_of("Lips"), case=case)
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (study,) = frame.RTReferencedStudySequence
    (images,) = study.RTReferencedSeriesSequence[0].ContourImageSequence
    assert images.ReferencedFrameNumber == [1, 2, 3, 4, 5]
    numbers = [
        contour.ContourImageSequence[0].ReferencedFrameNumber
        for contour in contours(dataset)
    ]
    assert numbers == [2, 3, 4]


def test_contours_lie_on_slices_that_exist_only(tmp_path):
    case = dicom_case(series_source(GRID, missing=(2,)))
    written, dataset = write(tmp_path, labels_of("Lips"), case=case)
    assert written.structures[0].contours == 2
    assert "existing slices only" in dataset.StructureSetDescription


def test_an_organ_between_the_slices_is_left_out(tmp_path):
    labels = labels_of("Lips")
    labels.array[2, 19, 23] = organ("Glottis").label
    case = dicom_case(series_source(GRID, missing=(2,)))
    written, _ = write(tmp_path, labels, case=case)
    reasons = {each.name: each.reason for each in written.left_out}
    assert reasons["Glottis"] == "between the slices of the CT"


def test_an_organ_without_mask_is_left_out_entirely_and_named(tmp_path):
    labels = labels_of("Lips")
    written, dataset = write(tmp_path, labels)
    assert len(written.left_out) == len(default_template().structures) - 1
    assert [roi.ROIName for roi in dataset.StructureSetROISequence] == ["Lips"]
    assert len(dataset.ROIContourSequence) == 1
    assert len(dataset.RTROIObservationsSequence) == 1
    description = dataset.StructureSetDescription
    assert "Left out: A_Carotid_L, A_Carotid_R, Arytenoid" in description
    assert "(nothing found)" in description


def test_half_an_eye_is_not_called_an_eye(tmp_path):
    written, _ = write(tmp_path, labels_of("Eye_AL", "Eye_PL", "Eye_AR"))
    assert [each.name for each in written.structures] == [
        "Eye_L^Ant",
        "Eye_R^Ant",
        "Eye_L^Post",
        "Eye_L",
    ]
    reasons = {each.name: each.reason for each in written.left_out}
    assert reasons["Eye_R"] == "Eye_PR nothing found"


def test_a_union_has_both_masks(tmp_path):
    written, _ = write(tmp_path, labels_of("Eye_AL", "Eye_PL"))
    *parts, whole = written.structures
    assert whole.volume_ml == sum(each.volume_ml for each in parts)


def test_a_template_decides_names_order_numbers_and_colours(tmp_path):
    template = Template(
        name="clinic",
        version=3,
        label="Klinik",
        structures=(
            Structure(name="Lippen", organs=("Lips",), colour=(1, 2, 3)),
            Structure(name="Stamm", organs=("Brainstem",)),
        ),
    )
    _, dataset = write(tmp_path, labels_of("Brainstem", "Lips"), template=template)
    rois = dataset.StructureSetROISequence
    assert [(roi.ROINumber, roi.ROIName) for roi in rois] == [
        (1, "Lippen"),
        (2, "Stamm"),
    ]
    assert dataset.ROIContourSequence[0].ROIDisplayColor == [1, 2, 3]
    assert dataset.StructureSetLabel == "Klinik"
    assert dataset.StructureSetName == "clinic@3"


def test_what_a_structure_is_is_coded_with_its_side(tmp_path):
    labels = labels_of("Parotid_L", "Parotid_R", "Glottis")
    structures = (
        Structure(name="Left", organs=("Parotid_L",)),
        Structure(name="Both", organs=("Parotid_L", "Parotid_R")),
        Structure(name="Middle", organs=("Glottis",)),
        Structure(name="Mixed", organs=("Parotid_L", "Glottis")),
    )
    template = Template(name="clinic", structures=structures)
    _, dataset = write(tmp_path, labels, template=template)
    found = {}
    for each in dataset.RTROIObservationsSequence:
        codes = each.get("RTROIIdentificationCodeSequence", [])
        found[each.ROIObservationLabel] = [
            (
                code.CodeValue,
                [
                    side.CodeMeaning
                    for side in code.get(
                        "SegmentedPropertyTypeModifierCodeSequence", []
                    )
                ],
            )
            for code in codes
        ]
    assert found == {
        "Left": [("45289007", ["Left"])],
        "Both": [("45289007", ["Bilateral"])],
        "Middle": [("1307006", [])],
        "Mixed": [],
    }


def test_doubts_and_cut_organs_are_named_in_the_description(tmp_path):
    labels = labels_of("Lips", "SpinalCord")
    few = Flag.of(FlagCode.FEW_VOXELS, 3, limit=5)
    cut = Flag.of(FlagCode.TRUNCATED_AT_SCAN_EDGE)
    _, dataset = write(
        tmp_path, labels, organs=results(labels, Lips=(few,), SpinalCord=(cut,))
    )
    description = dataset.StructureSetDescription
    assert "Low confidence: Lips (few voxels 3 (limit 5))" in description
    assert "Cut off by the CT's edge: SpinalCord." in description


def test_a_description_never_exceeds_what_dicom_allows(tmp_path):
    labels = labels_of(*(each.name for each in ORGANS[:20]))
    wordy = (
        Flag.of(FlagCode.UNEXPECTED_POSITION, 123.0, limit=100.0),
        Flag.of(FlagCode.SMALL_VOLUME, 0.123, limit=0.456),
    )
    doubted = {each.name: wordy for each in ORGANS}
    _, dataset = write(tmp_path, labels, organs=results(labels, **doubted))
    assert len(dataset.StructureSetDescription) == 1024
    assert dataset.StructureSetDescription.endswith(" ...")


@pytest.mark.parametrize(
    ("name", "character_set"),
    [
        ("Moreau^Zoé", "ISO_IR 100"),
        ("Müller^Jörg", "ISO_IR 192"),
        ("Żółć^Ewa", "ISO_IR 101"),
        ("Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87"),
        ("Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
    ],
)
def test_the_patients_name_keeps_the_cts_character_set(tmp_path, name, character_set):
    case = dicom_case(GRID, whose=identity(name, character_set))
    _, dataset = write(tmp_path, labels_of("Lips"), case=case)
    assert values_of(dataset, "SpecificCharacterSet") == character_set.split("\\")
    assert str(dataset.PatientName) == name


def test_equal_input_and_time_give_equal_bytes(tmp_path):
    files = []
    for _ in range(2):
        write(tmp_path, labels_of("Lips", "Glottis"))
        files.append((tmp_path / "rtstruct.dcm").read_bytes())
    assert files[0] == files[1]


def test_another_result_is_another_instance(tmp_path):
    labels = labels_of("Lips")
    uids = {
        write(tmp_path, labels, case=dicom_case(GRID, seed=seed))[0].sop_instance_uid
        for seed in ("one", "other")
    }
    assert len(uids) == 2


def test_masks_of_another_grid_are_refused(tmp_path):
    moved = Grid(GRID.size, GRID.spacing, (0.0, 0.0, 0.0))
    with pytest.raises(GridMismatchError, match="the label map is not on the grid"):
        write(tmp_path, labels_of("Lips", grid=moved))


def test_nothing_to_write_is_no_structure_set(tmp_path):
    with pytest.raises(OutputError, match="no structure of the template 'default'"):
        write(tmp_path, labels_of())
    assert not list(tmp_path.iterdir())


def test_a_contour_of_more_than_64_kb_is_written_whole(tmp_path):
    grid = Grid((60, 200, 3), (0.5, 0.5, 1.0), (-123.0, 145.0, -1234.0))
    labels = Volume(np.zeros(grid.shape, dtype=np.uint8), grid)
    labels.array[1, 1:-1, 1] = labels.array[1, 1:-1:2, 1:-1] = organ("Lips").label
    labels.array[1, 2:-1:4, 20::2] = organ("Lips").label
    _, dataset = write(tmp_path, labels, case=dicom_case(grid))
    (contour,) = contours(dataset)
    assert len(contour.get_item("ContourData").value) > 65536
    assert contour["ContourData"].VR == "DS"
    assert contour.NumberOfContourPoints == len(contour.ContourData) / 3


@pytest.mark.dicom
@pytest.mark.parametrize("multi_frame", [False, True])
def test_dciodvfy_finds_no_error(tmp_path, multi_frame):
    labels = labels_of(*(each.name for each in ORGANS[:20]))
    case = dicom_case(
        series_source(GRID, multi_frame=multi_frame), whose=identity("Moreau^Zoé")
    )
    write(tmp_path, labels, case=case)
    assert errors_of(tmp_path / "rtstruct.dcm") == []


@pytest.mark.dicom
def test_dciodvfy_finds_the_error_of_an_empty_structure(tmp_path):
    _, dataset = write(tmp_path, labels_of("Lips"))
    dataset.ROIContourSequence[0].ContourSequence = []
    dataset.save_as(tmp_path / "empty.dcm")
    assert errors_of(tmp_path / "empty.dcm")
