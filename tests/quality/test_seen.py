import numpy as np
import pytest

from hanseg_segmentation.quality.seen import find_seen_part
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

WIDE = Grid((10, 10, 10), (20.0, 20.0, 30.0))
"""200 mm across, so that tissue at its faces is cut."""


def ct(grid: Grid) -> Volume:
    return Volume(np.zeros(grid.shape, dtype=np.int16), grid)


def test_points_inside_are_not_beyond(grid):
    coarse = Grid(grid.size, (30.0, 30.0, 30.0), grid.origin, grid.direction)
    seen = find_seen_part(ct(coarse))
    assert seen.cuts.all()
    assert (seen.beyond_mm(coarse.corners()) < 0).all()


def test_distance_beyond_is_in_millimetres_from_the_outer_face():
    seen = find_seen_part(ct(WIDE))
    assert seen.beyond_mm(np.array([[90.0, 90.0, -35.0]])).item() == pytest.approx(20.0)


@pytest.mark.parametrize("blank", [-1000, -3024])
def test_blank_slices_are_not_seen(blank):
    image = ct(WIDE)
    image.array[:4] = blank
    seen = find_seen_part(image)
    assert seen.beyond_mm(np.array([[90.0, 90.0, 90.0]])).item() == pytest.approx(15.0)


def test_a_face_in_air_cuts_nothing():
    image = ct(WIDE)
    image.array[:, 0, :] = -1000
    before, behind = np.array([[90.0, -50.0, 90.0]]), np.array([[90.0, 240.0, 90.0]])
    assert find_seen_part(image).beyond_mm(before).item() < 0
    assert find_seen_part(image).beyond_mm(behind).item() == pytest.approx(50.0)


def test_a_patient_with_air_all_around_is_seen_whole():
    image = ct(WIDE)
    image.array[:] = -1000
    image.array[3:6, 3:6, 5] = 0
    assert find_seen_part(image).beyond_mm(np.array([[500.0, 0.0, 0.0]])).item() < 0


def test_a_ct_without_tissue_is_seen_as_it_is():
    grid = Grid((4, 4, 4))
    image = ct(grid)
    image.array[:] = -1000
    assert find_seen_part(image).high.tolist() == [3, 3, 3]


def test_the_lower_end_is_towards_the_feet_in_every_orientation(grid):
    seen = find_seen_part(ct(grid))
    feet = int(grid.index_to_world(np.eye(3)[seen.axis])[2] < grid.origin[2])
    low, high = (np.array(grid.size) // 2 for _ in range(2))
    (high if feet else low)[seen.axis] = (grid.size[seen.axis] - 1) * feet
    assert seen.find_touched_faces(low, high) == (True, False)


def test_the_upper_end_and_the_sides_are_told_from_the_lower_one(grid):
    seen = find_seen_part(ct(grid))
    feet = int(grid.index_to_world(np.eye(3)[seen.axis])[2] < grid.origin[2])
    low, high = (np.array(grid.size) // 2 for _ in range(2))
    (low if feet else high)[seen.axis] = (grid.size[seen.axis] - 1) * (1 - feet)
    assert seen.find_touched_faces(low, high) == (False, True)


def test_what_touches_nothing_is_whole(grid):
    middle = np.array(grid.size) // 2
    assert find_seen_part(ct(grid)).find_touched_faces(middle, middle) == (False, False)
