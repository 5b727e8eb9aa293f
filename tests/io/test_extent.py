"""How large an image may be in the world, whatever its number of voxels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hanseg_shared.errors import ImageTooLargeError
from hanseg_shared.grid import Grid
from hanseg_shared.io import (
    Limits,
    check_case,
    check_case_in_child,
    read_ct,
    read_labels,
    read_mr,
    write_volume,
)
from hanseg_shared.io.extent import require_patient_sized, require_workable
from hanseg_shared.volume import Volume
from tests.grids import OBLIQUE
from tests.io import patients

LIMITS = Limits()


def grid(size, spacing) -> Grid:
    return Grid(size, spacing)


@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        ((512, 512, 500), (0.977, 0.977, 3.0)),
        ((1024, 1024, 200), (0.5, 0.5, 2.5)),
        ((512, 512, 60), (1.367, 1.367, 10.0)),
        ((50, 50, 75), (10.0, 10.0, 20.0)),
    ],
    ids=["long", "fine", "wide bore", "coarse"],
)
def test_what_a_scanner_makes_is_let_in(size, spacing):
    require_patient_sized(grid(size, spacing), LIMITS)


@pytest.mark.parametrize(
    ("size", "spacing", "says"),
    [
        ((64, 64, 64), (20.0, 20.0, 20.0), "2097 litres"),
        ((200, 200, 200), (20.0, 20.0, 20.0), "4000 x 4000 x 4000 mm"),
        ((90, 90, 90), (9.0, 9.0, 9.0), "531 litres"),
        ((4, 4, 101), (1.0, 1.0, 15.0), "1515 mm large, but no side"),
        ((1600, 4, 4), (1.0, 1.0, 1.0), "1600 x 4 x 4 mm"),
    ],
)
def test_what_no_patient_is_like_is_refused(size, spacing, says):
    with pytest.raises(ImageTooLargeError, match=says) as refused:
        require_patient_sized(grid(size, spacing), LIMITS)
    assert "crop it" in refused.value.message


def test_the_voxels_of_the_networks_grid_are_capped():
    ct = grid((100, 100, 100), (5.0, 5.0, 5.0))
    fine = replace(LIMITS, working_spacing_mm=(1.0, 1.0, 1.0))
    require_workable(ct, LIMITS)
    require_workable(ct, fine)  # 496 voxels a side
    with pytest.raises(ImageTooLargeError, match="496 x 496 x 496 voxels"):
        require_workable(ct, replace(fine, max_working_voxels=496**3 - 1))


def test_an_oblique_image_is_held_against_the_grid_that_covers_it():
    ct = Grid((60, 60, 60), (2.0, 2.0, 2.0), (0.0, 0.0, 0.0), OBLIQUE.direction)
    covering = Grid.axis_aligned(ct.corners(), spacing=(2.0, 2.0, 2.0)).voxels
    assert covering > 60**3
    limits = replace(LIMITS, working_spacing_mm=(2.0, 2.0, 2.0))
    require_workable(ct, replace(limits, max_working_voxels=covering))
    with pytest.raises(ImageTooLargeError, match="network's 2 x 2 x 2 mm"):
        require_workable(ct, replace(limits, max_working_voxels=covering - 1))


@pytest.fixture
def vast(tmp_path):
    array = np.zeros((30, 30, 80), dtype=np.int16)
    return write_volume(
        Volume(array, grid((80, 30, 30), (20.0, 20.0, 20.0))), tmp_path / "vast.nii.gz"
    )


@pytest.mark.parametrize("read", [read_ct, read_mr, check_case])
def test_every_door_for_patients_refuses_it(vast, read):
    with pytest.raises(ImageTooLargeError, match=r"vast\.nii\.gz: .* 1600 x 600 x 600"):
        read(vast)


def test_an_mr_is_held_against_the_same(tmp_path, vast):
    ct = write_volume(patients.ct(), tmp_path / "ct.nii.gz")
    with pytest.raises(ImageTooLargeError, match="vast"):
        check_case(ct, vast)


def test_labels_may_be_of_any_extent(vast):
    assert read_labels(vast).grid.size == (80, 30, 30)


@pytest.mark.parametrize("check", [check_case, check_case_in_child])
def test_a_check_holds_the_ct_against_the_networks_grid(tmp_path, check):
    ct = write_volume(patients.ct(), tmp_path / "ct.nii.gz")
    limits = Limits(working_spacing_mm=(0.5, 0.5, 0.5), max_working_voxels=1000)
    with pytest.raises(ImageTooLargeError, match=r"network's 0\.5 x 0\.5 x 0\.5 mm"):
        check(ct, None, limits)
