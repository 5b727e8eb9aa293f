"""Headers whose direction cosines are rounded: the nearest grid, or a refusal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
import pytest

from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import SAME_GRID_VOXELS, Grid
from hanseg_shared.io import read_header, write_volume
from hanseg_shared.volume import Volume
from tests.io.files import mha, nifti, nrrd, written

SIZE = (300, 260, 3)
SPACING = (0.8, 0.8, 2.5)
ORIGIN = (-120.0, -100.0, 45.0)
VOXELS = bytes(2 * math.prod(SIZE))
X, Y, Z = SIZE


def turn(degrees: tuple[float, float]) -> np.ndarray:
    """Return a turn about z after one about x."""
    matrix = np.eye(3)
    for (i, j), angle in zip(((0, 1), (1, 2)), degrees, strict=True):
        c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        step = np.eye(3)
        step[i, i], step[i, j], step[j, i], step[j, j] = c, -s, s, c
        matrix = matrix @ step
    return matrix


def words(values: Iterable[float]) -> str:
    return " ".join(f"{value:.10g}" for value in values)


def as_mha(direction: np.ndarray) -> bytes:
    return mha(
        VOXELS,
        DimSize=f"{X} {Y} {Z}",
        TransformMatrix=words(direction.T.ravel()),
        Offset=words(ORIGIN),
        ElementSpacing=words(SPACING),
    )


def as_nrrd(direction: np.ndarray) -> bytes:
    columns = (direction * SPACING).T
    vectors = " ".join(
        f"({','.join(f'{v:.10g}' for v in column)})" for column in columns
    )
    return nrrd(
        VOXELS,
        sizes=f"{X} {Y} {Z}",
        space_directions=vectors,
        space_origin=f"({','.join(map(str, ORIGIN))})",
    )


def as_nifti(direction: np.ndarray) -> bytes:
    rows = np.diag([-1, -1, 1]) @ np.column_stack([direction * SPACING, ORIGIN])
    return nifti(
        VOXELS,
        dim=(3, X, Y, Z, 1, 1, 1, 1),
        pixdim=(1.0, *SPACING, 0.0, 0.0, 0.0, 0.0),
        sform=tuple(rows.ravel()),
    )


FORMATS = {"mha": as_mha, "nrrd": as_nrrd, "nii": as_nifti}


def corners(direction: np.ndarray) -> np.ndarray:
    last = np.array(list(itertools.product(*((0, n - 1) for n in SIZE))))
    return last * SPACING @ direction.T + ORIGIN


def shear(amount: float) -> np.ndarray:
    matrix = np.eye(3)
    matrix[0, 2] = amount
    return matrix


ROUNDED = {
    "4 digits": np.round(turn((5.3, -2.2)), 4),
    "5 digits": np.round(turn((5.3, -2.2)), 5),
    "mirrored": np.round(turn((-11.0, 3.0)), 5) @ np.diag([1, 1, -1]),
    "turned about": np.round(turn((179.2, 91.0)), 4),
    "sheared": shear(6e-4),
}


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ROUNDED)
def test_a_rounded_direction_becomes_the_nearest_rotation(tmp_path, suffix, name):
    stated = ROUNDED[name]
    grid = read_header(written(tmp_path / "x", FORMATS[suffix](stated))).grid
    exact = np.array(grid.direction)
    np.testing.assert_allclose(exact @ exact.T, np.eye(3), atol=1e-12)
    moved = np.linalg.norm(grid.corners() - corners(stated), axis=1).max()
    assert moved <= SAME_GRID_VOXELS * min(SPACING)
    np.testing.assert_allclose(grid.spacing, SPACING, rtol=1e-4)
    np.testing.assert_allclose(grid.origin, ORIGIN, atol=1e-4)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", ROUNDED)
@pytest.mark.parametrize("stored", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_results_can_be_written_on_every_accepted_grid(tmp_path, suffix, name, stored):
    path = written(tmp_path / "x", FORMATS[suffix](ROUNDED[name]))
    grid = read_header(path).grid
    labels = Volume(np.zeros(grid.shape, np.uint8), grid)
    back = read_header(write_volume(labels, tmp_path / f"y{stored}"))
    assert back.grid.is_same(grid)
    assert back.remarks == ()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize(
    "direction", [np.round(turn((5.3, -2.2)), 2), shear(0.2), turn((3.0, 0.0)) + 2e-3]
)
def test_what_is_no_rounded_rotation_is_refused_at_the_door(
    tmp_path, suffix, direction
):
    path = written(tmp_path / "x", FORMATS[suffix](direction))
    with pytest.raises(ImageContentError, match=r"orthonormal|contradicts itself") as e:
        read_header(path)
    assert "resample the image" in str(e.value) or "convert it again" in str(e.value)


def test_columns_of_another_length_are_told(tmp_path):
    path = written(tmp_path / "x", as_mha(np.diag([1.0, 1.0, 1.25])))
    with pytest.raises(ImageContentError, match=r"have the lengths \(1, 1, 1\.25\)"):
        read_header(path)


@pytest.mark.parametrize("number", ["0", "1e200", "1e-200", "-3"])
def test_a_direction_that_is_none_by_far_is_refused(tmp_path, number):
    content = mha(TransformMatrix=f"{number} 0 0 0 1 0 0 0 1")
    with pytest.raises(ImageContentError, match="not near 1; save the image again"):
        read_header(written(tmp_path / "x", content))


def test_an_endless_space_direction_is_refused(tmp_path):
    content = nrrd(space_directions="(1e200,0,0) (0,1,0) (0,0,3)")
    with pytest.raises(ImageContentError, match="spacing must be positive and finite"):
        read_header(written(tmp_path / "x", content))


def test_a_moved_voxel_is_remarked_upon(tmp_path):
    header = read_header(written(tmp_path / "x", as_mha(ROUNDED["4 digits"])))
    (remark,) = header.remarks
    assert remark.startswith("its direction cosines are rounded; the nearest rect")
    exact = read_header(written(tmp_path / "x", as_mha(turn((5.3, -2.2)))))
    assert exact.remarks == ()


def test_a_grid_that_results_could_not_state_is_refused(tmp_path):
    content = mha(Offset="99999.997 0 0", ElementSpacing="0.02 0.02 0.02")
    with pytest.raises(ImageContentError, match=r"too far away for voxels of 0\.02 mm"):
        read_header(written(tmp_path / "x.mha", content))


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"Position": "-10 20 31"}, "offset '-10 20 30' and position '-10 20 31'"),
        ({"Rotation": "-1 0 0 0 1 0 0 0 1"}, "transformmatrix '1 0 0"),
    ],
)
def test_an_mha_that_says_two_places_is_refused(tmp_path, changes, fault):
    path = written(tmp_path / "x.mha", mha(**changes))
    with pytest.raises(ImageContentError, match=f"contradicts itself: {fault}"):
        read_header(path)


def test_an_mha_that_says_one_place_twice_is_read(tmp_path):
    path = written(tmp_path / "x.mha", mha(Position="-10.0 20 3e1"))
    assert read_header(path).grid.origin == (-10.0, 20.0, 30.0)


def test_a_negative_spacing_is_refused_with_a_remedy(tmp_path):
    for content in (
        mha(ElementSpacing="1 -2 3"),
        nrrd(spacings="1 -2 3"),
        nrrd(spacings="nan -2 nan"),
    ):
        with pytest.raises(ImageContentError, match=r"x: .*-2.*save the image again"):
            read_header(written(tmp_path / "x", content))


def test_a_grid_refuses_what_only_the_door_may_round():
    with pytest.raises(ImageContentError, match="direction must be orthonormal"):
        Grid((4, 4, 4), direction=((1, 1e-4, 0), (0, 1, 0), (0, 0, 1)))
