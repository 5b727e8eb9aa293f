"""What a NIfTI's scaling makes of its stored numbers, decided at one place."""

from __future__ import annotations

import math

import nibabel
import numpy as np
import pytest

from hanseg_shared.errors import ImageError
from hanseg_shared.io import check_case, read_ct, read_header, read_image, read_labels
from tests.io import patients
from tests.io.files import VOXELS, gzipped, nifti, written

CODES = {"i2": (4, 16), "i4": (8, 32), "u2": (512, 16), "f4": (16, 32), "f8": (64, 64)}
NAN, INF = math.nan, math.inf


def stored_as(
    kind: str,
    *,
    order: str = "<",
    scaling: tuple[float, float] = (0.0, 0.0),
    array: np.ndarray = VOXELS,
) -> bytes:
    data = array.astype(f"{order}{kind}").tobytes()
    return nifti(data, order=order, datatype=CODES[kind], scaling=scaling)


@pytest.mark.parametrize("slope", [0.0, -0.0, NAN, INF, -INF])
@pytest.mark.parametrize("intercept", [-1000.0, 37.5, NAN, INF])
def test_without_a_slope_the_intercept_says_nothing(tmp_path, slope, intercept):
    content = stored_as("i2", scaling=(slope, intercept))
    volume = read_image(written(tmp_path / "x.nii", content))
    np.testing.assert_array_equal(volume.array, VOXELS)
    assert volume.array.dtype == np.int16


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "scaling", [(0.0, -512.0), (NAN, 7.0), (1.0, -512.0), (-2.0, 30.0), (0.25, 0.0)]
)
def test_every_type_and_order_is_scaled_as_nibabel_does(
    tmp_path, kind, order, packed, scaling
):
    content = stored_as(kind, order=order, scaling=scaling)
    path = tmp_path / ("x.nii.gz" if packed else "x.nii")
    path.write_bytes(gzipped(content) if packed else content)
    theirs = np.asarray(nibabel.Nifti1Image.from_filename(path).dataobj).transpose(
        2, 1, 0
    )
    np.testing.assert_array_equal(read_image(path).array, theirs)


@pytest.mark.parametrize("scaling", [(1.0, NAN), (-2.0, INF), (0.5, -INF)])
def test_a_slope_with_an_intercept_that_is_no_number_is_refused(tmp_path, scaling):
    path = written(tmp_path / "x.nii", stored_as("i2", scaling=scaling))
    with pytest.raises(ImageError, match=r"x\.nii: the values' scaling .* scl_inter"):
        read_header(path)


@pytest.mark.parametrize("slope", [0.0, NAN])
def test_a_ct_keeps_its_hu_beside_a_left_over_intercept(tmp_path, slope):
    ct = patients.ct()
    x, y, z = ct.grid.size
    content = nifti(
        ct.array.tobytes(), dim=(3, x, y, z, 1, 1, 1, 1), scaling=(slope, -1024.0)
    )
    path = written(tmp_path / "ct.nii", content)
    assert check_case(path).inputs[0].role == "ct"
    np.testing.assert_array_equal(read_ct(path).array, ct.array)


def test_labels_are_not_scaled_by_an_intercept_alone(tmp_path):
    array = VOXELS % 30
    content = stored_as("u2", scaling=(0.0, 1.0), array=array)
    labels = read_labels(written(tmp_path / "x.nii", content))
    np.testing.assert_array_equal(labels.array, array)
