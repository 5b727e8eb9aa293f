"""Where the planes of a sheet are."""

import numpy as np
import pytest

from hanseg_shared.sheet import Layout

BESIDE = 3.3


def test_all_planes_are_drawn_to_one_scale():
    layout = Layout.of((0, 0, 0), (100, 200, 50))
    (axial, coronal, sagittal) = (np.array(panel) for panel in layout.panels)
    scale = axial[0] / 100
    assert axial / scale == pytest.approx((100, 200))
    assert coronal / scale == pytest.approx((100, 50))
    assert sagittal / scale == pytest.approx((200, 50))


@pytest.mark.parametrize("size", [(300, 250, 400), (180, 200, 100), (30, 30, 900)])
def test_planes_do_not_overlap_and_stay_in_the_picture(size):
    layout = Layout.of((0, 0, 0), size, beside=BESIDE)
    places = [layout.panel(row, column) for row in range(2) for column in range(3)]
    for left, bottom, width, height in places:
        assert left > 0
        assert bottom > 0
        assert left + width < 1 - BESIDE / layout.size[0]
        assert bottom + height < 1
    assert places[1][0] > places[0][0] + places[0][2]
    assert places[3][1] + places[3][3] < places[0][1]


def test_a_sheet_is_never_smaller_than_asked_for():
    layout = Layout.of((0, 0, 0), (10, 10, 10), smallest=(20.0, 30.0))
    assert layout.size == (20.0, 30.0)
