import numpy as np
import pytest

from hanseg_registration.field_of_view import background_value, data_mask
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


def test_air_in_the_heads_hollows_is_data_though_a_filter_blanked_it(noisy):
    noisy.array[noisy.array < 100] = 0.0
    noisy.array[5:15, 12:28, 12:14] = 0.0
    noisy.array[5:15, 12:14, 12:14] = 500.0
    noisy.array[5:15, 26:28, 12:14] = 500.0
    mask = data_mask(noisy).array
    assert mask[10, 20, 12] == 1
    assert mask[0, 0, 0] == 0


def test_a_constant_image_does_not_crash():
    assert data_mask(box((6, 6, 6), value=3.0)).array.dtype == np.uint8


def test_the_background_is_the_measured_air(noisy):
    assert background_value(noisy) == pytest.approx(20, abs=3)


def test_the_background_is_not_the_fill(noisy):
    noisy.array[:3] = 0.0
    assert background_value(noisy) == pytest.approx(20, abs=3)


def test_the_background_of_an_mr_whose_air_was_blanked_is_the_fill(noisy):
    noisy.array[noisy.array < 100] = 0.0
    assert background_value(noisy) == 0.0


def test_the_background_of_a_constant_image_is_its_value():
    assert background_value(box((6, 6, 6), value=3.0)) == 3.0
