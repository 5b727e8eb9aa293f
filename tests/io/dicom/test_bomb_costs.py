"""What an archive that is made to do harm costs: memory and time on a processor."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from tests.io.dicom import raw_dicom as raw
from tests.io.dicom.raw_dicom import ct_slice, zip_of
from tests.io.files import written

MOST_BYTES = 200 * 1024 * 1024
MOST_CPU_SECONDS = 5.0

MEASURE = """
import json, resource, sys
from pathlib import Path
from hanseg_shared.errors import InputError
from hanseg_shared.io.dicom.convert import convert_case_in_child

try:
    convert_case_in_child(Path(sys.argv[1]), None, None, Path(sys.argv[2]))
    said = ""
except InputError as error:
    said = error.message
child = resource.getrusage(resource.RUSAGE_CHILDREN)
told = [child.ru_maxrss * 1024, child.ru_utime + child.ru_stime, said]
print(json.dumps(told))
"""
"""Run in a process of its own, so that the conversion is its only child."""


def cost_of(path: Path, out: Path) -> tuple[int, float, str]:
    """Return a conversion's peak memory, its time on a processor, and what it says."""
    out.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, path, out],
        capture_output=True,
        check=True,
        text=True,
    )
    memory_bytes, cpu_seconds, said = json.loads(done.stdout)
    return memory_bytes, cpu_seconds, said


def private_elements(count: int) -> bytes:
    """Return so many empty elements, each with another tag."""
    return b"".join(
        struct.pack("<HH2sH", 0x0029 + 2 * (k >> 16), k & 0xFFFF, b"LO", 0)
        for k in range(count)
    )


def empty_items(count: int) -> bytes:
    """Return a sequence of so many empty items."""
    start = raw.element(0x00291010, "SQ", b"", length=raw.UNDEFINED)
    return start + raw.item(b"") * count + raw.SEQUENCE_END


def packed_slice(k: int, side: int, private: bytes = b"") -> bytes:
    """Return a square slice of one value, in runs of RLE (PS3.5 annex G)."""
    runs = bytes([129, 0]) * (side * side // 128)
    header = struct.pack("<16L", 2, 64, 64 + len(runs), *[0] * 13)
    changes: dict[int, raw.Element | None] = {
        raw.ROWS: ("US", raw.short(side)),
        raw.COLUMNS: ("US", raw.short(side)),
    }
    pixels = raw.fragments(header + runs + runs)
    extra = raw.element(0x00291010, "OB", private)
    return ct_slice(k, changes, extra=extra, pixels=pixels, syntax=raw.RLE)


def height(z_mm: float) -> dict[int, raw.Element | None]:
    """Return what puts a slice there."""
    return {0x00200032: ("DS", f"-16\\-16\\{z_mm:g}".encode())}


def small_slices(heights_mm: Iterable[float]) -> dict[str, bytes]:
    """Return slices of 16 x 16 pixels."""
    return {f"s{k}": ct_slice(k, height(z)) for k, z in enumerate(heights_mm)}


def plain_slices(heights_mm: Iterable[float]) -> dict[str, bytes]:
    """Return slices of 512 x 512 pixels, nearly all alike: 35 MB from 1 MiB."""
    noise = np.random.default_rng(0).integers(0, 4000, (14, 512), dtype="<i2")
    pixels = np.full((512, 512), 1024, "<i2")
    pixels[: len(noise)] = noise
    changes: dict[int, raw.Element | None] = {
        raw.ROWS: ("US", raw.short(512)),
        raw.COLUMNS: ("US", raw.short(512)),
        raw.PIXELS: ("OW", pixels.tobytes()),
    }
    return {f"s{k}": ct_slice(k, changes | height(z)) for k, z in enumerate(heights_mm)}


BOMBS: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "64 MiB of zeros": (
        lambda: {"s0": ct_slice() + bytes(64 << 20)},
        "more than 40 times as much",
    ),
    "files of no pixels": (
        lambda: {f"s{k}": raw.file_of(b"", uid=f"1.{k}") for k in range(4000)},
        "SOPClassUID (0008,0016) is missing",
    ),
    "400 000 elements": (
        lambda: {"s0": ct_slice(extra=private_elements(400_000))},
        "the only slice",
    ),
    "a million items": (
        lambda: {"s0": ct_slice(extra=empty_items(1_000_000))},
        "more than 50000 items",
    ),
    "as many items as allowed": (
        lambda: {"s0": ct_slice(extra=empty_items(49_000))},
        "the only slice",
    ),
    "huge images claimed": (
        lambda: {"s0": packed_slice(0, 4096)},
        "more than 20 times the",
    ),
    "packed pixels as plain as is allowed": (
        lambda: {
            **{f"s{k}": packed_slice(k, 512) for k in range(33)},
            "s33": packed_slice(33, 512, random.Random(0).randbytes(900_000)),
        },
        "",
    ),
    "slices ten metres apart": (
        lambda: small_slices(1e4 * k + k % 2 for k in range(60)),
        "590001 mm from that of",
    ),
    "slices for which many planes are tried": (
        lambda: small_slices(0.3 * k + 0.13 * (k % 2) for k in range(600)),
        "",
    ),
    "uneven slices that become hundreds": (
        lambda: plain_slices(15.0 * k + 1.7 * (k % 2) for k in range(60)),
        "since its slices are uneven, its series has 512 x 512 x",
    ),
    "a series as plain as is allowed": (lambda: plain_slices(range(68)), ""),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_mebibyte_costs_little_whatever_it_holds(tmp_path, name):
    make, pattern = BOMBS[name]
    packed = zip_of(make(), zipfile.ZIP_DEFLATED)
    assert len(packed) <= 1 << 20
    path = written(tmp_path / "bomb.zip", packed)

    memory_bytes, cpu_seconds, said = cost_of(path, tmp_path / "out")

    assert (pattern in said) if pattern else not said, said
    assert memory_bytes < MOST_BYTES
    assert cpu_seconds < MOST_CPU_SECONDS
