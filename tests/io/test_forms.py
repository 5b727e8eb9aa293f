"""Which geometry a NIfTI header states, and when its forms contradict each other."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st

from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_header
from hanseg_shared.io.layout import Geometry, VoxelLayout
from hanseg_shared.io.nifti import parse_nifti
from hanseg_shared.itk import from_image
from tests.io.files import nifti

SIZE = (200, 160, 50)
"""Large enough that a degree is voxels; headers alone are parsed, no voxels."""

SPACING = np.array([1.0, 1.0, 2.5])
QFORM = (0.0, 0.0, 1.0, 100.0, -80.0, 30.0)
SFORM = np.array([[-1.0, 0, 0, 100], [0, -1, 0, -80], [0, 0, 2.5, 30]])


def parsed(
    sform: np.ndarray = SFORM,
    codes: tuple[int, int] = (1, 1),
    *,
    qform: tuple[float, ...] = QFORM,
    pixdim: np.ndarray = SPACING,
    **changes: Any,
) -> VoxelLayout:
    x, y, z = SIZE
    content = nifti(
        b"",
        dim=(3, x, y, z, 1, 1, 1, 1),
        pixdim=(1.0, *pixdim, 0.0, 0.0, 0.0, 0.0),
        codes=codes,
        qform=qform,
        sform=tuple(np.ravel(sform)),
        **changes,
    )
    return parse_nifti(content[:348], gzipped=False)


def geometry(layout: VoxelLayout) -> Geometry:
    assert layout.geometry is not None
    return layout.geometry


def turned(degrees: float) -> np.ndarray:
    a = math.radians(degrees)
    turn = [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
    return np.column_stack([np.array(turn) @ SFORM[:, :3], SFORM[:, 3]])


def changed(row: int, column: int, value: float) -> np.ndarray:
    sform = SFORM.copy()
    sform[row, column] = value
    return sform


CONTRADICTIONS = {
    "a tilt": (
        changed(1, 2, 2.5 * math.tan(math.radians(20))),
        "sheared by 20 degrees",
    ),
    "scale": (
        changed(2, 2, 3.0),
        r"1 x 1 x 2.5 mm in the qform, 1 x 1 x 3 mm in the s",
    ),
    "a little scale": (changed(0, 0, -1.006), "1.006 x 1 x 2.5 mm in the sform"),
    "angle": (turned(0.7), "turned by 0.7 degrees against each other"),
    "shear": (changed(0, 1, 0.01), "sheared by 0.573 degrees"),
    "no axis": (changed(2, 2, 1e-3), "0.001 mm in the sform"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("codes", [(1, 1), (1, 2), (2, 1), (2, 2), (4, 4), (3, 1)])
def test_forms_that_contradict_each_other_are_refused_by_name(name, codes):
    sform, fault = CONTRADICTIONS[name]
    with pytest.raises(ImageContentError, match=fault) as caught:
        parsed(sform, codes)
    assert str(caught.value).startswith("qform and sform contradict each other by up")
    assert "convert it again from the DICOM series" in str(caught.value)


@pytest.mark.parametrize("name", CONTRADICTIONS)
@pytest.mark.parametrize("codes", [(1, 0), (2, -1), (1, 3), (2, 4)])
def test_a_sform_that_does_not_count_contradicts_nothing(name, codes):
    layout = parsed(CONTRADICTIONS[name][0], codes)
    assert geometry(layout).spacing == (1.0, 1.0, 2.5)
    assert layout.remarks == ()


@pytest.mark.parametrize("name", ["scale", "a little scale", "no axis", "a tilt"])
def test_a_lone_sform_with_another_spacing_than_pixdim_is_refused(name):
    with pytest.raises(ImageContentError, match=r"in pixdim, but .* in the sform"):
        parsed(CONTRADICTIONS[name][0], (0, 1))


@pytest.mark.parametrize("name", ["angle"])
def test_a_qform_that_does_not_count_contradicts_nothing(name):
    assert parsed(CONTRADICTIONS[name][0], (0, 1)).remarks == ()


def test_less_than_a_voxel_over_the_image_is_rounding():
    layout = parsed(turned(0.05))
    assert layout.remarks == ()


def test_a_lone_sform_half_a_voxel_longer_than_pixdim_is_told():
    layout = parsed(changed(0, 0, -1.003), (0, 1))
    assert geometry(layout).spacing[0] == pytest.approx(1.003)
    (remark,) = layout.remarks
    assert "spacing is 1 x 1 x 2.5 mm in pixdim, but 1.003 x 1 x 2.5 mm in" in remark


def test_half_a_voxel_is_told():
    (remark,) = parsed(turned(0.2)).remarks
    assert remark.startswith("qform and sform put its voxels up to 0.7")


@pytest.mark.parametrize(("codes", "followed"), [((1, 1), "sform"), ((1, 2), "qform")])
def test_another_place_is_told_with_the_form_that_is_followed(codes, followed):
    layout = parsed(changed(0, 3, 160.0), codes)
    (remark,) = layout.remarks
    assert remark.startswith("qform and sform put its voxels up to 60 mm apart")
    assert f"the {followed} is followed" in remark
    assert geometry(layout).origin[0] == {"sform": -160.0, "qform": -100.0}[followed]


def test_a_quaternion_that_is_no_rotation_is_refused():
    with pytest.raises(ImageContentError, match=r"c and d add up to 1\.28"):
        parsed(qform=(0.0, 0.8, 0.8, 0.0, 0.0, 0.0), codes=(1, 0))


def test_metres_and_micrometres_become_millimetres():
    layout = parsed(SFORM * 1e-3, (0, 1), pixdim=SPACING * 1e-3, units=1)
    np.testing.assert_allclose(geometry(layout).spacing, (1.0, 1.0, 2.5), rtol=1e-6)
    np.testing.assert_allclose(geometry(layout).origin, (-100.0, 80.0, 30.0), rtol=1e-6)


def test_a_negative_spacing_is_refused_with_a_remedy():
    for axis in range(3):
        pixdim = SPACING.copy()
        pixdim[axis] *= -1
        for codes in ((0, 1), (1, 0), (1, 1)):
            with pytest.raises(ImageContentError, match=r"convert it again .* or make"):
                parsed(codes=codes, pixdim=pixdim)


angle = st.floats(-3.2, 3.2)


@settings(max_examples=60, deadline=None)
@given(
    angles=st.tuples(angle, angle, angle),
    codes=st.sampled_from([(1, 1), (1, 0), (0, 1), (2, 2), (1, 4), (0, 3)]),
    mirrored=st.booleans(),
)
def test_voxels_lie_where_itk_puts_them(tmp_path_factory, angles, codes, mirrored):
    euler = sitk.Euler3DTransform()
    euler.SetRotation(*angles)
    direction = np.array(euler.GetMatrix()).reshape(3, 3)
    if mirrored:
        direction[:, 2] *= -1
    path = tmp_path_factory.mktemp("itk") / "x.nii"
    image = sitk.Image(4, 5, 6, sitk.sitkInt16)
    image.SetSpacing((0.7, 0.9, 3.1))
    image.SetOrigin((-120.5, 33.0, -900.0))
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(path))
    content = bytearray(path.read_bytes())
    content[252:256] = np.array(codes, "<i2").tobytes()
    path.write_bytes(content)
    ours, itks = read_header(path).grid, from_image(sitk.ReadImage(str(path))).grid
    np.testing.assert_allclose(ours.corners(), itks.corners(), atol=1e-3)


@pytest.mark.parametrize("tilt", [0.0, 1e-4, 2.3e-4, 5e-4, 1e-3, 1e-2])
def test_a_tiny_tilt_that_the_qform_cannot_hold_is_no_contradiction(tmp_path, tilt):
    direction = np.array(
        [
            [1, 0, 0],
            [0, math.cos(tilt), -math.sin(tilt)],
            [0, math.sin(tilt), math.cos(tilt)],
        ]
    )
    image = sitk.Image(2, 2, 2, sitk.sitkInt16)
    image.SetSpacing((0.35, 0.35, 3.0))
    image.SetDirection(direction.ravel().tolist())
    sitk.WriteImage(image, str(tmp_path / "x.nii"))
    header = bytearray((tmp_path / "x.nii").read_bytes()[:348])
    header[40:56] = np.array([3, 1024, 1024, 400, 1, 1, 1, 1], "<i2").tobytes()
    layout = parse_nifti(bytes(header), gzipped=False)
    assert layout.remarks == ()
    grid = Grid.nearest(layout.size, **geometry(layout)._asdict())
    np.testing.assert_allclose(grid.direction, direction, atol=1e-6)
