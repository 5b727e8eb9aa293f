"""The checkerboard of CT and MR."""

from hanseg_shared.pictures.checkerboard import SQUARE_MM, find_squares
from hanseg_shared.pictures.planes import Direction, Plane


def test_squares_alternate_in_millimetres():
    plane = Plane(Direction.AXIAL, 0.0).grid((0, 0, 0), (99, 99, 0), pixel_mm=1.0)
    squares = find_squares(plane)
    edge = int(SQUARE_MM)
    assert not squares[:edge, :edge].any()
    assert squares[:edge, edge : 2 * edge].all()
    assert squares[edge : 2 * edge, :edge].all()
