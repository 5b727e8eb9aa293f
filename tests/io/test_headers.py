"""What is read from headers, and what is refused before any voxel is read."""

from __future__ import annotations

import struct
import zipfile

import numpy as np
import pytest

from hanseg_shared.errors import (
    ImageContentError,
    ImageError,
    ImageTooLargeError,
    NoSuchFileError,
    NotAnImageError,
)
from hanseg_shared.io import ImageFormat, Limits, read_header, read_image
from tests.io.files import VOXELS, dicom, gzipped, mha, nifti, nrrd, written, zlibbed

NAN = float("nan")
BIG_ENDIAN = VOXELS.astype(">i2").tobytes()
GOOD = {
    "plain.nii": nifti(),
    "packed.nii.gz": gzipped(nifti()),
    "big_endian.nii": nifti(BIG_ENDIAN, order=">"),
    "one_time_point.nii": nifti(dim=(4, 4, 5, 6, 1, 1, 1, 1)),
    "unscaled_by_nan.nii": nifti(scaling=(float("nan"), float("nan"))),
    "extended.nii": nifti(bytes(64) + VOXELS.tobytes(), vox_offset=416.0),
    "raw.nrrd": nrrd(),
    "packed.nrrd": nrrd(gzipped(VOXELS.tobytes()), encoding="gzip"),
    "gz.nrrd": nrrd(gzipped(VOXELS.tobytes()), encoding="gz"),
    "big_endian.nrrd": nrrd(BIG_ENDIAN, endian="big"),
    "ras.nrrd": nrrd(
        space="right-anterior-superior",
        space_directions="(-1,0,0) (0,-2,0) (0,0,3)",
        space_origin="(10,-20,30)",
    ),
    "windows.nrrd": nrrd(b"").replace(b"\n", b"\r\n") + VOXELS.tobytes(),
    "slicer.seg.nrrd": nrrd().replace(b"\n\n", b"\nSegment0_Name:=Parotid: L\n\n", 1),
    "raw.mha": mha(),
    "big_endian.mha": mha(BIG_ENDIAN, BinaryDataByteOrderMSB="True"),
    "msb.mha": mha(BIG_ENDIAN, BinaryDataByteOrderMSB=None, ElementByteOrderMSB="True"),
    "packed.mha": mha(zlibbed(VOXELS.tobytes()), CompressedData="True"),
}


@pytest.mark.parametrize("name", GOOD)
def test_every_way_to_store_an_image_gives_the_same_image(tmp_path, name):
    volume = read_image(written(tmp_path / name, GOOD[name]))
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert volume.grid.size == (4, 5, 6)
    assert volume.grid.spacing == (1.0, 2.0, 3.0)
    np.testing.assert_allclose(volume.grid.origin, (-10, 20, 30))
    np.testing.assert_allclose(volume.grid.direction, np.eye(3))


def test_several_gzip_members_are_one_file(tmp_path):
    whole = nifti()
    packed = gzipped(whole[:400]) + gzipped(whole[400:])
    np.testing.assert_array_equal(
        read_image(written(tmp_path / "x.nii.gz", packed)).array, VOXELS
    )


def test_scaled_nifti_gives_values_not_stored_numbers(tmp_path):
    path = written(tmp_path / "x.nii", nifti(scaling=(2.0, -1024.0)))
    np.testing.assert_array_equal(read_image(path).array, VOXELS * 2.0 - 1024)


def test_a_qform_gives_the_grid_where_there_is_no_sform(tmp_path):
    path = written(
        tmp_path / "x.nii",
        nifti(codes=(1, 0), qform=(0.0, 0.0, 1.0, 10.0, -20.0, 30.0)),
    )
    grid = read_header(path).grid
    np.testing.assert_allclose(grid.origin, (-10, 20, 30))
    np.testing.assert_allclose(grid.direction, np.eye(3), atol=1e-6)


def test_a_sform_to_an_atlas_does_not_hide_the_scanners_qform(tmp_path):
    sheared = (1, 0.4, 0, 0, 0, 2, 0, 0, 0, 0, 3, 0)
    content = nifti(codes=(1, 4), sform=sheared, qform=(0.0, 0.0, 1.0, 10, -20, 30))
    grid = read_header(written(tmp_path / "x.nii", content)).grid
    np.testing.assert_allclose(grid.origin, (-10, 20, 30))


@pytest.mark.parametrize(("sform_code", "followed"), [(1, "sform"), (2, "qform")])
def test_a_qform_and_a_sform_that_differ_are_remarked_upon(
    tmp_path, sform_code, followed
):
    shifted = nifti(codes=(1, sform_code), qform=(0.0, 0.0, 1.0, 10.0, -20.0, 33.0))
    header = read_header(written(tmp_path / "x.nii", shifted))
    assert header.grid.origin[2] == {"sform": 30, "qform": 33}[followed]
    (remark,) = header.remarks
    assert remark.startswith("qform and sform put its voxels up to 3 mm apart")
    assert f"the {followed} is followed" in remark


@pytest.mark.parametrize(
    ("qform", "axes"),
    [
        ((0.0, 0.0, 0.0, 10.0, -20.0, 30.0), "x and y axis"),  # RAS written as LPS
        ((0.0, 1.0, 0.0, 10.0, -20.0, 30.0), "y and z axis"),
    ],
)
def test_a_qform_and_a_sform_that_exchange_sides_are_refused(tmp_path, qform, axes):
    path = written(tmp_path / "x.nii", nifti(codes=(1, 1), qform=qform))
    with pytest.raises(ImageContentError, match=f"{axes} run in opposite directions"):
        read_header(path)


def test_a_sform_that_mirrors_the_qform_is_refused(tmp_path):
    mirror = (1, 0, 0, 10, 0, -2, 0, -20, 0, 0, 3, 30)
    content = nifti(codes=(1, 1), sform=mirror, qform=(0, 0, 1.0, 10.0, -20.0, 30.0))
    with pytest.raises(ImageContentError, match="the image's x axis"):
        read_header(written(tmp_path / "x.nii", content))


@pytest.mark.parametrize(
    "changes",
    [
        {"codes": (1, 1), "qform": (0.0, 0.0, 1.0, 10.0, -20.0, 30.0)},
        {"codes": (1, 4), "qform": (0.0, 0.0, 1.0, 10.0, -20.0, 33.0)},
        {"codes": (0, 1)},
        {"codes": (1, 1), "sform": (NAN,) * 12, "qform": (0, 0, 1, 10, -20, 30)},
    ],
    ids=["both agree", "an atlas", "one alone", "one of them empty"],
)
def test_other_headers_are_not_remarked_upon(tmp_path, changes):
    assert read_header(written(tmp_path / "x.nii", nifti(**changes))).remarks == ()


SHEARED_SFORM = (-1, -0.4, 0, 0, 0, -1.96, 0, 0, 0, 0, 3, 0)
DOUBLE_SFORM = (-2, 0, 0, 0, 0, -4, 0, 0, 0, 0, 6, 0)

REFUSED = {
    "text": (b"Dear colleague,\n", NotAnImageError, "is no image that can be read"),
    "nothing": (b"", NotAnImageError, "the file is empty"),
    "gzipped text": (gzipped(b"text"), NotAnImageError, "what the gzip stream holds"),
    "damaged gzip": (b"\x1f\x8b\x08\xff\xff\xff", NotAnImageError, "gzip stream"),
    "gzipped nrrd": (gzipped(nrrd()), NotAnImageError, "what the gzip stream holds"),
    "dicom": (bytes(128) + b"DICM", NotAnImageError, "DICOM is not read here"),
    "zip": (b"PK\x03\x04....", NotAnImageError, "a zip archive.*unpack it"),
    "empty zip": (b"PK\x05\x06" + bytes(18), NotAnImageError, "a zip archive"),
    "nifti-2": (
        struct.pack("<i", 540) + b"n+2\0" + bytes(600),
        NotAnImageError,
        "save the image as NIfTI-1",
    ),
    "analyze": (nifti(magic=bytes(4)), NotAnImageError, "left from right"),
    "nifti: two axes": (
        nifti(dim=(2, 4, 30, 1, 1, 1, 1, 1)),
        ImageContentError,
        "has 2 axes",
    ),
    "nifti: a time series": (
        nifti(dim=(4, 4, 5, 3, 2, 1, 1, 1)),
        ImageContentError,
        "has 4 axes",
    ),
    "nifti: vectors": (
        nifti(dim=(5, 4, 5, 2, 1, 3, 1, 1)),
        ImageContentError,
        "has 4 axes",
    ),
    "nifti: no voxels": (
        nifti(dim=(3, 4, 0, 6, 1, 1, 1, 1)),
        ImageContentError,
        "holds no voxels",
    ),
    "nifti: negative size": (
        nifti(dim=(3, 4, -5, 6, 1, 1, 1, 1)),
        ImageContentError,
        "holds no voxels",
    ),
    "nifti: no axes": (nifti(dim=(0,) * 8), ImageError, "number of axes"),
    "nifti: RGB": (nifti(datatype=(128, 24)), ImageContentError, "they are RGB"),
    "nifti: complex": (nifti(datatype=(32, 64)), ImageContentError, "are complex"),
    "nifti: unknown type": (nifti(datatype=(77, 16)), ImageError, "voxel type 77"),
    "nifti: bits": (nifti(datatype=(4, 8)), ImageError, "16 bits, not 8"),
    "nifti: zero spacing": (
        nifti(pixdim=(1, 1, 0, 3, 0, 0, 0, 0)),
        ImageContentError,
        "spacing must be positive and finite",
    ),
    "nifti: negative spacing": (
        nifti(pixdim=(1, 1, -2, 3, 0, 0, 0, 0)),
        ImageContentError,
        "in pixdim: programs differ in whether .* convert it again",
    ),
    "nifti: spacing NaN": (
        nifti(pixdim=(1, 1, NAN, 3, 0, 0, 0, 0)),
        ImageContentError,
        "spacing must be positive and finite",
    ),
    "nifti: lies nowhere": (
        nifti(codes=(0, 0)),
        ImageContentError,
        "left and right cannot be told apart",
    ),
    "nifti: sheared": (
        nifti(sform=SHEARED_SFORM),
        ImageContentError,
        "axes are sheared by 11.5 degrees",
    ),
    "nifti: two spacings": (
        nifti(sform=DOUBLE_SFORM),
        ImageContentError,
        "the header contradicts itself",
    ),
    "nifti: sform NaN": (
        nifti(sform=(NAN,) * 12),
        ImageContentError,
        "sform must be finite",
    ),
    "nifti: qform NaN": (
        nifti(codes=(1, 0), qform=(NAN,) * 6),
        ImageContentError,
        "qform must be finite",
    ),
    "nifti: in metres": (nifti(units=1), ImageContentError, "check the header's units"),
    "nifti: far away": (
        nifti(sform=(-1, 0, 0, 2e5, 0, -2, 0, 0, 0, 0, 3, 0)),
        ImageContentError,
        "origin must lie within",
    ),
    "nifti: offset in the header": (nifti(vox_offset=8.0), ImageError, "352 or more"),
    "nifti: offset NaN": (nifti(vox_offset=NAN), ImageError, "whole bytes"),
    "nifti: offset far": (
        nifti(vox_offset=2.0**40),
        ImageTooLargeError,
        "save the image without extensions",
    ),
    "nifti: a slope without intercept": (
        nifti(scaling=(2.0, NAN)),
        ImageError,
        "got scl_slope 2 and scl_inter nan",
    ),
    "nifti: an infinite intercept": (
        nifti(scaling=(1.0, float("-inf"))),
        ImageError,
        "got scl_slope 1 and scl_inter -inf",
    ),
    "nifti: too large": (
        nifti(dim=(3, 4096, 4096, 4096, 1, 1, 1, 1)),
        ImageTooLargeError,
        "4096 x 4096 x 4096 voxels; at most",
    ),
    "nrrd: too large": (
        nrrd(sizes="1200 1200 1200"),
        ImageTooLargeError,
        "1200 x 1200 x 1200 voxels; at most",
    ),
    "nrrd: one endless axis": (
        nrrd(sizes="999999999999999999 1 1"),
        ImageTooLargeError,
        "4096 along an axis",
    ),
    "nrrd: counts that overflow": (
        nrrd(sizes=f"{2**64} 1 1"),
        ImageError,
        "must hold counts",
    ),
    "nrrd: negative size": (nrrd(sizes="4 -5 6"), ImageError, "must hold counts"),
    "nrrd: no voxels": (nrrd(sizes="4 0 6"), ImageContentError, "holds no voxels"),
    "nrrd: two axes": (
        nrrd(dimension="2", sizes="20 6", kinds="domain domain"),
        ImageContentError,
        "has 2 axes",
    ),
    "nrrd: overlapping segments": (
        nrrd(dimension="4", sizes="1 4 5 6", kinds="list domain domain domain"),
        ImageContentError,
        "has 4 axes",
    ),
    "nrrd: colours": (
        nrrd(kinds="RGB-color domain domain"),
        ImageContentError,
        "rgb-color domain domain",
    ),
    "nrrd: sizes missing": (nrrd(sizes="4 5"), ImageError, "2 sizes for 3 axes"),
    "nrrd: block type": (nrrd(type="block"), ImageError, "'block' is not one"),
    "nrrd: no endian": (nrrd(endian=None), ImageError, "no field 'endian'"),
    "nrrd: middle endian": (nrrd(endian="middle"), ImageError, "little or big"),
    "nrrd: bzip2": (nrrd(encoding="bzip2"), ImageError, "save the image as raw or"),
    "nrrd: ascii": (nrrd(encoding="ascii"), ImageError, "save the image as raw or"),
    "nrrd: no space": (nrrd(space=None), ImageContentError, "got 'none'"),
    "nrrd: scanner space": (
        nrrd(space="scanner-xyz"),
        ImageContentError,
        "got 'scanner-xyz'",
    ),
    "nrrd: metres": (
        nrrd(space_units='"m" "m" "m"'),
        ImageContentError,
        "space units must be mm",
    ),
    "nrrd: no directions": (nrrd(space_directions=None), ImageError, "no field"),
    "nrrd: zero spacing": (
        nrrd(space_directions="(1,0,0) (0,0,0) (0,0,3)"),
        ImageContentError,
        "spacing must be positive and finite",
    ),
    "nrrd: spacing NaN": (
        nrrd(space_directions="(1,0,0) (0,nan,0) (0,0,3)"),
        ImageContentError,
        "spacing must be positive and finite",
    ),
    "nrrd: an axis without direction": (
        nrrd(space_directions="none (0,2,0) (0,0,3)"),
        ImageContentError,
        "three NRRD space directions",
    ),
    "nrrd: directions in words": (
        nrrd(space_directions="(one,0,0) (0,2,0) (0,0,3)"),
        ImageError,
        "must be three numbers",
    ),
    "nrrd: sheared": (
        nrrd(space_directions="(1,0.5,0) (0,2,0) (0,0,3)"),
        ImageContentError,
        "direction must be orthonormal",
    ),
    "nrrd: skipped bytes": (nrrd(byte_skip="-1"), ImageError, "'byteskip' must be 0"),
    "nrrd: skipped lines": (nrrd(line_skip="3"), ImageError, "'lineskip' must be 0"),
    "nrrd: a field twice": (
        nrrd().replace(b"endian", b"sizes: 1 1 1\nendian"),
        ImageError,
        "'sizes' is given twice",
    ),
    "nrrd: an unknown field": (nrrd(spells="3"), ImageError, "line that is not known"),
    "nrrd: no end": (nrrd(b"").rstrip(b"\n"), ImageError, "header does not end"),
    "nrrd: version 9": (
        nrrd().replace(b"NRRD0004", b"NRRD0009"),
        ImageError,
        "version",
    ),
    "mha: too large": (
        mha(DimSize="4000 4000 4000"),
        ImageTooLargeError,
        "4000 x 4000 x 4000 voxels; at most",
    ),
    "mha: no voxels": (mha(DimSize="4 0 6"), ImageContentError, "holds no voxels"),
    "mha: negative": (mha(DimSize="4 -5 6"), ImageError, "must hold counts"),
    "mha: two axes": (
        mha(NDims="2", DimSize="20 6"),
        ImageContentError,
        "has 2 axes",
    ),
    "mha: four axes": (
        mha(NDims="4", DimSize="4 5 3 2"),
        ImageContentError,
        "has 4 axes",
    ),
    "mha: axes and sizes": (mha(NDims="4"), ImageError, "3 sizes for 4 axes"),
    "mha: channels": (
        mha(ElementNumberOfChannels="3"),
        ImageContentError,
        "elementnumberofchannels must be 1",
    ),
    "mha: array type": (
        mha(ElementType="MET_UCHAR_ARRAY"),
        ImageContentError,
        "got ElementType 'MET_UCHAR_ARRAY'",
    ),
    "mha: ascii": (mha(BinaryData="False"), ImageContentError, "binarydata must be"),
    "mha: header size": (mha(HeaderSize="-1"), ImageContentError, "headersize must be"),
    "mha: no image": (mha(ObjectType="Tube"), ImageError, "is no image: 'Tube'"),
    "mha: zero spacing": (
        mha(ElementSpacing="1 0 3"),
        ImageContentError,
        "spacing must be positive",
    ),
    "mha: spacing NaN": (
        mha(ElementSpacing="1 nan 3"),
        ImageContentError,
        "elementspacing must be finite",
    ),
    "mha: no directions": (
        mha(TransformMatrix=None),
        ImageContentError,
        "does not say how the image lies in the patient",
    ),
    "mha: no spacing": (
        mha(ElementSpacing=None),
        ImageContentError,
        "no ElementSpacing",
    ),
    "mha: sheared": (
        mha(TransformMatrix="1 0.5 0 0 1 0 0 0 1"),
        ImageContentError,
        "direction must be orthonormal",
    ),
    "mha: matrix": (mha(TransformMatrix="1 0 0 1"), ImageError, "hold 9 numbers"),
    "mha: matrix in words": (
        mha(TransformMatrix="a b c d e f g h i"),
        ImageError,
        "must hold numbers",
    ),
    "mha: two byte orders": (
        mha(ElementByteOrderMSB="True"),
        ImageError,
        "two different byte orders",
    ),
    "mha: a key twice": (
        mha().replace(b"NDims", b"DimSize = 1 1 1\nNDims"),
        ImageError,
        "given twice",
    ),
    "mha: a line without a key": (
        mha().replace(b"NDims", b"hello\nNDims"),
        ImageError,
        "a line that is no 'key = value': 'hello'",
    ),
    "mha: no end": (
        mha(b"").replace(b"ElementDataFile = LOCAL\n", b""),
        ImageError,
        "no line ElementDataFile",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_header_that_will_not_do_is_refused_in_one_line(tmp_path, name):
    content, error, message = REFUSED[name]
    with pytest.raises(error, match=message) as caught:
        read_header(written(tmp_path / "scan.img.dat", content))
    assert str(caught.value).startswith("scan.img.dat: ")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(NoSuchFileError, match=r"ct\.nii: there is no such file"):
        read_header(tmp_path / "ct.nii")


def test_a_zip_with_a_nifti_is_not_called_dicom(tmp_path):
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        archive.writestr("head/ct.nii", nifti())
    with pytest.raises(NotAnImageError, match=r"it is a zip archive.*unpack it"):
        read_header(tmp_path / "ct.zip")


@pytest.mark.parametrize(
    ("uid", "kind"),
    [
        (b"1.2.840.10008.5.1.4.1.1.2", "a slice of a DICOM CT"),
        (b"1.2.840.10008.5.1.4.1.1.4", "a slice of a DICOM MR"),
        (b"1.2.840.10008.5.1.4.1.1.481.3", "an RTSTRUCT"),
        (b"1.2.840.10008.5.1.4.1.1.66.4", "a DICOM SEG"),
        (b"1.2.840.10008.5.1.4.1.1.88.67", "a DICOM file"),
        (b"1.2.3", "a DICOM file"),
    ],
)
def test_a_dicom_file_is_called_what_it_is(tmp_path, uid: bytes, kind: str):
    path = written(tmp_path / "a", dicom(uid))
    with pytest.raises(NotAnImageError, match=rf"it is {kind}; .*not read here"):
        read_header(path)


def test_a_folder_is_told_what_to_send(tmp_path):
    with pytest.raises(NotAnImageError, match="it is a folder; send one NIfTI"):
        read_header(tmp_path)


def test_a_file_beyond_the_cap_is_not_even_opened(tmp_path):
    path = written(tmp_path / "x.nii", nifti())
    with pytest.raises(ImageTooLargeError, match="592 bytes, more than the 100"):
        read_header(path, Limits(max_file_bytes=100))


def test_the_caps_are_the_callers(tmp_path):
    path = written(tmp_path / "x.nii", nifti())
    with pytest.raises(ImageTooLargeError, match="at most 119 in all"):
        read_header(path, Limits(max_voxels=119))
    assert read_header(path, Limits(max_voxels=120)).layout.voxels == 120


def test_a_header_tells_what_is_in_the_file(tmp_path):
    header = read_header(written(tmp_path / "x.mha", mha()))
    assert header.format is ImageFormat.MHA
    assert header.dtype == np.dtype("<i2")
    assert header.file_bytes == len(mha())
    assert header.layout.expected_bytes == 240
