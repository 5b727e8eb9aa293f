"""A header that names another file never gets a byte of it."""

from __future__ import annotations

import pytest

from hanseg_shared.errors import ImageError, UnsafeImageError
from hanseg_shared.io import check_case, check_case_in_child, read_header, read_image
from tests.io.files import mha, nifti, nrrd, written

SECRET = b"the server's private key" * 10  # as many bytes as the images need


@pytest.fixture
def secret(tmp_path):
    return written(tmp_path / "secret.key", SECRET)


@pytest.mark.parametrize(
    "line",
    [
        "data file: {secret}",
        "datafile: {secret}",
        "Data File: {secret}",
        "DATA FILE: ../secret.key",
        "data file: LIST\n{secret}",
        "data file: secret.%03d 1 6 1",
        " data file: {secret}",
        "data  file: {secret}",
        "data\tfile: {secret}",
        "data file:{secret}",
        "data file : {secret}",
    ],
)
def test_an_nrrd_with_a_data_file_is_refused(tmp_path, secret, line):
    header = nrrd(b"").rstrip(b"\n") + b"\n" + line.format(secret=secret).encode()
    path = written(tmp_path / "x.nrrd", header + b"\n\n")
    with pytest.raises(UnsafeImageError, match="names a data file"):
        read_image(path)


@pytest.mark.parametrize(
    "named",
    [
        "{secret}",
        "../secret.key",
        "secret.key",
        "LIST",
        "LIST 2D",
        "slice%03d.raw 1 6 1",
        "LOCAL.raw",
        "/dev/stdin",
        "",
    ],
)
def test_an_mha_that_names_data_files_is_refused(tmp_path, secret, named):
    content = mha(b"", ElementDataFile=named.format(secret=secret))
    with pytest.raises(UnsafeImageError, match="names data files"):
        read_image(written(tmp_path / "x.mha", content))


@pytest.mark.parametrize(
    "trick",
    [
        b"ElementDataFile = {secret}\nElementDataFile = LOCAL\n",
        b"ElementDataFile : {secret}\n",
        b"ElementDataFile={secret}\n",
        b"  ElementDataFile = {secret}\n",
        b"ElementDataFile = LOCAL {secret}\n",
        b"ElementDataFile = LOCAL\r{secret}\n",
        b"X = 1\rElementDataFile = {secret}\nElementDataFile = LOCAL\n",
        b"X = 1\vElementDataFile = {secret}\nElementDataFile = LOCAL\n",
        b"X : ElementDataFile = {secret}\nElementDataFile = LOCAL\n",
        b"elementdatafile = {secret}\nElementDataFile = LOCAL\n",
    ],
)
def test_no_spelling_of_an_mha_gets_at_the_secret(tmp_path, secret, trick):
    start = mha(b"").removesuffix(b"ElementDataFile = LOCAL\n")
    content = start + trick.replace(b"{secret}", str(secret).encode())
    try:
        read = read_image(written(tmp_path / "x.mha", content)).array.tobytes()
    except ImageError:
        return
    assert SECRET[:8] not in read


@pytest.mark.parametrize("suffix", [".nhdr", ".mhd", ".hdr", ".img", ".NHDR"])
def test_names_of_detached_formats_are_refused_whatever_they_hold(tmp_path, suffix):
    path = written(tmp_path / f"x{suffix}", nrrd())
    with pytest.raises(UnsafeImageError, match=r"save the image as \.nii\.gz"):
        read_header(path)


def test_the_header_of_a_nifti_pair_is_refused(tmp_path):
    path = written(tmp_path / "x.nii", nifti(magic=b"ni1\0"))
    with pytest.raises(UnsafeImageError, match=r"\.hdr/\.img pair"):
        read_header(path)


@pytest.mark.parametrize("check", [check_case, check_case_in_child])
def test_a_check_refuses_it_before_a_job_exists(tmp_path, secret, check):
    path = written(tmp_path / "x.nrrd", nrrd(b"", data_file=str(secret)))
    with pytest.raises(UnsafeImageError, match=r"x\.nrrd: .*names a data file"):
        check(path)
