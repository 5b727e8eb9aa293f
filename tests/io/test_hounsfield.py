"""Hounsfield units are known by what lies inside the patient."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from scipy import ndimage

from hanseg_lab.phantom import Scope, make_case
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct, read_image, write_volume
from hanseg_shared.io.coarse import Sampler, sample
from hanseg_shared.io.content import measure, pieces_of, require_ct
from hanseg_shared.volume import Volume

SPACING = (4.0, 4.0, 4.0)
CT = make_case(8, ct_spacing=SPACING, mr=False).ct
HU = CT.array.astype(np.float64)


def circle(array: np.ndarray) -> np.ndarray:
    """Outside the circle that a scanner reconstructs."""
    _, height, width = array.shape
    y, x = np.meshgrid(
        np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij"
    )
    return np.broadcast_to(x**2 + y**2 > 0.95, array.shape)


OUTSIDE = circle(HU)


def checked(array: np.ndarray, grid: Grid = CT.grid) -> None:
    sampler = Sampler(grid)
    require_ct(measure(sampler.watch(pieces_of(array)), voxels=array.size), sampler)


def padded(array: np.ndarray, value: float) -> np.ndarray:
    return np.where(OUTSIDE, value, array)


# made when they are asked for: kept, they would be 150 MB
SOUND: dict[str, Callable[[], np.ndarray]] = {
    "as it is": lambda: HU,
    **{
        f"padded with {p}": partial(padded, HU, p)
        for p in (-3024, -2000, -1024, 0, -32768)
    },
    "NaN outside the circle": lambda: padded(HU, np.nan),
    "zeros around the circle and -2000 below": lambda: np.concatenate(
        [np.full_like(HU[:4], -2000), padded(HU, 0)[4:]]
    ),
    "clipped at -1024": lambda: np.maximum(HU, -1000),
    "metal": lambda: np.where(HU > 1200, 30000, HU),
    "contrast": lambda: np.where((HU > 90) & (HU < 300), 350, HU),
    "noise": lambda: HU + np.random.default_rng(2).normal(0, 40, HU.shape),
}
WRONG: dict[str, tuple[Callable[[], np.ndarray], str]] = {
    "raw": (lambda: HU + 1024, "subtract 1024"),
    **{
        f"raw padded with {p}": (
            lambda value=p: padded(HU + 1024, value),  # type: ignore[misc]
            "subtract 1024",
        )
        for p in (-2000, -3024, -1024, -1000)
    },
    "raw padded with 0": (lambda: padded(HU + 1024, 0), "subtract 1024"),
    "intercept twice": (lambda: HU - 1024, "add 1024"),
    "intercept twice, padded": (lambda: padded(HU - 1024, -3000), "add 1024"),
    "intercept of 1000 twice": (lambda: HU - 1000, "add 1024"),
    "wrapped to 16 bits": (lambda: np.mod(HU, 65536), "subtract 65536"),
    "wrapped to 12 bits": (lambda: np.mod(HU, 4096), "subtract 4096"),
    "soft tissue window": (lambda: np.clip(HU, -160, 240), "not windowed"),
    "wide window": (lambda: np.clip(HU, -600, 400), "not windowed"),
    "bone cut off": (lambda: np.clip(HU, -1024, 250), "not windowed"),
    "8 bits of a window": (
        lambda: np.rint((np.clip(HU, -160, 240) + 160) * 0.6),
        "8-bit",
    ),
    "a tenth": (lambda: HU / 10, "Hounsfield units"),
    "a thousandth": (lambda: HU / 1000, "Hounsfield units"),
    "twice": (lambda: HU * 2, "Hounsfield units"),
    "infinity outside": (lambda: padded(HU, np.inf), "NaN or infinite"),
}


@pytest.mark.parametrize("name", SOUND)
def test_hounsfield_units_are_accepted(name):
    checked(SOUND[name]())


@pytest.mark.parametrize("name", WRONG)
def test_other_values_are_refused_with_the_remedy(name):
    make, message = WRONG[name]
    with pytest.raises(ImageContentError, match=message):
        checked(make())


@pytest.mark.parametrize("scope", [Scope.HEAD, Scope.NECK])
def test_a_part_of_the_patient_is_judged_as_well(scope):
    part = make_case(3, ct_spacing=SPACING, mr=False, scope=scope).ct
    checked(part.array, part.grid)
    with pytest.raises(ImageContentError, match="subtract 1024"):
        checked(part.array + 1024, part.grid)


def test_the_refusal_names_air_and_soft_tissue():
    raw = padded(HU + 1024 + np.random.default_rng(4).normal(0, 5, HU.shape), -2000)
    with pytest.raises(ImageContentError, match=r"air lies near \d\d and soft .* 1\d"):
        checked(raw)


@pytest.mark.parametrize("bone", [150, 300, 450, 700])
@pytest.mark.parametrize("blurred", [False, True])
def test_a_drawing_without_noise_is_not_taken_for_a_windowed_ct(bone, blurred):
    """A ball of water with a ball of bone, one value each."""
    grid = Grid((50, 50, 40), (4.0, 4.0, 4.0))
    z, y, x = (
        i - n / 2 for i, n in zip(np.indices(grid.shape), grid.shape, strict=True)
    )
    drawn = np.where(np.hypot(z, np.hypot(x, y)) < 18, 0.0, -1000.0)
    drawn[np.hypot(z, np.hypot(x - 4, y)) < 6] = bone
    checked(ndimage.gaussian_filter(drawn, 0.3) if blurred else drawn, grid)


@pytest.mark.parametrize("top", [150, 300, 600])
def test_bone_that_was_cut_off_is_refused(top):
    with pytest.raises(ImageContentError, match="through a window"):
        checked(np.minimum(HU, top))


def test_nan_in_the_patient_is_refused():
    array = HU.copy()
    z, y, x = (n // 2 for n in HU.shape)
    array[z, y, x] = np.nan
    with pytest.raises(ImageContentError, match=r"1 voxels are NaN .* in the patient"):
        checked(array)


def test_nan_outside_becomes_air(tmp_path):
    array = padded(HU, np.nan).astype(np.float32)
    read = read_ct(write_volume(CT.with_array(array), tmp_path / "ct.nii.gz"))
    assert (read.array[OUTSIDE] == -1024).all()
    np.testing.assert_array_equal(read.array[~OUTSIDE], CT.array[~OUTSIDE])
    assert np.isnan(read_image(tmp_path / "ct.nii.gz").array).any()


def test_a_sample_of_a_stream_is_that_of_the_array():
    grid = Grid((31, 22, 17), (1.0, 1.3, 2.0))
    array = np.arange(31 * 22 * 17, dtype=np.float32).reshape(grid.shape)
    array[3, 4, 5] = np.nan
    sampler = Sampler(grid)
    parts = np.array_split(array.reshape(-1), 5)
    assert sum(each.size for each in sampler.watch(iter(parts))) == array.size
    taken = sample(Volume(array, grid))
    np.testing.assert_array_equal(sampler.sample.array, taken.array)
    assert sampler.sample.grid.is_same(taken.grid)
    assert sampler.nan.sum() == 1


@pytest.mark.parametrize("spacing", [0.1, 0.5, 4.0])
def test_a_small_image_is_sampled_often_enough_to_be_judged(spacing):
    grid = Grid(CT.grid.size, (spacing, spacing, spacing))
    checked(HU, grid)
    assert min(sample(Volume(HU, grid)).grid.size) >= 16
