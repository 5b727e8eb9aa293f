"""What was sent as DICOM becomes files here, under names of ours."""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import replace

import pytest

from hanseg_shared.errors import ImageTooLargeError, NotAnImageError
from hanseg_shared.io import DEFAULT_LIMITS, is_dicom_input
from hanseg_shared.io.dicom.archive import Unpacked, unpack
from hanseg_shared.io.dicom.preflight import check_files
from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.raw_dicom import ct_slice, series, zip_of
from tests.io.files import mha, nifti, nrrd, written

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


@pytest.fixture
def unpacked(tmp_path):
    """Unpack what is given as a file, and look through it."""

    def run(content, limits=DEFAULT_LIMITS, name="study.zip") -> Unpacked:
        path, folder = written(tmp_path / name, content), tmp_path / "unpacked"
        folder.mkdir()
        return check_files(unpack(path, folder, limits), name, limits)

    return run


@pytest.mark.parametrize("method", METHODS, ids=["stored", "deflated"])
def test_files_get_names_of_ours_and_keep_the_senders_for_messages(unpacked, method):
    found = unpacked(zip_of({"Doe^Jane/a b": ct_slice(0), "x": ct_slice(1)}, method))
    assert [file.path.name for file in found.files] == ["000001.dcm", "000002.dcm"]
    assert [file.name for file in found.files] == [
        "study.zip/Doe^Jane/a b",
        "study.zip/x",
    ]
    assert found.files[0].path.read_bytes() == ct_slice(0)
    assert found.remarks == ()


def test_a_single_file_stays_where_it_is(unpacked):
    (found,) = unpacked(ct_slice(0), name="slice").files
    assert found.name == "slice"
    assert found.path.read_bytes() == ct_slice(0)


def test_what_is_no_dicom_is_passed_over_and_counted(unpacked):
    found = unpacked(
        zip_of(
            {
                "readme.txt": b"hello",
                "__MACOSX/._s0": b"x",
                ".DS_Store": b"x",
                "Thumbs.db": b"x",
                "more.zip": zip_of({"s9": ct_slice(3)}),
                "a.png": b"\x89PNG",
                **series(),
            }
        )
    )
    assert len(found.files) == 6
    assert found.remarks == (
        "study.zip: 2 files are no DICOM and passed over (the first is 'readme.txt')",
        "study.zip: one file is an archive in the archive and not opened (the first is "
        "'more.zip')",
    )


def test_the_index_of_a_medium_is_ignored_by_its_name_or_its_class(unpacked):
    index = raw.file_of(b"", sop_class=raw.DIRECTORY_CLASS)
    found = unpacked(zip_of({"DICOMDIR": index, "index": index, "s0": ct_slice(0)}))
    assert [file.name for file in found.files] == ["study.zip/s0"]


def test_of_objects_of_other_kinds_only_the_head_is_looked_at(unpacked):
    damaged = raw.element(0x00080008, "XX", b"a")
    others = {
        "capture": raw.file_of(damaged, sop_class=raw.CAPTURE_CLASS),
        "deflated": raw.file_of(damaged, sop_class="1.2.3", syntax=raw.DEFLATED),
    }
    assert len(unpacked(zip_of(series() | others)).files) == 8


@pytest.mark.parametrize(
    "content",
    {
        "implicit VR": raw.implicit_slice(),
        "a large private element": ct_slice(
            extra=raw.element(0x00291010, "OB", bytes(1 << 20))
        ),
        "sequences of undefined length": ct_slice(extra=raw.nested(7)),
        "sequences of defined length": ct_slice(
            extra=raw.element(
                0x00081140, "SQ", raw.item(raw.element(0x00080008, "CS", b"A"))
            )
        ),
        "an unknown value of items": ct_slice(
            extra=raw.element(0x00291010, "UN", b"", length=raw.UNDEFINED)
            + raw.item(raw.implicit(0x00291011, b"ab"))
            + raw.SEQUENCE_END
        ),
        "an icon in fragments": ct_slice(
            extra=raw.element(0x00880200, "SQ", b"", length=raw.UNDEFINED)
            + raw.item(b"", length=raw.UNDEFINED)
            + raw.element(raw.PIXELS, "OB", b"", length=raw.UNDEFINED)
            + raw.fragments(b"abcd")
            + raw.ITEM_END
            + raw.SEQUENCE_END
        ),
        "padding behind the pixels": ct_slice(tail=bytes(21)),
        "trailing padding": ct_slice(tail=raw.element(0xFFFCFFFC, "OB", bytes(64))),
        "no group length": raw.patched(ct_slice(), b"\2\0\0\0UL", b"\2\0\0\1UL"),
    }.items(),
    ids=lambda pair: pair[0],
)
def test_sound_files_pass(unpacked, content):
    assert len(unpacked(content[1], name="slice").files) == 1


def test_entries_of_an_archive_are_capped(unpacked):
    with pytest.raises(ImageTooLargeError, match="has 6 entries, more than 5"):
        unpacked(zip_of(series()), replace(DEFAULT_LIMITS, max_entries=5))


def test_bytes_of_an_archive_are_capped(unpacked):
    limits = replace(DEFAULT_LIMITS, max_unpacked_bytes=4 * len(ct_slice()))
    with pytest.raises(ImageTooLargeError, match=r"have more than \d+ bytes; send"):
        unpacked(zip_of(series()), limits)


def test_elements_of_a_file_are_capped(unpacked):
    with pytest.raises(ImageTooLargeError, match="have more than 20 elements"):
        unpacked(zip_of(series()), replace(DEFAULT_LIMITS, max_elements=20))


def test_items_of_all_files_are_capped(unpacked):
    nested = {f"s{k}": ct_slice(k, extra=raw.nested(4)) for k in range(3)}
    with pytest.raises(ImageTooLargeError, match=r"s2: .* more than 10 items and"):
        unpacked(zip_of(nested), replace(DEFAULT_LIMITS, max_items=10))


def test_voxels_of_a_series_are_capped(unpacked):
    limits = replace(DEFAULT_LIMITS, max_voxels=5 * 256)
    with pytest.raises(ImageTooLargeError, match=r"s5: the slices of its series have"):
        unpacked(zip_of(series()), limits)


def test_compressed_pixels_may_not_be_many_times_longer_than_what_was_sent(unpacked):
    limits = replace(DEFAULT_LIMITS, max_pixel_ratio=1, free_ratio_bytes=0)
    runs = struct.pack("<16L", 2, 64, 66, *[0] * 13) + bytes(4)
    packed = ct_slice(pixels=raw.fragments(runs), syntax=raw.RLE)
    found = unpacked(zip_of({"s0": packed}, zipfile.ZIP_STORED), limits)
    with pytest.raises(ImageTooLargeError, match=r"512 bytes .* 1 times the 100 that"):
        check_files(replace(found, packed_bytes=100), "study.zip", limits)


def test_a_folder_is_searched_without_following_links_to_folders(tmp_path):
    folder, elsewhere = tmp_path / "study", tmp_path / "elsewhere"
    (folder / "b").mkdir(parents=True)
    elsewhere.mkdir()
    written(folder / "b" / "s1", ct_slice(1))
    written(folder / "s0", ct_slice(0))
    written(folder / "notes.txt", b"hello")
    written(folder / "DICOMDIR", ct_slice(2))
    written(elsewhere / "s2", ct_slice(2))
    (folder / "link").symlink_to(elsewhere)
    (folder / "circle").symlink_to(folder)

    found = unpack(folder, tmp_path, DEFAULT_LIMITS)

    assert [file.name for file in found.files] == ["study/s0", "study/b/s1"]
    assert found.packed_bytes == 2 * len(ct_slice())
    assert len(found.remarks) == 1


def test_a_folder_without_dicom_is_named(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    written(folder / "notes.txt", b"hello")
    with pytest.raises(NotAnImageError, match=r"^study: .*'notes.txt'; send the files"):
        unpack(folder, tmp_path, DEFAULT_LIMITS)


def test_what_is_neither_archive_nor_dicom_is_named(tmp_path):
    path = written(tmp_path / "ct.nrrd", nrrd())
    with pytest.raises(NotAnImageError, match=r"^ct\.nrrd: it is neither"):
        unpack(path, tmp_path, DEFAULT_LIMITS)


def test_what_is_read_as_dicom_is_told_by_its_content(tmp_path):
    def is_dicom(content: bytes) -> bool:
        return is_dicom_input(written(tmp_path / "file", content))

    assert is_dicom(ct_slice())
    assert is_dicom(zip_of(series()))
    assert is_dicom(zip_of({}))
    assert not is_dicom(b"")
    for image in (nrrd(), nifti(), mha()):
        assert not is_dicom(image)
    comment = b"# " + bytes(128) + b"DICM"
    assert not is_dicom(b"NRRD0004\n" + comment[: 128 - 9] + b"DICM")
    assert not is_dicom_input(tmp_path)
    assert not is_dicom_input(tmp_path / "none")


class Pipe(io.RawIOBase):
    """A stream that cannot go back, so that sizes stand behind each entry."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.written += data
        return len(data)


@pytest.mark.parametrize("method", METHODS, ids=["stored", "deflated"])
def test_archives_that_were_written_as_streams_are_read(unpacked, method):
    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", method) as archive:
        for name, content in series().items():
            archive.writestr(name, content)
    assert len(unpacked(bytes(pipe.written)).files) == 6


def test_zip64_comments_and_letters_of_any_script_are_read(unpacked):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.comment = b"from the archive of the clinic"
        for name, content in {
            "患者/スライス": ct_slice(0),
            "Zoé 1": ct_slice(1),
        }.items():
            with archive.open(name, "w", force_zip64=True) as entry:
                entry.write(content)
    found = unpacked(packed.getvalue())
    assert [file.name for file in found.files] == [
        "study.zip/患者/スライス",
        "study.zip/Zoé 1",
    ]


def test_bytes_before_an_archive_do_not_hide_its_entries(unpacked):
    packed = io.BytesIO(b"PK\3\4 and a stub" + zip_of(series()))
    assert len(unpacked(packed.getvalue()).files) == 6
