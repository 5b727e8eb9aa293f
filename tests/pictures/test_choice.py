"""Which planes are chosen to show the organs."""

import numpy as np

from hanseg_shared.grid import Grid
from hanseg_shared.pictures.choice import choose_planes
from hanseg_shared.pictures.planes import Direction
from hanseg_shared.volume import Volume

AXIAL = Grid((20, 20, 20), (2.0, 2.0, 2.0))


def test_the_chosen_plane_shows_most_organs():
    labels = Volume(np.zeros(AXIAL.shape, dtype=np.uint8), AXIAL)
    labels.array[3, 2:8, 2:8] = 4
    labels.array[15, 2:4, 2:4] = 5
    labels.array[15, 12:14, 2:4] = 6
    (plane,) = choose_planes(labels, [Direction.AXIAL])
    assert plane.at_mm == 30.0


def test_a_second_plane_shows_what_the_first_does_not():
    labels = Volume(np.zeros(AXIAL.shape, dtype=np.uint8), AXIAL)
    labels.array[3, 2:8, 2:8] = 4
    labels.array[15, 2:4, 2:4] = 5
    planes = choose_planes(labels, [Direction.AXIAL, Direction.AXIAL])
    assert sorted(plane.at_mm for plane in planes) == [6.0, 30.0]


def test_without_organs_planes_go_through_the_middle():
    labels = Volume(np.zeros(AXIAL.shape, dtype=np.uint8), AXIAL)
    planes = choose_planes(labels, list(Direction))
    assert [plane.at_mm for plane in planes] == [19.0, 19.0, 19.0]
