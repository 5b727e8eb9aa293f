from dataclasses import replace

import numpy as np
import pytest

from hanseg_registration.geometry.field_of_view import (
    background_value,
    data_mask,
    replace_filling,
)
from hanseg_shared.io.filling import fill_value
from hanseg_shared.volume import Volume
from tests.registration.volumes import box


@pytest.fixture
def noisy() -> Volume:
    """Air noise around 20, and a bright ball."""
    volume = box((40, 40, 20), (2.0, 2.0, 4.0))
    rng = np.random.default_rng(0)
    volume.array[:] = rng.uniform(15, 25, volume.array.shape)
    volume.array[5:15, 12:28, 12:28] = rng.uniform(400, 600, (10, 16, 16))
    return volume


@pytest.fixture
def head() -> Volume:
    """A head of 150 x 190 x 220 mm with a nose and a neck, in noisy air."""
    volume = box((64, 72, 64), (3.5, 3.5, 4.0))
    z, y, x = (
        np.indices(volume.array.shape) * np.array([4.0, 3.5, 3.5])[:, None, None, None]
    )
    x, y, z = x - 112.0, y - 126.0, z - 128.0
    rng = np.random.default_rng(0)
    volume.array[:] = rng.uniform(15, 25, volume.array.shape)
    body = (x / 75) ** 2 + (y / 95) ** 2 + (z / 110) ** 2 < 1
    body |= (x**2 + (y + 95) ** 2 < 15**2) & (np.abs(z + 10) < 25)
    body |= (x**2 + (y - 20) ** 2 < 55**2) & (z < -40)
    volume.array[body] = rng.uniform(400, 600, int(body.sum()))
    return volume


def background_of(mr: Volume) -> float:
    return background_value(mr, data_mask(mr))


def test_an_mr_with_noise_everywhere_has_data_everywhere(noisy):
    assert data_mask(noisy).array.all()


def test_padded_planes_hold_no_data(noisy):
    noisy.array[:3] = 0.0
    mask = data_mask(noisy).array
    assert not mask[:3].any()
    assert mask[3:].all()


def test_a_filled_wedge_holds_no_data(noisy):
    y, x = np.indices((40, 40))
    wedge = x < y / 4
    noisy.array[:, wedge] = 0.0
    mask = data_mask(noisy).array
    assert not mask[:, x < y / 4 - 1].any()
    assert mask[:, ~wedge].all()


def test_dark_voxels_inside_the_head_are_data(noisy):
    noisy.array[8:12, 18:22, 18:22] = 0.0
    assert data_mask(noisy).array.all()


def test_air_that_a_filter_blanked_is_data(head):
    """Above the neck; flat skin between cheeks and neck may end the data, no more."""
    head.array[head.array < 100] = 0.0
    upper = head.grid.crop((0, 0, 12), (*head.grid.size[:2], head.grid.size[2] - 12))
    assert data_mask(Volume(head.array[12:], upper)).array.all()
    assert data_mask(head).array[head.array > 0].all()


def test_a_head_without_its_air_ends_where_a_plane_cuts_it(head):
    head.array[head.array < 100] = 0.0
    head.array[:12] = 0.0
    mask = data_mask(head).array
    assert not mask[:11].any()
    assert mask[12:].all()


def test_a_head_without_its_air_may_be_cut_obliquely(head):
    head.array[head.array < 100] = 0.0
    z, y, _ = np.indices(head.array.shape)
    beyond = z < 8 + y / 8
    anatomy = head.array > 0
    head.array[beyond] = 0.0
    mask = data_mask(head).array == 1
    assert not mask[z < 7 + y / 8].any()
    assert mask[anatomy & ~beyond].all()
    assert mask[~beyond].mean() > 0.98


@pytest.mark.parametrize("fill", [0.0, -1.0, 5000.0, -32768.0, 17.5, 600.0])
def test_a_filling_of_any_value_is_found(noisy, fill):
    """Darker or brighter than the data, or in the midst of them."""
    noisy.array[:3] = fill
    noisy.array[:, :, 35:] = fill
    mask = data_mask(noisy).array
    assert fill_value(noisy) == fill
    assert not mask[:3].any()
    assert not mask[:, :, 35:].any()
    assert mask[3:, :, :35].all()
    assert background_of(noisy) == pytest.approx(20, abs=3)


def test_a_signed_image_may_be_filled_with_0(noisy):
    noisy.array[:] -= 300.0
    noisy.array[-4:] = 0.0
    mask = data_mask(noisy).array
    assert not mask[-4:].any()
    assert mask[:-4].all()
    assert background_of(noisy) == pytest.approx(-280, abs=3)


def test_whole_numbers_of_noise_are_no_filling():
    volume = box((64, 64, 32), (2.0, 2.0, 3.0))
    noise = np.random.default_rng(0).rayleigh(2.0, volume.array.shape)
    volume.array[:] = noise.astype(np.int16)
    assert fill_value(volume) is None
    assert data_mask(volume).array.all()


def test_strays_in_a_filling_do_not_make_it_data(noisy):
    noisy.array[:8] = 0.0
    noisy.array[2, 5, 5] = noisy.array[1, 30, 30] = 90.0
    mask = data_mask(noisy).array
    assert not mask[:6].any()
    assert mask[8:].all()


def test_a_filled_wedge_is_found_on_every_grid(grid):
    turned = replace(grid, size=(40, 40, 20), spacing=(2.0, 2.0, 4.0))
    array = np.random.default_rng(0).uniform(15, 500, turned.shape)
    _, y, x = np.indices(turned.shape)
    array[x < y / 4] = 0.0
    mask = data_mask(Volume(array, turned)).array == 1
    assert not mask[x < y / 4 - 1].any()
    assert mask[x >= y / 4].all()


def test_one_slice_of_data_is_data():
    volume = box((40, 40, 20), (2.0, 2.0, 4.0))
    volume.array[7] = np.random.default_rng(0).uniform(10, 500, (40, 40))
    mask = data_mask(volume).array
    assert mask[7].mean() > 0.99
    assert not mask[:7].any()
    assert not mask[8:].any()


@pytest.mark.parametrize("size", [(1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 40, 40)])
def test_few_voxels_do_not_crash(size):
    volume = box(size)
    volume.array.flat[:] = np.arange(volume.array.size)
    assert data_mask(volume).array.shape == volume.array.shape
    assert np.isfinite(background_of(volume))


def test_without_its_filling_an_mr_holds_its_air(noisy):
    before = noisy.array.copy()
    noisy.array[:3] = 5000.0
    data = data_mask(noisy)
    cleaned = replace_filling(noisy, data, background_value(noisy, data))
    assert cleaned.array[:3] == pytest.approx(20, abs=3)
    assert (cleaned.array[3:] == before[3:]).all()
    assert cleaned.array.dtype == np.float32


def test_an_mr_replace_filling_is_not_copied(noisy):
    assert replace_filling(noisy, data_mask(noisy), 20.0) is noisy


def test_a_constant_image_does_not_crash():
    assert data_mask(box((6, 6, 6), value=3.0)).array.dtype == np.uint8


def test_the_background_is_the_measured_air(noisy):
    assert background_of(noisy) == pytest.approx(20, abs=3)


def test_the_background_is_not_the_fill(noisy):
    noisy.array[:3] = 0.0
    assert background_of(noisy) == pytest.approx(20, abs=3)


def test_the_background_of_an_mr_whose_air_was_blanked_is_the_fill(noisy):
    noisy.array[noisy.array < 100] = 0.0
    assert background_of(noisy) == 0.0


def test_the_background_of_a_constant_image_is_its_value():
    assert background_of(box((6, 6, 6), value=3.0)) == 3.0
