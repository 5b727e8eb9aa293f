import numpy as np
import pytest

from hanseg_registration.geometry.head import (
    MARGIN_MM,
    SHOULDER_WIDTH_MM,
    find_ct_head,
    find_mr_head,
)
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_shared.errors import ImageContentError
from hanseg_shared.volume import Volume
from tests.real_data import real_data
from tests.registration.volumes import box


def ellipsoid(volume: Volume, centre, radii) -> np.ndarray:
    z, y, x = np.indices(volume.grid.shape)
    world = volume.grid.index_to_world(np.stack([x, y, z], axis=-1))
    return (((world - centre) / radii) ** 2).sum(axis=-1) < 1


@pytest.fixture
def upper_body() -> Volume:
    """A head of 160 x 200 x 240 mm on shoulders 420 mm wide, on a couch."""
    volume = box((110, 80, 100), (4.0, 4.0, 4.0), value=-1000.0)
    volume.array[ellipsoid(volume, (220, 160, 276), (80, 100, 120))] = 40.0
    volume.array[ellipsoid(volume, (220, 160, 180), (55, 60, 90))] = 40.0
    volume.array[ellipsoid(volume, (220, 160, 40), (210, 100, 80))] = 40.0
    volume.array[:, 68:70] = 0.0
    return volume


def test_the_head_ends_above_the_shoulders(upper_body):
    assert 60 < find_ct_head(upper_body).low[2] < 130


def test_the_box_is_narrower_than_the_shoulders(upper_body):
    found = find_ct_head(upper_body)
    assert 190 <= (found.high - found.low)[0] < SHOULDER_WIDTH_MM + 2 * MARGIN_MM


def test_the_couch_is_not_part_of_the_head(upper_body):
    assert find_ct_head(upper_body).high[1] == pytest.approx(275, abs=10)


def test_a_head_alone_reaches_to_the_end_of_the_scan():
    volume = box((60, 70, 30), (4.0, 4.0, 4.0), value=-1000.0)
    volume.array[ellipsoid(volume, (120, 140, 0), (80, 100, 100))] = 40.0
    assert find_ct_head(volume).low[2] == pytest.approx(0, abs=3)


def test_points_lie_in_the_head(upper_body):
    found = find_ct_head(upper_body)
    points = found.points(200)
    assert points.shape == (200, 3)
    assert (points >= found.low).all()
    assert (points <= found.high).all()


def test_points_are_the_same_every_time(upper_body):
    found = find_ct_head(upper_body)
    assert (found.points(50) == found.points(50)).all()


def test_air_holds_no_head():
    with pytest.raises(ImageContentError, match="no body of the size of a head: 0 ml"):
        find_ct_head(box((40, 40, 40), (5.0, 5.0, 5.0), value=-1000.0))


def test_a_blank_mr_is_refused():
    with pytest.raises(ImageContentError, match="blank: its values are all 7"):
        find_mr_head(box((40, 40, 40), (5.0, 5.0, 5.0), value=7.0))


def test_an_mr_head_is_found_whatever_the_scale(upper_body):
    head = np.where(upper_body.array > -300, 500.0, 10.0).astype(np.float32)
    one = find_mr_head(upper_body.with_array(head))
    other = find_mr_head(upper_body.with_array(head * 37.0 + 4000.0))
    assert (one.mask == other.mask).all()


def test_the_phantoms_shoulders_are_left_out(pair):
    found = find_ct_head(centre_at_origin(pair.ct))
    width = (found.high - found.low)[0]
    assert width < 300 < pair.ct.grid.extent[0]


@pytest.mark.data
def test_a_real_skull_without_neck_is_kept_whole():
    from hanseg_shared.io import read_ct

    ct = centre_at_origin(read_ct(real_data("rire_001", "ct.nii.gz")))
    found = find_ct_head(ct)
    assert found.low[2] == pytest.approx(-50, abs=1)
    assert (found.high - found.low)[0] < 200
