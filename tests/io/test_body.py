"""Where the patient's body is, whatever lies around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.validation import HELD_OUT, VALIDATION, openkbp_cases

from hanseg_lab.phantom import make_case
from hanseg_shared.grid import Grid
from hanseg_shared.io.body import BLANK_HU, blank_outside, find_body
from hanseg_shared.volume import Volume
from tests.real_data import real_data

SPACING = (4.0, 4.0, 4.0)
CASE = make_case(5, ct_spacing=SPACING, mr=False)
SHELL_HU, PLASTIC_HU = 80, 120


def changed(change) -> Volume:
    """The phantom's CT after a change of its array, z y x from feet, front, right."""
    array = CASE.ct.array.copy()
    change(array)
    return CASE.ct.with_array(array)


def corners(array: np.ndarray) -> np.ndarray:
    """Outside the circle that a scanner reconstructs, z y x."""
    _, height, width = array.shape
    y, x = np.meshgrid(
        np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"
    )
    return np.broadcast_to(x**2 + y**2 > 0.9, array.shape)


def hollow_rest(array: np.ndarray) -> None:
    array[30:, -8:-2, 20:85] = -930
    array[30:, [-8, -3], 20:85] = SHELL_HU
    array[30:, -8:-2, [20, 84]] = SHELL_HU


def solid_board(array: np.ndarray) -> None:
    array[:, -3:] = PLASTIC_HU


def mask_over_face(array: np.ndarray) -> None:
    dense = array > -300
    front = np.where(dense.any(axis=1), dense.argmax(axis=1), 99)
    for z, x in np.argwhere((front > 6) & (front < 60)):
        array[z, front[z, x] - 4, x] = PLASTIC_HU


def tracheostomy(array: np.ndarray) -> None:
    front = int((array[20] > -300)[:, 52].argmax())
    array[18:22, front - 2 : front + 6, 50:54] = -1000


SURROUNDINGS = {
    "nothing": lambda _: None,
    "a hollow head rest": hollow_rest,
    "a board at the image's edge": solid_board,
    "a mask": mask_over_face,
    "a tracheostomy": tracheostomy,
    "metal": lambda a: a.__setitem__(np.s_[40, :, 50:52], 3071),
}
PADDING = [-3024, -2000, -1024, 0, -32768]


def organs_outside(body: np.ndarray, ct: Volume = CASE.ct) -> int:
    """Count the organs' voxels outside a body that are more than air."""
    return int(((CASE.labels.array > 0) & (ct.array > -900) & ~body).sum())


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_every_organ_lies_in_the_body(name):
    around = changed(SURROUNDINGS[name])
    body = find_body(around)
    assert body is not None
    assert organs_outside(body, around) == 0


@pytest.mark.parametrize("padding", PADDING)
def test_padding_outside_the_circle_is_no_body(padding):
    padded = changed(lambda a: np.putmask(a, corners(a), padding))
    body = find_body(padded)
    assert body is not None
    inside = (CASE.labels.array > 0) & ~corners(CASE.ct.array)
    assert not (inside & ~body).any()
    assert not body[-1, 0].any()  # a corner of the topmost slice


def test_nan_outside_the_circle_is_padding():
    array = CASE.ct.array.astype(np.float32)
    array[corners(array)] = np.nan
    body = find_body(CASE.ct.with_array(array))
    assert body is not None
    assert not body[-1, 0].any()


def test_a_head_cut_out_and_surrounded_by_zeros_is_found():
    plain = find_body(CASE.ct)
    assert plain is not None
    cut = find_body(CASE.ct.with_array(np.where(plain, CASE.ct.array, 0)))
    assert cut is not None
    assert organs_outside(cut) == 0
    assert (cut & ~plain).mean() < 0.02


@pytest.mark.parametrize("change", [hollow_rest, solid_board, mask_over_face])
def test_what_is_no_patient_is_blanked_but_for_the_margin(change):
    around = changed(change)
    body, plain = find_body(around), find_body(CASE.ct)
    assert body is not None
    assert plain is not None
    strange = (around.array > -300) & ~plain
    if strange.any():
        assert (strange & body).sum() < 0.25 * strange.sum()


def test_blank_is_what_the_training_images_are_outside():
    body = find_body(CASE.ct)
    assert body is not None
    blanked = blank_outside(CASE.ct, body)
    assert blanked.array.dtype == CASE.ct.array.dtype
    assert (blanked.array[~body] == BLANK_HU).all()
    np.testing.assert_array_equal(blanked.array[body], CASE.ct.array[body])


def test_the_body_is_the_same_in_every_orientation():
    plain = find_body(CASE.ct)
    grid = replace(CASE.ct.grid, direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    turned = find_body(Volume(CASE.ct.array[:, ::-1, ::-1], grid))
    assert plain is not None
    assert turned is not None
    assert (turned[:, ::-1, ::-1] != plain).mean() < 0.01


def test_a_body_stored_coronally_is_found():
    direction = ((1, 0, 0), (0, 0, 1), (0, 1, 0))
    nx, ny, nz = CASE.ct.grid.size
    coronal = Volume(
        CASE.ct.array.transpose(1, 0, 2),
        Grid((nx, nz, ny), SPACING, (0, 0, 0), direction),
    )
    body = find_body(coronal)
    assert body is not None
    assert organs_outside(body.transpose(1, 0, 2)) == 0


@pytest.mark.parametrize(
    "array",
    [
        np.full((20, 20, 20), -1000, np.int16),
        np.zeros((20, 20, 20), np.int16),
        np.random.default_rng(1).normal(-1000, 20, (20, 20, 20)).astype(np.int16),
    ],
    ids=["air", "zeros", "noise"],
)
def test_where_there_is_no_body_none_is_found(array):
    assert find_body(Volume(array, Grid((20, 20, 20), SPACING))) is None


def test_slices_without_patient_above_the_head_are_blank():
    array = np.concatenate([CASE.ct.array, CASE.ct.array[-1:].repeat(9, axis=0)])
    array[-9:] = -1000
    array[-9:, -8] = SHELL_HU
    nx, ny, nz = CASE.ct.grid.size
    grid = replace(CASE.ct.grid, size=(nx, ny, nz + 9))
    body = find_body(Volume(array, grid))
    assert body is not None
    assert not body[-4:].any()


@pytest.mark.data
@pytest.mark.parametrize("part", [HELD_OUT, VALIDATION])
def test_no_organ_of_a_real_ct_loses_a_voxel_to_the_blanking(part):
    """As drawn by clinics, in slices that show something.

    Voxels with more air than tissue that a contour takes in do not count: where all
    but the contours was blanked before, their rims are.
    """
    real_data("openkbp")
    lost = {}
    for case in openkbp_cases(real_data(), part):
        body = find_body(case.ct)
        assert body is not None, case.name
        hu = case.ct.array
        shown = (hu > -400).any(axis=(1, 2), keepdims=True)
        outside = np.asarray((case.drawn > 0) & (hu > -700) & shown & ~body)
        if outside.any():
            lost[case.name] = int(outside.sum())
    assert lost == {}
