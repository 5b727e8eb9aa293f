"""Series with gaps and missing slices are resampled, and say where slices are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import FileDataset

from hanseg_shared.errors import ImageContentError, ImageTooLargeError
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.io.dicom.planes import NEAR_MM, fit_planes
from hanseg_shared.io.limits import Limits
from hanseg_shared.volume import Volume
from tests.io.dicom.made_series import (
    CORONAL,
    POSES,
    made_grid,
    made_volume,
    make_series,
    turned,
    write_files,
    write_series,
)


def made_ramp(grid: Grid) -> Volume:
    """Return a volume whose values rise linearly along z, so that linear is exact."""
    z = np.arange(grid.size[2])[:, None, None]
    return Volume(np.broadcast_to(100 * z, grid.shape).astype(np.int16), grid)


def without(slices: list[FileDataset], *numbers: int) -> list[FileDataset]:
    return [each for k, each in enumerate(slices) if k not in numbers]


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("missing", [(3,), (3, 4), (2, 5), (1,), (6,)], ids=str)
def test_missing_slices_are_filled_between(tmp_path, missing, upwards):
    made = made_ramp(made_grid(upwards=upwards))
    slices = without(make_series(made), *missing)
    case = read_case(write_files(tmp_path, slices))
    expected = made.array if upwards else made.array[::-1]
    assert np.array_equal(case.ct.array, expected)
    assert not case.source.ct.even


def test_each_slice_that_exists_knows_its_plane(tmp_path):
    slices = without(make_series(made_volume()), 3)
    case = read_case(write_files(tmp_path, slices))
    assert [each.index for each in case.source.ct.slices] == [0, 1, 2, 4, 5, 6, 7]
    for each in case.source.ct.slices:
        place = case.ct.grid.index_to_world((0, 0, each.index))
        assert place == pytest.approx(each.position)
        assert np.array_equal(
            case.ct.array[each.index], made_volume().array[each.index]
        )


def test_a_remark_says_where_the_gap_is(tmp_path):
    slices = without(make_series(made_volume()), 3)
    (remark,) = read_case(write_files(tmp_path, slices)).source.ct.remarks
    assert "usually 2 mm apart, but 4 mm between slices 3 and 4" in remark


def test_three_missing_slices_in_a_row_are_refused(tmp_path):
    slices = without(make_series(made_volume()), 2, 3, 4)
    files = write_files(tmp_path, slices)
    with pytest.raises(ImageContentError, match="3 are missing, and at most 2"):
        read_case(files)


def test_two_spacings_in_one_series_are_resampled_to_the_finer(tmp_path):
    fine = made_ramp(made_grid((6, 5, 13), spacing=(1.0, 1.0, 2.5)))
    slices = without(make_series(fine), 7, 9, 11)
    case = read_case(write_files(tmp_path, slices))
    assert case.ct.grid.spacing[2] == pytest.approx(2.5)
    assert np.array_equal(case.ct.array, fine.array)


def test_an_oblique_uneven_mr_is_resampled_too(tmp_path):
    grid = made_grid(axes=turned(CORONAL, 10.0))
    slices = without(make_series(made_ramp(grid), "MR"), 4)
    ct = write_series(tmp_path, made_volume())
    case = read_case(ct, write_files(tmp_path, slices, start="mr"))
    assert case.mr is not None
    assert np.array_equal(case.mr.array, made_ramp(grid).array)


def test_positions_of_one_decimal_are_even(tmp_path):
    made = made_volume(made_grid((4, 4, 30), spacing=(1.0, 1.0, 0.625)))
    slices = make_series(made)
    for each in slices:
        x, y, z = each.ImagePositionPatient
        each.ImagePositionPatient = [x, y, round(float(z), 1)]
    case = read_case(write_files(tmp_path, slices))
    assert case.source.ct.even
    assert np.array_equal(case.ct.array, made.array)


def test_the_caps_hold_for_the_resampled_volume(tmp_path):
    slices = without(make_series(made_volume()), 3)
    files = write_files(tmp_path, slices)
    with pytest.raises(ImageTooLargeError, match="12 x 10 x 8 voxels"):
        read_case(files, limits=Limits(max_voxels=12 * 10 * 7))


gaps = st.lists(st.floats(0.3, 6.0), min_size=1, max_size=30)


@given(gaps)
def test_every_slice_lies_near_a_plane_of_its_own(distances):
    positions = np.cumsum([0.0, *distances])
    planes = fit_planes(positions.tolist())
    places = np.array(planes.indices) * planes.spacing_mm
    assert (np.diff(planes.indices) >= 1).all()
    assert planes.indices[0] == 0
    assert planes.indices[-1] == planes.count - 1
    mean_mm = positions[-1] / len(distances)
    allowed_mm = max(0.1 * mean_mm, 0.1) if planes.even else NEAR_MM
    assert np.abs(places - positions).max() <= allowed_mm + 1e-9


@given(st.floats(0.2, 10.0), st.integers(2, 60), st.floats(-0.02, 0.02))
def test_evenly_spaced_slices_are_planes(spacing, count, shift):
    positions = np.arange(count) * spacing
    positions[count // 2] += shift * spacing
    planes = fit_planes(positions.tolist())
    assert planes.even
    assert planes.indices == tuple(range(count))


@pytest.mark.parametrize("pose", POSES)
def test_a_gap_is_filled_in_every_pose(tmp_path, pose):
    made = made_ramp(made_grid(axes=POSES[pose], upwards=False))
    slices = without(make_series(made), 5)
    case = read_case(write_files(tmp_path, slices))
    assert np.array_equal(case.ct.array, made.array[::-1])
