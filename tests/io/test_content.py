"""Values that are, and are not, what an image's role asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.io import (
    read_ct,
    read_image,
    read_labels,
    read_mask,
    read_mr,
    write_volume,
)
from hanseg_shared.io.content import looks_like_ct, measure, pieces_of
from hanseg_shared.volume import Volume
from tests.io import patients

Array = npt.NDArray[Any]


def saved(tmp_path: Path, array: Array, grid: Grid = patients.SMALL) -> Path:
    return write_volume(Volume(np.asarray(array), grid), tmp_path / "x.nrrd")


def padded(mr: Array, with_value: int = -1024) -> Array:
    """An MR as a planning system resamples it onto a CT: no data at the sides."""
    array = mr.astype(np.int16)
    array[:, :, :5] = with_value
    array[:3] = with_value
    return array


CT = patients.ct().array
MR = patients.mr().array
SHAPE = patients.SMALL.shape

NO_CT = {
    "an MR": (MR, "looks like an MR: its values run from"),
    "an 8-bit picture": (np.clip((CT + 1000) // 8, 0, 255), "as in an 8-bit picture"),
    "raw values": (CT + 1024 - CT.min() - 1024, "raw = HU [+] 1024; subtract 1024"),
    "a windowed CT": (np.clip(CT, -160, 240), "holds no air .*not windowed"),
    "a constant": (np.full(SHAPE, -1000, np.int16), "every voxel is -1000; a CT is"),
    "air alone": (CT * 0 - 1000 + np.arange(24, dtype=np.int16), "are soft tissue"),
    "NaN": (np.where(CT > 600, np.nan, CT.astype(np.float32)), "voxels are NaN"),
    "infinity": (np.where(CT > 600, np.inf, CT.astype(np.float32)), "voxels are NaN"),
    "far too large": (CT.astype(np.float64) * 1000, "are no Hounsfield units"),
    "far too large whole numbers": (CT.astype(np.int32) * 1000, "no Hounsfield units"),
    "a label map": (patients.labels().array, "holds no Hounsfield units"),
}
NO_MR = {
    "a constant": (np.full(SHAPE, 7.0), "every voxel is 7; an MR is needed"),
    "a mask": ((MR > 300).astype(np.uint8), "only 2 different values: it looks like a"),
    "a label map": (patients.labels().array, "only [23] different values"),
    "a CT": (CT, "the file sent as MR looks like a CT"),
    "NaN": (np.where(MR > 300, np.nan, MR), "voxels are NaN or infinite"),
}


@pytest.mark.parametrize("name", NO_CT)
def test_what_is_no_ct_is_refused_with_what_it_looks_like(tmp_path, name):
    array, message = NO_CT[name]
    with pytest.raises(ImageContentError, match=rf"^x\.nrrd: .*{message}"):
        read_ct(saved(tmp_path, array))


@pytest.mark.parametrize("name", NO_MR)
def test_what_is_no_mr_is_refused_with_what_it_looks_like(tmp_path, name):
    array, message = NO_MR[name]
    with pytest.raises(ImageContentError, match=rf"^x\.nrrd: .*{message}"):
        read_mr(saved(tmp_path, array))


@pytest.mark.parametrize(
    "array",
    [
        np.where(CT < -900, -1024, CT),
        np.where(CT < -900, -3024, CT),
        np.where(CT < -900, -32768, CT),
        np.where(CT > 600, 30000, CT),
        CT.astype(np.float64) + 0.25,
        CT.astype(np.int32),
    ],
    ids=["flat air", "GE padding", "lowest", "metal", "fractions", "wide integers"],
)
def test_what_scanners_do_to_a_ct_is_accepted(tmp_path, array):
    read = read_ct(saved(tmp_path, array))
    np.testing.assert_array_equal(read.array, np.rint(array))


@pytest.mark.parametrize(
    "array",
    [
        MR,
        MR / 1000,
        (MR - MR.mean()) / MR.std(),
        np.clip(MR / 4, 0, 255).astype(np.uint8),
        padded(MR),
        padded(MR, -1000),
        MR * 30,
    ],
    ids=["plain", "small", "z-scores", "8 bit", "padded", "padded -1000", "large"],
)
def test_what_is_done_to_an_mr_is_accepted(tmp_path, array):
    read = read_mr(saved(tmp_path, array))
    np.testing.assert_allclose(read.array, array, rtol=1e-6)


def test_a_single_slice_is_no_ct(tmp_path):
    grid = Grid((24, 20, 1))
    path = saved(tmp_path, CT[5:6], grid=grid)
    with pytest.raises(ImageContentError, match=r"single slice .* send the whole scan"):
        read_ct(path)
    assert read_image(path).grid.is_same(grid)


def test_measuring_in_pieces_gives_what_measuring_at_once_gives():
    volume = CT.reshape(-1)
    whole = measure([volume], voxels=CT.size)
    pieces = measure(np.array_split(volume, 7), voxels=CT.size)
    np.testing.assert_array_equal(whole.counts, pieces.counts)
    assert (whole.lowest, whole.highest) == (pieces.lowest, pieces.highest)
    assert whole.counts.sum() == CT.size


def test_shares_can_be_counted_by_hand():
    found = measure([np.array([-1000, -1000, 0, 1000], dtype=np.int16)], voxels=4)
    assert found.share(-np.inf, -500) == 0.5
    assert found.share(-200, 300) == 0.25
    assert found.share(-np.inf, np.inf) == 1.0


def test_nothing_but_nan_is_measured_as_such():
    found = measure([np.full(5, np.nan)], voxels=5)
    assert found.not_finite == 5
    assert not looks_like_ct(found)


def test_an_array_is_cut_into_all_of_its_values():
    assert sum(piece.size for piece in pieces_of(CT)) == CT.size


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full(SHAPE, 256, np.int16), "from 0 to 255, got values from 256 to 256"),
        (np.full(SHAPE, -1, np.int16), "from 0 to 255, got values from -1 to -1"),
        (np.full(SHAPE, 1.5, np.float32), "whole numbers"),
        (np.full(SHAPE, np.nan, np.float32), "whole numbers"),
    ],
)
def test_what_is_no_label_is_refused(tmp_path, array, message):
    with pytest.raises(ImageContentError, match=rf"^x\.nrrd: .*{message}"):
        read_labels(saved(tmp_path, array))


def test_fractions_between_whole_labels_are_refused(tmp_path):
    array = patients.labels().array.astype(np.float32)
    array[5, 5, 5] = 2.5
    with pytest.raises(ImageContentError, match="some are fractions"):
        read_labels(saved(tmp_path, array))


def test_labels_stored_as_floats_are_labels(tmp_path):
    array = patients.labels().array
    read = read_labels(saved(tmp_path, array.astype(np.float64)))
    np.testing.assert_array_equal(read.array, array)


def test_a_mask_of_255_is_a_mask(tmp_path):
    array = (patients.labels().array > 0).astype(np.uint8) * 255
    read = read_mask(saved(tmp_path, array))
    np.testing.assert_array_equal(read.array, array > 0)


def test_an_empty_mask_is_a_mask(tmp_path):
    assert not read_mask(saved(tmp_path, np.zeros(SHAPE, np.uint8))).array.any()


def test_a_label_map_is_no_mask(tmp_path):
    with pytest.raises(ImageContentError, match=r"this has 2: \[3, 30\]"):
        read_mask(saved(tmp_path, patients.labels().array))
