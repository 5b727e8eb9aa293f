import numpy as np
import pytest
from scipy import ndimage

from hanseg_segmentation.quality.pieces import find_pieces
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

GRID = Grid((9, 8, 7), (1.0, 2.0, 3.0), (10.0, 20.0, 30.0))
EVERY_NEIGHBOUR = np.ones((3, 3, 3))


def empty() -> Volume:
    return Volume(np.zeros(GRID.shape, dtype=np.uint8), GRID)


def test_an_empty_map_has_no_pieces():
    assert find_pieces(empty()).all == ()


def test_a_piece_knows_its_size_place_and_extent():
    labels = empty()
    labels.array[2:4, 3, 5:8] = 9
    (piece,) = find_pieces(labels).of(9)
    assert piece.voxels == 6
    assert piece.centre.tolist() == [16.0, 26.0, 37.5]
    assert piece.low.tolist() == [5, 3, 2]
    assert piece.high.tolist() == [7, 3, 3]


def test_voxels_that_share_a_corner_are_one_piece():
    labels = empty()
    labels.array[1, 1, 1] = labels.array[2, 2, 2] = labels.array[3, 1, 3] = 4
    assert [piece.voxels for piece in find_pieces(labels).of(4)] == [3]


def test_voxels_of_two_labels_are_two_pieces_though_they_touch():
    labels = empty()
    labels.array[1, 1, 1:3] = 4
    labels.array[1, 1, 3:5] = 5
    pieces = find_pieces(labels)
    assert [piece.label for piece in pieces.all] == [4, 5]


def test_the_largest_piece_comes_first():
    labels = empty()
    labels.array[0, 0, 0] = labels.array[5:, 5:, 5:] = 7
    assert [piece.voxels for piece in find_pieces(labels).of(7)] == [2 * 3 * 4, 1]


def test_a_u_whose_arms_meet_late_is_one_piece():
    labels = empty()
    labels.array[:, 2, 1] = labels.array[:, 2, 7] = labels.array[6, 2, 1:8] = 3
    assert len(find_pieces(labels).of(3)) == 1


def test_points_of_a_piece_are_its_voxels():
    labels = empty()
    labels.array[2, 3, 4:6] = 1
    assert find_pieces(labels).points([0]).tolist() == [[14, 26, 36], [15, 26, 36]]


@pytest.mark.parametrize("density", [0.05, 0.3, 0.8])
def test_pieces_are_those_scipy_finds(density):
    rng = np.random.default_rng(int(100 * density))
    array = rng.integers(1, 4, (20, 21, 22), dtype=np.uint8)
    array[rng.random(array.shape) > density] = 0
    pieces = find_pieces(Volume(array, Grid((22, 21, 20))))
    for label in (1, 2, 3):
        numbered, count = ndimage.label(array == label, EVERY_NEIGHBOUR)
        sizes = np.sort(np.bincount(numbered.ravel())[1:])[::-1]
        assert [piece.voxels for piece in pieces.of(label)] == sizes.tolist()
        assert len(pieces.of(label)) == count
