"""Files of sound structure in which bits were turned over, by chance but repeatably.

Each becomes volumes, or ends in one sentence that names a file. Whether the volumes
are right cannot be told: a turned bit of a pixel is a pixel.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from hanseg_shared.errors import InputError
from hanseg_shared.io import DEFAULT_LIMITS, read_header
from hanseg_shared.io.dicom.archive import unpack
from hanseg_shared.io.dicom.convert import convert_case
from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.raw_dicom import SIZE, ct_slice
from tests.io.files import written

NESTED = raw.element(0x00081140, "SQ", b"", length=raw.UNDEFINED) + (
    raw.item(raw.element(0x00081150, "UI", b"1.2.840"))
    + raw.item(b"", length=raw.UNDEFINED)
    + raw.element(0x00081155, "UI", b"1.2.3.4")
    + raw.ITEM_END
    + raw.SEQUENCE_END
)


def literal_rle(pixels: bytes) -> bytes:
    """Return 16-bit pixels as two RLE segments of literal runs (PS3.5 annex G)."""
    segments = []
    for byte in (1, 0):  # the high bytes come first
        plane = pixels[byte::2]
        runs = [plane[k : k + 128] for k in range(0, len(plane), 128)]
        segments.append(b"".join(bytes([len(run) - 1]) + run for run in runs))
    first = 64 + len(segments[0]) + len(segments[0]) % 2
    header = struct.pack("<16L", 2, 64, first, *[0] * 13)
    return header + segments[0].ljust(first - 64, b"\0") + segments[1]


KINDS: dict[str, Callable[[int], bytes]] = {
    "explicit": lambda k: ct_slice(k, extra=NESTED),
    "implicit": raw.implicit_slice,
    "RLE": lambda k: ct_slice(
        k,
        pixels=raw.fragments(literal_rle(raw.stored_pixels(k))),
        syntax=raw.RLE,
    ),
}


def flip(data: bytes, seed: int) -> bytes:
    """Return data with one to eight bits turned over, most of them in the header."""
    chance = random.Random(seed)
    flipped = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        end = len(data) if chance.random() < 0.2 else len(data) - 512
        flipped[chance.randrange(end)] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def outcome_of(folder: Path, files: dict[str, bytes]) -> str:
    """Return the sentence in which a conversion ends, or nothing."""
    study, out = folder / "study", folder / "out"
    study.mkdir()
    out.mkdir()
    for name, content in files.items():
        written(study / name, content)
    try:
        done = convert_case(study, None, None, out)
    except InputError as error:
        assert list(out.iterdir()) == []
        return error.message
    read_header(out / done.ct)
    return ""


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_are_read(tmp_path, kind):
    files = {f"s{k}": KINDS[kind](k) for k in range(SIZE[2])}
    assert outcome_of(tmp_path, files) == ""


@pytest.mark.filterwarnings("ignore")  # pydicom warns of what it then refuses
@pytest.mark.parametrize("kind", KINDS)
def test_turned_bits_end_in_volumes_or_in_a_sentence(tmp_path, kind):
    sentences = set()
    for seed in range(40):
        files = {f"s{k}": KINDS[kind](k) for k in range(SIZE[2])}
        files["s2"] = flip(files["s2"], seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        sentences.add(outcome_of(folder, files))
    assert all(sentence.isprintable() for sentence in sentences)
    assert all(
        "study" in sentence or "series" in sentence for sentence in sentences - {""}
    )
    assert len(sentences) > 10


def test_turned_bits_of_an_archive_end_in_files_or_in_a_sentence(tmp_path):
    whole = raw.zip_of({f"s{k}": ct_slice(k) for k in range(SIZE[2])})
    sentences = set()
    for seed in range(200):
        folder = tmp_path / str(seed)
        folder.mkdir()
        path = written(folder / "study.zip", turn_end(whole, seed))
        try:
            unpack(path, folder, DEFAULT_LIMITS)
        except InputError as error:
            sentences.add(error.message)
    assert all(sentence.startswith("study.zip: ") for sentence in sentences)
    assert all(sentence.isprintable() for sentence in sentences)
    assert len(sentences) > 20


def turn_end(data: bytes, seed: int) -> bytes:
    """Return an archive with one to six bits turned over, mostly in its list."""
    chance = random.Random(seed)
    turned = bytearray(data)
    start = len(data) - 500 if chance.random() < 0.8 else 0
    for _ in range(chance.choice((1, 1, 2, 6))):
        turned[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
    return bytes(turned)
