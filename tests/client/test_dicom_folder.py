"""A folder of DICOM files is packed for sending, without a DICOM library."""

from __future__ import annotations

import os
import zipfile

import pytest

from hanseg_shared.client.dicom_folder import has_dicom, pack_folder
from hanseg_shared.errors import NotAnImageError
from hanseg_shared.io import DEFAULT_LIMITS
from hanseg_shared.io.dicom.archive import unpack
from tests.io.dicom.raw_dicom import ct_slice
from tests.io.files import written


@pytest.fixture
def study(tmp_path):
    """A folder with two slices, and what lies beside them in a clinic."""
    folder = tmp_path / "study"
    (folder / "b").mkdir(parents=True)
    (folder / ".cache").mkdir()
    written(folder / "b" / "s1", ct_slice(1))
    written(folder / "s0.dcm", ct_slice(0))
    written(folder / "notes.txt", b"hello")
    written(folder / ".cache" / "s2", ct_slice(2))
    return folder


def test_only_dicom_files_are_packed_and_as_they_are(study, tmp_path):
    target = tmp_path / "study.zip"
    assert pack_folder(study, target) == 2
    with zipfile.ZipFile(target) as archive:
        entries = archive.infolist()
        assert [entry.filename for entry in entries] == ["s0.dcm", "b/s1"]
        assert {entry.compress_type for entry in entries} == {zipfile.ZIP_STORED}
        assert archive.read("b/s1") == ct_slice(1)


def test_equal_folders_give_equal_archives(study, tmp_path):
    pack_folder(study, tmp_path / "a.zip")
    os.utime(study / "s0.dcm", (0, 0))
    pack_folder(study, tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_links_to_folders_are_not_followed(study, tmp_path):
    (study / "circle").symlink_to(study)
    (study / "nothing").symlink_to(tmp_path / "none")
    (study / "c").symlink_to(study / "s0.dcm")
    assert pack_folder(study, tmp_path / "study.zip") == 3


def test_an_archive_in_the_folder_does_not_pack_itself(study):
    assert pack_folder(study, study / "study.zip") == 2


def test_a_name_that_is_no_text_is_packed_under_another(study, tmp_path):
    written(study / os.fsdecode(b"s\xff"), ct_slice(3))
    assert pack_folder(study, tmp_path / "study.zip") == 3


def test_the_service_takes_what_was_packed(study, tmp_path):
    pack_folder(study, tmp_path / "study.zip")
    found = unpack(tmp_path / "study.zip", tmp_path, DEFAULT_LIMITS)
    assert [file.path.read_bytes() for file in found.files] == [
        ct_slice(0),
        ct_slice(1),
    ]


def test_a_folder_without_dicom_is_refused(study, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert has_dicom(study)
    assert not has_dicom(empty)
    with pytest.raises(NotAnImageError, match="empty: the folder holds no DICOM file"):
        pack_folder(empty, tmp_path / "empty.zip")
    assert not (tmp_path / "empty.zip").exists()
