"""Every slice is where its header says, however the patient lies and slices run."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hanseg_shared.io.dicom.case import read_case
from hanseg_shared.volume import Volume
from tests.io.dicom.made_series import (
    CORONAL,
    POSES,
    SAGITTAL,
    made_grid,
    made_volume,
    make_series,
    marker_of,
    turned,
    write_files,
    write_series,
)

PLANES = {**POSES, "sagittal": SAGITTAL, "coronal": CORONAL}


def assert_same_everywhere(read: Volume, made: Volume, *, tolerance: float = 0.0):
    """Fail unless both have the same value at each voxel's place in the world."""
    z, y, x = np.indices(made.array.shape)
    indices = np.stack([x, y, z], axis=-1)
    found = read.grid.world_to_index(made.grid.index_to_world(indices))
    nearest = np.rint(found).astype(int)
    assert np.abs(found - nearest).max() < 0.01
    values = read.array[nearest[..., 2], nearest[..., 1], nearest[..., 0]]
    assert np.abs(values.astype(float) - made.array).max() <= tolerance


@pytest.mark.parametrize("degrees", [0.0, 7.0])
@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("pose", PLANES)
def test_each_voxel_is_at_its_place(tmp_path, pose, upwards, degrees):
    grid = made_grid((7, 6, 5), axes=turned(PLANES[pose], degrees), upwards=upwards)
    made = made_volume(grid)
    case = read_case(write_series(tmp_path, made, patient_position=pose[:4].upper()))
    assert_same_everywhere(case.ct, made)
    assert np.allclose(marker_of(case.ct), marker_of(made), atol=1e-3)


@pytest.mark.parametrize("upwards", [True, False], ids=["up", "down"])
@pytest.mark.parametrize("pose", POSES)
def test_the_grid_is_right_handed(tmp_path, pose, upwards):
    made = made_volume(
        made_grid((4, 4, 3), axes=POSES[pose], upwards=upwards), marker=0
    )
    grid = read_case(write_series(tmp_path, made)).ct.grid
    assert np.linalg.det(grid.direction) == pytest.approx(1.0)


def test_the_marker_lies_to_the_patients_left_when_he_lies_on_his_face(tmp_path):
    grid = made_grid((8, 6, 5), axes=POSES["HFP"], origin=(60.0, 40.0, 0.0))
    case = read_case(write_series(tmp_path, made_volume(grid), patient_position="HFP"))
    assert marker_of(case.ct) == pytest.approx((58.0, 35.5, 2.0))  # +x is left


def test_the_order_and_the_names_of_files_do_not_matter(tmp_path):
    made = made_volume()
    slices = make_series(made)
    random.Random(7).shuffle(slices)
    case = read_case(write_files(tmp_path, slices))
    assert_same_everywhere(case.ct, made)


def test_slices_are_listed_along_the_grids_z(tmp_path):
    made = made_volume(made_grid((4, 4, 5), axes=POSES["FFS"]))
    case = read_case(write_series(tmp_path, made))
    source = case.source.ct
    assert [each.index for each in source.slices] == [0, 1, 2, 3, 4]
    for each in source.slices:
        expected = source.grid.index_to_world((0, 0, each.index))
        assert each.position == pytest.approx(expected)


def test_an_oblique_mr_keeps_its_plane(tmp_path):
    grid = made_grid((9, 8, 6), axes=turned(CORONAL, 20.0))
    made = made_volume(grid, lowest=0)
    ct = write_series(tmp_path, made_volume())
    case = read_case(ct, write_series(tmp_path, made, "MR"))
    assert case.mr is not None
    assert_same_everywhere(case.mr, made)


@settings(max_examples=25, deadline=None)
@given(
    degrees=st.floats(-60, 60),
    spacing=st.tuples(st.floats(0.3, 2), st.floats(0.3, 2), st.floats(0.5, 5)),
    origin=st.tuples(*[st.floats(-800, 800)] * 3),
    pose=st.sampled_from(sorted(PLANES)),
    upwards=st.booleans(),
)
def test_a_grid_comes_back(tmp_path_factory, degrees, spacing, origin, pose, upwards):
    grid = made_grid(
        (4, 4, 3),
        spacing=spacing,
        origin=origin,
        axes=turned(PLANES[pose], degrees),
        upwards=upwards,
    )
    made = made_volume(grid)
    folder = tmp_path_factory.mktemp("series")
    assert_same_everywhere(read_case(write_series(folder, made)).ct, made)
