"""Real DICOM, from scanners and from NEMA: each ends as it should."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.frame_reader import open_frames
from hanseg_shared.io.dicom.frames import read_frames
from hanseg_shared.io.dicom.header import read_header
from hanseg_shared.io.dicom.identity import read_identity
from tests.io.dicom.made_series import made_volume, write_series
from tests.real_data import real_data

pytestmark = pytest.mark.data

NEMA = [
    f"{image}_{how}"
    for image in ("CT1", "CT2", "MR1", "MR2")
    for how in ("RLE", "JPLL", "JLSL", "J2KR")
]


def unzip(folder: Path, name: str, only: str = "") -> dict[str, DicomFile]:
    with zipfile.ZipFile(real_data("dicom", name)) as archive:
        names = [each for each in archive.namelist() if each.startswith(only)]
        archive.extractall(folder, names)
    return {name: DicomFile(folder / name, name) for name in sorted(names)}


def write_ct_of_that_patient(folder: Path, file: DicomFile) -> tuple[DicomFile, ...]:
    """Write a small CT of the patient whose MR a file is."""
    mr = pydicom.dcmread(file.path, stop_before_pixels=True)
    return write_series(
        folder,
        made_volume(),
        PatientID=mr.PatientID,
        PatientBirthDate=mr.get("PatientBirthDate", ""),
    )


@pytest.mark.parametrize("name", NEMA)
def test_packed_pixels_are_the_references_bit_for_bit(tmp_path, name):
    if shutil.which("zstd") is None:
        pytest.skip("the references are packed with zstd, which is not installed")
    files = unzip(tmp_path, "compressed_syntaxes.zip", only=name[:3])
    frame = read_frames(read_header(files[name]))[0]
    with open_frames() as reader:
        stored, _ = reader.read(frame)
    packed = files[f"{name[:3]}_UNC.zst"].path
    whole = subprocess.run(["zstd", "-dc", packed], check=True, capture_output=True)
    reference = pydicom.dcmread(BytesIO(whole.stdout)).pixel_array
    assert np.array_equal(stored, reference)


def test_a_tilted_ct_is_refused_by_its_tag(tmp_path):
    files = unzip(tmp_path, "ct_head_tilted_uneven.zip")
    wanted = re.escape("01.dcm: GantryDetectorTilt (0018,1120) is 18.5 degrees")
    with pytest.raises(ImageContentError, match=wanted):
        read_case(tuple(files.values()))


def test_a_tilted_ct_is_refused_by_its_geometry_too(tmp_path):
    files = unzip(tmp_path, "ct_head_tilted_uneven.zip")
    for file in files.values():
        dataset = pydicom.dcmread(file.path)
        del dataset.GantryDetectorTilt
        dataset.save_as(file.path)
    with pytest.raises(
        ImageContentError, match=r"as if the gantry were tilted by 18\.5"
    ):
        read_case(tuple(files.values()))


def test_its_uneven_slices_are_taken_once_they_are_upright(tmp_path):
    files = unzip(tmp_path, "ct_head_tilted_uneven.zip")
    heights = {}
    for file in files.values():
        dataset = pydicom.dcmread(file.path)
        del dataset.GantryDetectorTilt
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        heights[dataset.SOPInstanceUID] = float(dataset.ImagePositionPatient[2])
        dataset.save_as(file.path)
    case = read_case(tuple(files.values()))
    source = case.source.ct
    assert not source.even
    assert source.padded
    assert len(source.slices) == 28
    for each in source.slices:
        height = case.ct.grid.index_to_world((0, 0, each.index))[2]
        assert height == pytest.approx(heights[each.sop_instance_uid], abs=0.25)
    assert case.ct.array.min() >= -1024


@pytest.mark.parametrize(
    ("archive", "position"), [("mr_t1_hfs.zip", "HFS"), ("mr_t1_hfdl.zip", "HFDL")]
)
def test_a_sagittal_t1_is_read_where_its_headers_say(tmp_path, archive, position):
    files = unzip(tmp_path, archive)
    ct = write_ct_of_that_patient(tmp_path, next(iter(files.values())))
    case = read_case(ct, tuple(files.values()))
    assert case.mr is not None
    assert case.source.mr is not None
    assert case.source.mr.patient_position == position
    assert case.source.mr.remarks == ()  # it is known for a T1
    assert case.mr.grid.size == (256, 256, 35)
    assert case.mr.grid.orientation[:2] == "PI"
    for each in case.source.mr.slices[::17]:
        file = next(f for f in files.values() if each.sop_instance_uid in f.name)
        dataset = pydicom.dcmread(file.path)
        assert np.array_equal(case.mr.array[each.index], dataset.pixel_array)
        at = case.mr.grid.index_to_world((0, 0, each.index))
        assert at == pytest.approx([float(v) for v in dataset.ImagePositionPatient])


def test_one_time_point_of_an_enhanced_mr_is_read(tmp_path):
    files = unzip(tmp_path, "mr_enhanced_siemens.zip")
    ct = write_ct_of_that_patient(tmp_path, files["6_1.dcm"])
    case = read_case(ct, [files["6_1.dcm"]])
    dataset = pydicom.dcmread(files["6_1.dcm"].path)
    assert case.mr is not None
    assert case.source.mr is not None
    assert [each.frame for each in case.source.mr.slices] == [1, 2, 3, 4, 5, 6]
    assert np.array_equal(case.mr.array, dataset.pixel_array)
    first = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    assert case.mr.grid.origin == pytest.approx(first.ImagePositionPatient)


def test_several_time_points_of_an_enhanced_mr_are_refused(tmp_path):
    files = unzip(tmp_path, "mr_enhanced_siemens.zip")
    ct = write_ct_of_that_patient(tmp_path, files["6_1.dcm"])
    with pytest.raises(ImageContentError, match="4 images of each place"):
        read_case(ct, tuple(files.values()))


def test_a_localizer_is_no_ct(tmp_path):
    files = unzip(tmp_path, "charsets_localiser_enhanced.zip")
    with pytest.raises(
        ImageContentError, match=r"I10: ImageType \(0008,0008\) says LOC"
    ):
        read_case([files["I10"]])


def test_a_perfusion_map_is_no_ct(tmp_path):
    files = unzip(tmp_path, "charsets_localiser_enhanced.zip")
    with pytest.raises(ImageContentError, match=r"FrameType \(0008,9007\) says 'RCBF'"):
        read_case([files["eCT_Supplemental.dcm"]])


def test_a_secondary_capture_is_no_ct(tmp_path):
    files = unzip(tmp_path, "charsets_localiser_enhanced.zip")
    wanted = re.escape("SOPClassUID (0008,0016) says Secondary Capture Image")
    with pytest.raises(ImageContentError, match=wanted):
        read_case([files["chrGerm.dcm"]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("chrFren.dcm", {"Alphabetic": "Buc^Jérôme"}),
        ("chrGerm.dcm", {"Alphabetic": "Äneas^Rüdiger"}),
        (
            "chrH31.dcm",
            {
                "Alphabetic": "Yamada^Tarou",
                "Ideographic": "山田^太郎",
                "Phonetic": "やまだ^たろう",
            },
        ),
        ("chrX2.dcm", {"Alphabetic": "Wang^XiaoDong", "Ideographic": "王^小东"}),
    ],
)
def test_names_are_read_in_their_own_letters(tmp_path, name, expected):
    files = unzip(tmp_path, "charsets_localiser_enhanced.zip")
    identity, remarks = read_identity(files[name])
    assert identity.attributes["00100010"]["Value"] == [expected]
    assert remarks == ()


def test_a_structure_set_among_the_slices_is_passed_over(tmp_path):
    files = unzip(tmp_path, "rtstruct_and_seg.zip")
    case = read_case([files[name] for name in ("ct_1.dcm", "ct_2.dcm", "rt.dcm")])
    assert case.source.remarks == ("passed over: 1 RT Structure Set",)
    assert case.source.ct.spacing[2] == pytest.approx(5.0)
