"""Small files made to cost much: each costs as much as its length, and no more."""

from __future__ import annotations

import contextlib
import io
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanseg_shared.errors import ImageError, ImageTooLargeError
from hanseg_shared.io import read_header, read_image
from hanseg_shared.io.header_text import (
    MAX_LINE_CHARACTERS,
    MAX_LINES,
    header_lines,
)
from hanseg_shared.io.metaimage import parse_metaimage
from hanseg_shared.io.nifti_extensions import MAX_EXTENSIONS
from hanseg_shared.io.nrrd import parse_nrrd
from hanseg_shared.io.stream import (
    MAX_SILENT_BYTES,
    MAX_SMALL_MEMBERS,
    inflate_head,
)
from tests.io.files import VOXELS, gzipped, mha, nifti, nrrd, written


def steps(function, *arguments, **options) -> int:
    """How many lines of Python, and calls from it, a function takes."""
    count = 0

    def trace(*_):
        nonlocal count
        count += 1
        return trace

    with contextlib.suppress(ImageError):  # compiles patterns, which is done once
        function(*arguments, **options)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(ImageError):
            function(*arguments, **options)
    finally:
        sys.settrace(before)
    return count


def with_line(line: bytes) -> bytes:
    return mha(b"").replace(b"ElementDataFile", line + b"\nElementDataFile")


COSTLY_LINES = {
    "blanks": b" " * 20_000,
    "a key of blanks": b"a" + b" " * 20_000,
    "blanks before the end": b"a" + b" " * 20_000 + b"!",
    "two signs": b"a" + b" " * 9_000 + b":" + b" " * 9_000 + b"=",
    "tabs": b"Comment" + b"\t " * 9_000 + b"\r",
    "signs": b"=" * 20_000,
}


@pytest.mark.parametrize("line", COSTLY_LINES.values(), ids=COSTLY_LINES)
def test_a_metaimage_line_costs_no_more_than_a_short_one(line):
    short = steps(parse_metaimage, with_line(line[:200]), file_bytes=600)
    long = steps(parse_metaimage, with_line(line), file_bytes=600)
    assert long <= short + 20


@pytest.mark.parametrize("line", COSTLY_LINES.values(), ids=COSTLY_LINES)
def test_a_nrrd_line_costs_no_more_than_a_short_one(line):
    def header(cut: bytes) -> bytes:
        return nrrd(b"").replace(b"\n\n", b"\n" + cut + b"\n\n", 1)

    assert steps(parse_nrrd, header(line)) <= steps(parse_nrrd, header(line[:200])) + 20


@pytest.mark.parametrize("blanks", [0, 1, 400])
def test_blanks_around_a_key_mean_nothing(tmp_path, blanks):
    padded = mha().replace(b"NDims = 3", b"NDims" + b" " * blanks + b"=  3")
    volume = read_image(written(tmp_path / "x", padded))
    np.testing.assert_array_equal(volume.array, VOXELS)


def test_a_long_line_is_refused_by_its_length(tmp_path):
    line = b"Comment = " + b"x" * MAX_LINE_CHARACTERS
    path = written(tmp_path / "x.mha", with_line(line) + VOXELS.tobytes())
    with pytest.raises(ImageTooLargeError, match=f"{len(line)} characters"):
        read_header(path)


def test_a_header_of_many_keys_is_refused_by_their_number(tmp_path):
    keys = b"".join(b"key%d:=x\n" % number for number in range(MAX_LINES))
    content = nrrd().replace(b"\n\n", b"\n" + keys + b"\n", 1)
    with pytest.raises(ImageTooLargeError, match=f"{MAX_LINES} lines"):
        read_header(written(tmp_path / "x.seg.nrrd", content))


def test_the_names_of_a_hundred_segments_are_read(tmp_path):
    keys = b"".join(
        b"Segment%d_Key%d:=%s\n" % (segment, key, b"v" * 200)
        for segment in range(120)
        for key in range(12)
    )
    content = nrrd().replace(b"\n\n", b"\n" + keys + b"\n", 1)
    np.testing.assert_array_equal(
        read_image(written(tmp_path / "x.seg.nrrd", content)).array, VOXELS
    )


@pytest.mark.parametrize(
    "header",
    [
        nrrd(sizes=" ".join(["2"] * 9_000), dimension="9000"),
        nrrd(kinds="list " * 6_000),
        nrrd(endian="x" * 20_000),
        nrrd(space_units='"mm" ' * 50 + '"' + "m" * 20_000 + '"'),
        mha(DimSize=" ".join(["2"] * 9_000), NDims="9000"),
        mha(ElementType="MET_" + "X" * 20_000),
        mha(ElementSpacing="1 2 " + "3" * 20_000 + "x"),
    ],
    ids=["sizes", "kinds", "endian", "units", "DimSize", "ElementType", "numbers"],
)
def test_a_message_never_repeats_a_long_value(tmp_path, header):
    with pytest.raises(ImageError) as refused:
        read_header(written(tmp_path / "x", header))
    assert len(refused.value.message) < 400


@given(st.text(alphabet="a \t=:\r\n", max_size=300))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_lines_are_cut_as_they_were_joined(text):
    assert header_lines(text, what="MHA") == [
        line.rstrip("\r") for line in text.split("\n")
    ]


@st.composite
def headers(draw):
    """A header of repeated pieces, up to the length at which backtracking shows."""
    start = draw(st.sampled_from([nrrd(b""), mha(b"")]))
    pieces = st.sampled_from(
        [
            *(bytes([byte]) for byte in b" \ta=:(),1-\0\n#\xff"),
            *(b":=", b": ", b"\r\n", b"ElementDataFile", b"space directions:", b"1e9"),
        ]
    )
    runs = st.lists(st.tuples(pieces, st.sampled_from([1, 3, 40, 4000])), max_size=8)
    added = b"".join(piece * times for piece, times in draw(runs))
    at = start.index(b"\n", draw(st.integers(0, len(start) - 3))) + 1
    return start[:at] + added + start[at:]


@given(headers())
@settings(max_examples=300, deadline=1000, derandomize=True)
def test_no_header_takes_long(content):
    with contextlib.suppress(ImageError):
        parse_nrrd(content)
    with contextlib.suppress(ImageError):
        parse_metaimage(content, file_bytes=len(content))


EMPTY = gzipped(b"")


class CountingFile(io.BytesIO):
    """A file that knows how much of it was read."""

    taken = 0

    def read(self, size=-1):
        piece = super().read(size)
        self.taken += len(piece)
        return piece


@pytest.mark.parametrize("members", [MAX_SMALL_MEMBERS + 1, 40_000])
def test_a_gzip_of_empty_members_is_refused(tmp_path, members):
    path = written(tmp_path / "x.nii.gz", EMPTY * members + gzipped(nifti()))
    with pytest.raises(ImageError, match=r"65 gzip members and .* 0 bytes"):
        inflate_head(path, 348)


def test_members_after_the_image_are_counted_as_well(tmp_path):
    path = written(tmp_path / "x.nii.gz", gzipped(nifti()) + EMPTY * 3000)
    with pytest.raises(ImageError, match="gzip members"):
        read_image(path)


def test_members_of_one_byte_each_are_refused(tmp_path):
    content = gzipped(nifti(b"")) + b"".join(
        gzipped(bytes([byte])) for byte in VOXELS.tobytes()
    )
    with pytest.raises(ImageError, match="gzip members"):
        read_image(written(tmp_path / "x.nii.gz", content))


def test_a_few_members_and_the_empty_one_at_the_end_are_read(tmp_path):
    content = nifti()
    parts = [content[:360], content[360:400], content[400:], b""]
    path = written(tmp_path / "x.nii.gz", b"".join(map(gzipped, parts)))
    np.testing.assert_array_equal(read_image(path).array, VOXELS)


def test_members_of_blocks_are_read_however_many(tmp_path):
    size = (64, 64, 80)
    voxels = np.zeros(size[::-1], dtype="<i2")
    content = nifti(voxels.tobytes(), dim=(3, *size, 1, 1, 1, 1))
    parts = [content[at : at + 4096] for at in range(0, len(content), 4096)]
    assert len(parts) > 2 * MAX_SMALL_MEMBERS
    path = written(tmp_path / "x.nii.gz", b"".join(map(gzipped, parts)) + EMPTY)
    np.testing.assert_array_equal(read_image(path).array, voxels)


def endless_name() -> bytes:
    return b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * (4 * MAX_SILENT_BYTES)


def empty_blocks() -> bytes:
    return b"\x1f\x8b\x08\x00" + bytes(6) + b"\0\0\0\xff\xff" * MAX_SILENT_BYTES


@pytest.mark.parametrize("content", [endless_name(), empty_blocks()])
def test_a_stream_that_holds_nothing_is_left_early(content):
    from hanseg_shared.io.stream import _inflate

    file = CountingFile(content)
    with pytest.raises(ImageError, match="holds nothing"):
        list(_inflate(file, most=1 << 20))
    assert file.taken < 1.1 * MAX_SILENT_BYTES


def test_a_long_stored_name_and_comment_are_passed_over(tmp_path):
    content = nifti()
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    packed = packer.compress(content) + packer.flush()
    fields = b"n" * 50_000 + b"\0" + b"c" * 90_000 + b"\0"
    trailer = zlib.crc32(content).to_bytes(4, "little")
    trailer += len(content).to_bytes(4, "little")
    path = written(
        tmp_path / "x.nii.gz",
        b"\x1f\x8b\x08\x18" + bytes(6) + fields + packed + trailer,
    )
    assert inflate_head(path, 348) == content[:348]


def extended(count: int, order: str = "<") -> bytes:
    one = (16).to_bytes(4, "little" if order == "<" else "big") + bytes(12)
    voxels = VOXELS.astype(f"{order}i2").tobytes()
    head = bytearray(
        nifti(one * count + voxels, vox_offset=352.0 + 16 * count, order=order)
    )
    head[348] = 1
    return bytes(head)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_header_of_many_extensions_is_refused(tmp_path, order, packed):
    content = extended(MAX_EXTENSIONS + 1, order)
    path = written(tmp_path / "x", gzipped(content) if packed else content)
    with pytest.raises(ImageTooLargeError, match=f"{MAX_EXTENSIONS} extensions"):
        read_header(path)


def test_a_few_extensions_are_passed_over(tmp_path):
    path = written(tmp_path / "x.nii.gz", gzipped(extended(20)))
    np.testing.assert_array_equal(read_image(path).array, VOXELS)
