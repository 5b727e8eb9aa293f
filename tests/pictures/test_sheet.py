"""Where the planes of a sheet are."""

import numpy as np
import pytest

from hanseg_shared.pictures.planes import Direction
from hanseg_shared.pictures.sheet import Layout

BESIDE = 3.3
ROW = (Direction.AXIAL, Direction.CORONAL, Direction.SAGITTAL)
ROWS = (ROW, ROW)


def test_all_planes_are_drawn_to_one_scale():
    layout = Layout.of((0, 0, 0), (100, 200, 50), ROWS)
    (axial, coronal, sagittal) = (np.array(panel) for panel in layout.rows[0])
    scale = axial[0] / 100
    assert axial / scale == pytest.approx((100, 200))
    assert coronal / scale == pytest.approx((100, 50))
    assert sagittal / scale == pytest.approx((200, 50))


@pytest.mark.parametrize("size", [(300, 250, 400), (180, 200, 100), (30, 30, 900)])
def test_planes_do_not_overlap_and_stay_in_the_picture(size):
    layout = Layout.of((0, 0, 0), size, ROWS, beside=BESIDE)
    places = [layout.panel(row, column) for row in range(2) for column in range(3)]
    for left, bottom, width, height in places:
        assert left > 0
        assert bottom > 0
        assert left + width < 1 - BESIDE / layout.size[0]
        assert bottom + height < 1
    assert places[1][0] > places[0][0] + places[0][2]
    assert places[3][1] + places[3][3] < places[0][1]


def test_a_sheet_is_never_smaller_than_asked_for():
    layout = Layout.of((0, 0, 0), (10, 10, 10), ROWS, smallest=(20.0, 30.0))
    assert layout.size == (20.0, 30.0)


def test_a_row_is_as_high_as_its_tallest_plane():
    rows = ((Direction.AXIAL,) * 3, (Direction.CORONAL, Direction.SAGITTAL))
    layout = Layout.of((0, 0, 0), (200, 250, 60), rows)
    _, bottom, _, height = layout.panel(1, 0)
    assert height * layout.size[1] == pytest.approx(layout.rows[1][1][1])
    assert 0 < bottom < 1
    assert layout.size[1] < Layout.of((0, 0, 0), (200, 250, 60), ROWS).size[1]
