"""elastix on a simulated head: what it returns, and what it leaves behind."""

import pytest

from hanseg_registration.engines.elastix import (
    WINDOW_HU,
    crop_head,
    prepare_fixed,
    prepare_moving,
    run_elastix,
)
from hanseg_registration.engines.parameter_maps import load_parameters
from hanseg_registration.geometry.head import find_ct_head
from hanseg_registration.geometry.motions import (
    distances_mm,
    is_rigid,
    rotation,
    translation,
)
from hanseg_registration.geometry.sampling import centre_at_origin
from hanseg_shared.errors import RegistrationError

pytestmark = pytest.mark.elastix


@pytest.fixture(scope="module")
def prepared(pair):
    """Fixed and moving image, the true pose between them, points of the head."""
    ct, mr = centre_at_origin(pair.ct), centre_at_origin(pair.mr)
    head = find_ct_head(ct)
    truth = (
        translation(-pair.mr.grid.centre)
        @ pair.mr_from_ct
        @ translation(pair.ct.grid.centre)
    )
    return (
        prepare_fixed(crop_head(ct, head)),
        prepare_moving(mr),
        truth,
        head.points(500),
    )


def test_elastix_maps_ct_points_to_mr_points_from_a_start_aside(prepared):
    """Pins the order of composition: T0(T1(x)), with a start that is shifted and
    turned, so that T1(T0(x)) and either inverse would miss by more than 10 mm."""
    fixed, moving, truth, points = prepared
    aside = translation((8, -6, 7)) @ rotation((6, -5, 8), centre=(0, 30, 40))
    start = truth @ aside
    assert distances_mm(start, truth, points).mean() > 10
    found = run_elastix(fixed, moving, start=start, parameters=load_parameters("rigid"))
    assert distances_mm(found, truth, points).mean() < 1.0
    assert is_rigid(found)


def test_the_same_seed_gives_the_same_bits(prepared):
    fixed, moving, truth, _ = prepared
    short = {**load_parameters("rigid"), "MaximumNumberOfIterations": ("20",)}
    one, other = (
        run_elastix(fixed, moving, start=truth, parameters=short) for _ in range(2)
    )
    assert (one == other).all()


def test_another_seed_draws_other_samples(prepared):
    fixed, moving, truth, _ = prepared
    short = {**load_parameters("rigid"), "MaximumNumberOfIterations": ("20",)}
    one = run_elastix(fixed, moving, start=truth, parameters=short)
    other = run_elastix(fixed, moving, start=truth, parameters=short, seed=5)
    assert not (one == other).all()


def test_elastix_leaves_no_file_where_it_runs(prepared, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fixed, moving, truth, _ = prepared
    short = {**load_parameters("rigid"), "MaximumNumberOfIterations": ("5",)}
    run_elastix(fixed, moving, start=truth, parameters=short)
    assert list(tmp_path.iterdir()) == []


def test_images_that_do_not_meet_are_a_registration_error(prepared):
    fixed, moving, truth, _ = prepared
    away = truth @ translation((2000, 0, 0))
    with pytest.raises(RegistrationError, match="elastix gave up"):
        run_elastix(fixed, moving, start=away, parameters=load_parameters("rigid"))


def test_the_fixed_image_is_clipped_and_keeps_its_axes(pair):
    ct = centre_at_origin(pair.ct)
    fixed = prepare_fixed(crop_head(ct, find_ct_head(ct)))
    assert fixed.array.min() >= WINDOW_HU[0]
    assert fixed.array.max() <= WINDOW_HU[1]
    assert fixed.grid.direction == ct.grid.direction
    assert fixed.grid.voxels < ct.grid.voxels


def test_an_unknown_transform_of_a_sites_map_is_refused(prepared):
    fixed, moving, truth, _ = prepared
    other = {
        **load_parameters("rigid"),
        "Transform": ("SimilarityTransform",),
        "MaximumNumberOfIterations": ("5",),
    }
    with pytest.raises(RegistrationError, match="SimilarityTransform"):
        run_elastix(fixed, moving, start=truth, parameters=other)
