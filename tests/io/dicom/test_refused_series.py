"""Series that make no sound volume are refused by file, tag and remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from hanseg_shared.errors import ImageContentError, ImageError, ImageTooLargeError
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.limits import Limits
from tests.io.dicom.made_series import (
    made_uid,
    made_volume,
    make_enhanced,
    make_series,
    tilt,
    write_files,
    write_series,
)

SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def without(keyword: str) -> list[FileDataset]:
    """Return a CT that lacks an attribute."""
    slices = make_series(made_volume())
    for each in slices:
        delattr(each, keyword)
    return slices


def refusal_of(folder: Path, slices: list[FileDataset]) -> str:
    """Write a series and return why it is refused."""
    with pytest.raises(ImageContentError) as caught:
        read_case(write_files(folder, slices))
    return str(caught.value)


def test_a_gantry_tilt_in_the_header(tmp_path):
    slices = make_series(made_volume(), GantryDetectorTilt="-12.5")
    told = refusal_of(tmp_path, slices)
    assert told.startswith("slice001.dcm: GantryDetectorTilt (0018,1120) is -12.5 deg")


def test_a_gantry_tilt_in_the_geometry_alone(tmp_path):
    slices = make_series(made_volume())
    tilt(slices, 18.0)
    for each in slices:
        del each.GantryDetectorTilt
    told = refusal_of(tmp_path, slices)
    assert "ImagePositionPatient (0020,0032)" in told
    assert "tilted by 18.0 degrees" in told


def test_a_tilt_too_small_to_shift_a_slice_is_accepted(tmp_path):
    slices = make_series(made_volume())
    tilt(slices, 0.2)  # 0.05 mm over the whole series
    for each in slices:
        each.GantryDetectorTilt = "0.0"
    assert read_case(write_files(tmp_path, slices)).source.ct.even


def test_two_slices_at_one_position(tmp_path):
    slices = make_series(made_volume())
    slices[4].ImagePositionPatient = slices[3].ImagePositionPatient
    told = refusal_of(tmp_path, slices)
    assert re.search(r"slice00[45]\.dcm: ImagePositionPatient .* two images", told)


def test_a_second_orientation(tmp_path):
    slices = make_series(made_volume())
    slices[2].ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    told = refusal_of(tmp_path, slices)
    assert told.startswith("slice003.dcm: ImageOrientationPatient (0020,0037) differs")


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("FrameOfReferenceUID", made_uid("another")),
        ("StudyInstanceUID", made_uid("another")),
        ("PixelSpacing", [1.5, 1.1]),
        ("Rows", 20),
        ("Columns", 24),
    ],
)
def test_one_slice_that_differs(tmp_path, keyword, value):
    slices = make_series(made_volume())
    setattr(slices[5], keyword, value)
    told = refusal_of(tmp_path, slices)
    assert told.startswith(f"slice006.dcm: {keyword} (")
    assert "differs" in told


@pytest.mark.parametrize(
    ("keyword", "value"), [("PatientID", "P2"), ("PatientBirthDate", "19810203")]
)
def test_two_patients(tmp_path, keyword, value):
    slices = make_series(made_volume())
    setattr(slices[1], keyword, value)
    told = refusal_of(tmp_path, slices)
    assert told.startswith(f"slice002.dcm: {keyword} (0010,00")
    assert "several patients" in told
    assert value not in told


def test_an_mr_of_another_patient(tmp_path):
    ct = write_series(tmp_path, made_volume())
    mr = write_series(tmp_path, made_volume(lowest=0), "MR", PatientID="P2")
    with pytest.raises(ImageContentError, match="several patients"):
        read_case(ct, mr)


def test_a_localizer(tmp_path):
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    told = refusal_of(tmp_path, make_series(made_volume(), ImageType=kind))
    assert told.startswith("slice001.dcm: ImageType (0008,0008) says LOCALIZER")


def test_a_secondary_capture_of_a_ct(tmp_path):
    slices = make_series(made_volume())
    for each in slices:
        each.SOPClassUID = SECONDARY_CAPTURE
        each.file_meta.MediaStorageSOPClassUID = UID(SECONDARY_CAPTURE)
    told = refusal_of(tmp_path, slices)
    assert "SOPClassUID (0008,0016) says Secondary Capture Image" in told


def test_a_header_without_pixels(tmp_path):
    slices = make_series(made_volume())
    del slices[3].PixelData
    told = refusal_of(tmp_path, slices)
    assert told.startswith("slice004.dcm: PixelData (7FE0,0010) is missing")


@pytest.mark.parametrize("keyword", ["RescaleSlope", "RescaleIntercept"])
def test_a_ct_without_rescale(tmp_path, keyword):
    told = refusal_of(tmp_path, without(keyword))
    assert "slice001.dcm: RescaleSlope (0028,1053) or RescaleIntercept" in told


def test_a_ct_that_is_no_hounsfield_map(tmp_path):
    told = refusal_of(tmp_path, make_series(made_volume(), RescaleType="Z_EFF"))
    assert told.startswith("slice001.dcm: RescaleType (0028,1054) is 'Z_EFF'")


@pytest.mark.parametrize(
    ("keyword", "value"), [("SamplesPerPixel", 3), ("PhotometricInterpretation", "RGB")]
)
def test_colour(tmp_path, keyword, value):
    told = refusal_of(tmp_path, make_series(made_volume(), **{keyword: value}))
    assert told.startswith(f"slice001.dcm: {keyword} (0028,00")


@pytest.mark.parametrize(
    "keyword",
    [
        "ImagePositionPatient",
        "ImageOrientationPatient",
        "PixelSpacing",
        "Rows",
        "BitsAllocated",
        "FrameOfReferenceUID",
    ],
)
def test_a_missing_attribute(tmp_path, keyword):
    told = refusal_of(tmp_path, without(keyword))
    assert told.startswith(f"slice001.dcm: {keyword} (")
    assert "is missing" in told


def test_directions_that_are_none(tmp_path):
    slices = make_series(made_volume(), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    assert "no two directions" in refusal_of(tmp_path, slices)


def test_directions_that_are_sheared(tmp_path):
    slices = make_series(made_volume(), ImageOrientationPatient=[1, 0, 0, 0.2, 0.98, 0])
    told = refusal_of(tmp_path, slices)
    assert told.startswith("slice001.dcm: ImageOrientationPatient (0020,0037): dir")


def test_a_single_slice(tmp_path):
    told = refusal_of(tmp_path, make_series(made_volume())[:1])
    assert "the only slice of its series" in told


def test_the_same_instance_with_other_content(tmp_path):
    slices = make_series(made_volume())
    copy = make_series(made_volume(lowest=-499))[0]
    told = refusal_of(tmp_path, [*slices, copy])
    assert told.startswith("slice009.dcm: SOPInstanceUID (0008,0018) is that of slice0")


def test_phases_of_a_4d_scan_are_named(tmp_path):
    slices = [
        each
        for number in (1, 2, 3)
        for each in make_series(made_volume(), series="1", AcquisitionNumber=number)
    ]
    for k, each in enumerate(slices):
        each.SOPInstanceUID = made_uid("phase", k)
        each.file_meta.MediaStorageSOPInstanceUID = each.SOPInstanceUID
    told = refusal_of(tmp_path, slices)
    assert "3 images of each place" in told
    assert "they differ in AcquisitionNumber (0020,0012): 1, 2, 3" in told


def test_an_enhanced_ct_without_functional_groups(tmp_path):
    enhanced = make_enhanced(made_volume(), PerFrameFunctionalGroupsSequence=None)
    told = refusal_of(tmp_path, [enhanced])
    assert told.startswith("slice001.dcm: PerFrameFunctionalGroupsSequence (5200,9230)")


def test_frames_in_a_classic_image(tmp_path):
    slices = make_series(made_volume(), NumberOfFrames=4)
    told = refusal_of(tmp_path, slices)
    assert told.startswith("slice001.dcm: NumberOfFrames (0028,0008) is 4")


def test_pixels_that_were_cut_off(tmp_path):
    files = write_series(tmp_path, made_volume())
    path = files[6].path
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ImageError, match=r"ct007\.dcm: PixelData .* cut off"):
        read_case(files)


def test_a_file_that_is_no_dicom(tmp_path):
    files = write_series(tmp_path, made_volume())
    notes = tmp_path / "notes.txt"
    notes.write_text("no image")
    with pytest.raises(ImageError, match=r"notes\.txt: it is no DICOM file"):
        read_case([*files, DicomFile(notes, "notes.txt")])


def test_an_mr_sent_as_ct(tmp_path):
    mr = write_series(tmp_path, made_volume(lowest=0), "MR")
    with pytest.raises(ImageContentError, match=r"no file that was sent as CT is a CT"):
        read_case(mr)


@pytest.mark.parametrize(
    "limits", [Limits(max_voxels=900), Limits(max_axis=11), Limits(max_extent_mm=10.0)]
)
def test_a_series_beyond_the_caps(tmp_path, limits):
    with pytest.raises(ImageTooLargeError):
        read_case(write_series(tmp_path, made_volume()), limits=limits)


@pytest.mark.parametrize("spacing", [0.001, 25.0])
def test_pixels_too_small_or_too_large(tmp_path, spacing):
    slices = make_series(made_volume(), PixelSpacing=[spacing, spacing])
    assert "PixelSpacing (0028,0030)" in refusal_of(tmp_path, slices)
