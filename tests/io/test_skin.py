"""The outline of a drawn head: ears stay on it, shells and masks do not."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from hanseg_shared.grid import Grid
from hanseg_shared.io.body import find_body
from hanseg_shared.io.skin import MARGIN_MM
from hanseg_shared.volume import Mask, Volume

SPACING = (2.0, 2.0, 2.5)
GRID = Grid((130, 140, 84), SPACING, (-130.0, -140.0, -105.0))
Z, Y, X = np.meshgrid(
    np.arange(84) * 2.5 - 105.0,
    np.arange(140) * 2.0 - 140.0,
    np.arange(130) * 2.0 - 130.0,
    indexing="ij",
    sparse=True,
)
"""Positions of the voxels in mm LPS: y grows backward, z upward."""

HEAD = (X / 75) ** 2 + (Y / 95) ** 2 + (np.maximum(Z, 0) / 100) ** 2 < 1
EAR = (np.abs(np.abs(X) - 76 - 0.3 * (Y - 8)) < 3) & (np.hypot(Y - 18, Z) < 28)
NOSE = (np.abs(X) < 12) & (Y < -85) & (Y > -115) & (np.abs(Z) < 25)
PATIENT = HEAD | (EAR & (Y > 0)) | NOSE


def couch(top_mm: float, thick_mm: float = 4.0) -> Mask:
    """A hollow couch below the head."""
    lower = top_mm + 30.0
    inside = ((top_mm < Y) & (top_mm + thick_mm >= Y)) | (
        (lower < Y) & (lower + thick_mm >= Y)
    )
    return np.broadcast_to(inside, GRID.shape)


def shell_around(gap_mm: float, thick_mm: float, place: Mask) -> Mask:
    """A shell that follows the head, as a head rest or a mask does."""
    radius = np.hypot(X / 75, np.hypot(Y / 95, np.maximum(Z, 0) / 100))
    off_mm = (radius - 1.0) * 80.0
    return (off_mm > gap_mm) & (off_mm <= gap_mm + thick_mm) & place


AROUND = {
    "a couch that is touched": couch(94.0),
    "a couch below": couch(100.0),
    "a thin couch": couch(94.0, 2.0),
    "a thick couch": couch(94.0, 6.0),
    "a head rest": shell_around(6.0, 3.0, Y > 30),
    "a mask": shell_around(5.0, 3.0, Y < 20),
    "a mask that the nose touches": shell_around(14.0, 3.0, Y < 20),
    "all of them": couch(94.0) | shell_around(8.0, 3.0, Y < 20),
}


def ct_of(dense: Mask) -> Volume:
    return Volume(np.where(dense, 40, -1000).astype(np.int16), GRID)


def body_of(dense: Mask) -> Mask:
    body = find_body(ct_of(dense))
    assert body is not None
    return body


def test_ears_and_nose_are_the_patients():
    assert not (PATIENT & ~body_of(PATIENT)).any()


@functools.cache
def body_within(name: str) -> Mask:
    """Return the body that is found in what lies around it."""
    return body_of(PATIENT | AROUND[name])


@pytest.mark.parametrize("name", AROUND)
def test_what_lies_around_is_cut_off(name):
    around = AROUND[name] & ~PATIENT
    body = body_within(name)
    assert not (HEAD & ~body).any()
    assert (around & body).sum() < 0.08 * around.sum()


@pytest.mark.parametrize("name", AROUND)
def test_the_nose_stays_also_where_it_touches_a_mask(name):
    lost = NOSE & ~body_within(name)
    assert lost.sum() <= 0.02 * NOSE.sum()


def test_little_is_kept_around_the_skin():
    body = body_of(PATIENT)
    front = int(np.flatnonzero(body[42, :, 65])[0])
    first = int(np.flatnonzero(PATIENT[42, :, 65])[0])
    assert 0 < (first - front) * SPACING[1] <= MARGIN_MM


def test_a_board_of_a_few_slices_is_no_ear():
    slab = np.s_[40:48]
    grid = Grid((130, 140, 8), SPACING, (-130.0, -140.0, 0.0))
    around = couch(94.0)[slab]
    hu = np.where(PATIENT[slab] | around, 40, -1000).astype(np.int16)
    body = find_body(Volume(hu, grid))
    assert body is not None
    assert not (HEAD[slab] & ~body).any()
    assert (around & body).sum() < 0.2 * around.sum()
