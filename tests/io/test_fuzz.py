"""Whatever bytes arrive: an image, or an `ImageError`, and never more than allowed."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hanseg_shared.errors import ImageError
from hanseg_shared.io import Limits, read_image
from hanseg_shared.io.formats import recognise
from hanseg_shared.io.metaimage import parse_metaimage
from hanseg_shared.io.nifti import parse_nifti
from hanseg_shared.io.nrrd import parse_nrrd
from hanseg_shared.volume import Volume
from tests.io.files import VOXELS, gzipped, mha, nifti, nrrd, written, zlibbed

SMALL = Limits(max_voxels=1 << 20, max_file_bytes=1 << 20, max_header_bytes=1 << 14)
SEEDS = [
    nifti(),
    gzipped(nifti()),
    nifti(VOXELS.astype(">i2").tobytes(), order=">"),
    nrrd(),
    nrrd(gzipped(VOXELS.tobytes()), encoding="gzip"),
    mha(),
    mha(zlibbed(VOXELS.tobytes()), CompressedData="True"),
]
WORDS = [b"1e9", b"-1", b"0", b"nan", b"99999999999", b"\n", b"\n\n", b"=", b": ", b"("]
MANY = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@st.composite
def spoiled(draw):
    """One of the good files with some bytes replaced, inserted or cut off."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, min(len(content), 420) - 1)))
        change = draw(st.sampled_from(["byte", "word", "zeros", "cut"]))
        if change == "byte":
            content[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif change == "word":
            content[at : at + draw(st.integers(0, 4))] = draw(st.sampled_from(WORDS))
        elif change == "zeros":
            content[at : at + 4] = bytes(4)
        else:
            del content[at:]
    return bytes(content)


def read_or_refuse(path: Path) -> Volume | None:
    try:
        return read_image(path, limits=SMALL)
    except ImageError:
        return None


@MANY
@given(content=spoiled())
def test_a_spoiled_file_is_read_or_refused_within_bounds(tmp_path, capfd, content):
    path = written(tmp_path / "x", content)
    tracemalloc.start()
    volume = read_or_refuse(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    capfd.readouterr()  # ITK's readers complain to stderr
    assert peak < 24 << 20
    if volume is not None:
        assert volume.grid.voxels <= SMALL.max_voxels
        assert np.isfinite(volume.grid.corners()).all()


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=600))
def test_no_bytes_break_the_parsers(content):
    for parse in (
        recognise,
        parse_nrrd,
        lambda head: parse_metaimage(head, file_bytes=600),
        lambda head: parse_nifti(head, gzipped=False),
    ):
        with contextlib.suppress(ImageError):
            parse(content)


@settings(max_examples=300, deadline=None)
@given(content=st.text(max_size=200), start=st.sampled_from([nrrd(b""), mha(b"")]))
def test_no_text_breaks_the_parsers(content, start):
    with contextlib.suppress(ImageError):
        if start.startswith(b"NRRD"):
            parse_nrrd(start.rstrip(b"\n") + content.encode() + b"\n\n")
        else:
            parse_metaimage(content.encode() + start, file_bytes=600)


@pytest.mark.parametrize("seed", range(len(SEEDS)))
def test_every_seed_is_a_good_image(tmp_path, seed):
    volume = read_image(written(tmp_path / "x", SEEDS[seed]))
    np.testing.assert_array_equal(volume.array, VOXELS)
