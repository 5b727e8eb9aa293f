from __future__ import annotations

import numpy as np
import pytest

from hanseg_shared.dicom import scanline
from hanseg_shared.dicom.scanline import Polygons, fill
from hanseg_shared.errors import ImageContentError

SHAPE = (2, 8, 10)


Path = list[tuple[float, float]]


def drawn(
    *polygons: Path,
    slices: list[int] | None = None,
    shape: tuple[int, int, int] = SHAPE,
) -> np.ndarray:
    """The whole stack with polygons of (column, row) vertices filled."""
    part = fill(
        Polygons(
            np.concatenate([np.array(each, dtype=float) for each in polygons]),
            np.array([len(each) for each in polygons]),
            np.array(slices or [0] * len(polygons)),
        ),
        shape,
    )
    whole = np.zeros(shape, dtype=bool)
    if part is not None:
        part.put_into(whole)
    return whole


def box(left: float, top: float, right: float, bottom: float) -> Path:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def test_a_box_between_centres_holds_the_voxels_inside():
    expected = np.zeros(SHAPE, dtype=bool)
    expected[0, 2:5, 1:4] = True
    assert (drawn(box(0.5, 1.5, 3.5, 4.5)) == expected).all()


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("start", range(4))
def test_neither_winding_nor_the_first_vertex_matters(turn, start):
    corners = box(0.5, 1.5, 3.5, 4.5)[::turn]
    moved = corners[start:] + corners[:start]
    assert (drawn(moved) == drawn(box(0.5, 1.5, 3.5, 4.5))).all()


def test_centres_on_the_path_belong_to_the_polygon():
    expected = np.zeros(SHAPE, dtype=bool)
    expected[0, 2:6, 1:5] = True
    assert (drawn(box(1, 2, 4, 5)) == expected).all()
    assert (drawn(box(1.002, 2.001, 3.998, 4.999)) == expected).all()


def test_centres_on_a_slanting_path_belong_to_the_polygon():
    found = drawn([(1, 1), (5, 1), (1, 5)])[0]
    assert found[1].tolist() == [False, True, True, True, True, True] + [False] * 4
    assert found[4].tolist() == [False, True, True] + [False] * 7
    assert found[5].tolist() == [False, True] + [False] * 8


def test_a_path_along_one_row_is_that_row():
    found = drawn([(2, 3), (6, 3), (4, 3)])
    assert np.argwhere(found).tolist() == [[0, 3, n] for n in range(2, 7)]


def test_an_inner_polygon_is_a_hole_and_one_inside_it_an_island():
    found = drawn(
        box(0.5, 0.5, 8.5, 6.5), box(2.5, 1.5, 6.5, 5.5), box(3.5, 2.5, 4.5, 3.5)
    )
    assert found[0].sum() == 8 * 6 - 4 * 4 + 1
    assert found[0, 3, 4]
    assert not found[0, 2, 3]


def test_the_channel_of_a_keyhole_has_no_width():
    outer, inner = box(0.5, 0.5, 8.5, 6.5), box(3.5, 2.5, 5.5, 4.5)
    keyhole = [*outer, outer[0], inner[0], *inner[::-1], outer[0]]
    found = drawn(keyhole)
    assert (found == drawn(outer, inner)).all()
    assert found.sum() == 8 * 6 - 4


def test_polygons_of_different_slices_are_independent():
    found = drawn(box(0.5, 0.5, 2.5, 2.5), box(0.5, 0.5, 2.5, 2.5), slices=[0, 1])
    assert found.sum(axis=(1, 2)).tolist() == [4, 4]


def test_what_lies_outside_the_stack_is_cut_off():
    assert drawn(box(-5, -5, 1.5, 1.5)).sum() == 4
    assert drawn(box(-1e9, -1e9, 1e9, 1e9))[0].all()
    assert not drawn(box(-9, -9, -1.5, -2.5)).any()
    assert not drawn(box(20, 20, 30, 30)).any()


def test_blocks_of_crossings_give_the_same(monkeypatch):
    turns = np.linspace(0, 6.2, 90)
    ring = [(4.5 + 3.3 * np.cos(a), 3.5 + 3.3 * np.sin(a)) for a in turns]
    whole = drawn(ring)
    monkeypatch.setattr(scanline, "_CROSSINGS_AT_ONCE", 3)
    assert (drawn(ring) == whole).all()
    assert 30 < whole.sum() < 36


def test_a_path_that_crosses_more_rows_than_any_is_refused(monkeypatch):
    monkeypatch.setattr(scanline, "MAX_CROSSINGS", 5)
    with pytest.raises(ImageContentError, match="6 rows of voxels, and at most 5"):
        drawn(box(0.5, 1.5, 3.5, 4.5))
