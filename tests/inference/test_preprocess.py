import numpy as np
import pytest

from hanseg_segmentation.inference.preprocess import (
    AIR_HU,
    model_grid,
    mr_to_model_grid,
    network_input,
    normalise_ct,
    normalise_mr,
    to_model_grid,
)
from hanseg_segmentation.packages.package import (
    CtNormalisation,
    MrNormalisation,
    Normalisation,
)
from hanseg_shared.errors import GridMismatchError
from hanseg_shared.grid import IDENTITY, Grid
from hanseg_shared.volume import Volume
from tests.inference.scenes import enlarged, world_points

SPACING = (3.0, 3.0, 3.0)
CT = CtNormalisation(low_hu=-1000, high_hu=1000, mean_hu=-100, std_hu=200)
MR = MrNormalisation(tissue_above_hu=-500, clip_sd=3)


def ramp(grid: Grid) -> Volume:
    """Return an image that grows by 2 per mm to the left and falls by 1 per mm up."""
    values = world_points(grid) @ np.array([2.0, 0.5, -1.0])
    return Volume(values.astype(np.float32), grid)


def test_the_model_grid_covers_every_voxel_of_the_ct(grid):
    target = model_grid(grid, spacing=SPACING)
    index = target.world_to_index(grid.corners())
    assert target.direction == IDENTITY
    assert (index >= -1e-6).all()
    assert (index <= np.array(target.size) - 1 + 1e-6).all()


def test_the_model_grid_shares_the_centre_of_the_ct(grid):
    target = model_grid(grid, spacing=SPACING)
    assert np.allclose(target.centre, grid.centre)


def test_a_ramp_stays_a_ramp_in_every_orientation(grid):
    ct = enlarged(grid)
    target = model_grid(ct, spacing=SPACING)
    sampled = to_model_grid(ramp(ct), target, background=0.0)
    inside = ct.world_to_index(world_points(target))
    deep = ((inside > 3) & (inside < np.array(ct.size) - 4)).all(axis=-1)
    assert deep.sum() > 500
    assert np.abs(sampled.array - ramp(target).array)[deep].max() < 0.02


def test_shrinking_averages_and_does_not_alias():
    grid = Grid((60, 8, 8), (1.0, 3.0, 3.0))
    stripes = np.zeros(grid.shape, dtype=np.int16)
    stripes[..., ::2] = 100
    target = model_grid(grid, spacing=SPACING)
    shrunk = to_model_grid(Volume(stripes, grid), target, background=0.0).array
    assert np.allclose(shrunk[:, :, 2:-2], 50, atol=7)


def test_an_image_on_the_model_grid_is_not_changed():
    grid = Grid((9, 8, 7), SPACING, (5.0, -3.0, 2.0))
    image = Volume(np.random.default_rng(0).normal(size=grid.shape), grid)
    target = model_grid(grid, spacing=SPACING)
    sampled = to_model_grid(image, target, background=0.0)
    assert np.allclose(sampled.array, image.array, atol=1e-5)


def test_the_edge_of_the_scan_keeps_its_value():
    grid = Grid((50, 40, 30), (1.0, 1.0, 2.5))
    flat = Volume(np.full(grid.shape, 40, dtype=np.int16), grid)
    target = model_grid(grid, spacing=SPACING)
    assert np.allclose(to_model_grid(flat, target, background=AIR_HU).array, 40)


def test_a_single_slice_is_not_refused():
    grid = Grid((30, 30, 1), (1.0, 1.0, 2.0))
    flat = Volume(np.full(grid.shape, 7, dtype=np.int16), grid)
    target = model_grid(grid, spacing=SPACING)
    assert np.allclose(to_model_grid(flat, target, background=0).array, 7)


def test_hu_are_clipped_and_scaled():
    hu = np.array([[[-3000, -100, 100, 5000]]])
    assert normalise_ct(hu, CT).ravel().tolist() == [-4.5, 0.0, 1.0, 5.5]


def test_mr_scores_are_over_tissue_inside_the_field():
    mr = np.array([[[100.0, 300.0, 0.0, 9999.0]]])
    field = np.array([[[True, True, True, False]]])
    ct = np.array([[[0, 0, -1000, 0]]])
    scores = normalise_mr(mr, field, tissue=ct, normalisation=MR)
    assert scores.ravel().tolist() == [-1.0, 1.0, -2.0, 0.0]


def test_mr_scores_are_clipped():
    mr = np.concatenate((np.tile([0.0, 1.0], 500), [1000.0])).reshape(1, 1, -1)
    field = np.ones(mr.shape, dtype=bool)
    scores = normalise_mr(mr, field, tissue=np.zeros(mr.shape), normalisation=MR)
    assert scores.max() == 3.0


def test_mr_without_contrast_gives_zeros_and_no_warning():
    mr = np.full((2, 2, 2), 7.0)
    field = np.ones(mr.shape, dtype=bool)
    scores = normalise_mr(mr, field, tissue=mr, normalisation=MR)
    assert not scores.any()


def test_an_empty_field_gives_zeros():
    mr = np.ones((2, 2, 2))
    nowhere = np.zeros(mr.shape, dtype=bool)
    assert not normalise_mr(mr, nowhere, tissue=mr, normalisation=MR).any()


def test_scores_do_not_depend_on_the_units_of_the_mr():
    rng = np.random.default_rng(1)
    mr = rng.normal(300, 50, size=(4, 4, 4))
    field = np.ones(mr.shape, dtype=bool)
    one = normalise_mr(mr, field, tissue=mr, normalisation=MR)
    other = normalise_mr(7 * mr + 40, field, tissue=mr, normalisation=MR)
    assert np.allclose(one, other, atol=1e-5)


def test_without_mr_both_its_channels_are_zero():
    channels = network_input(
        np.zeros((2, 3, 4)), None, None, normalisation=Normalisation()
    )
    assert channels.shape == (3, 2, 3, 4)
    assert channels.dtype == np.float32
    assert not channels[1:].any()


def test_with_mr_the_third_channel_is_its_field_of_view():
    field = np.zeros((2, 3, 4), dtype=bool)
    field[0] = True
    channels = network_input(
        np.zeros(field.shape),
        np.ones(field.shape),
        field,
        normalisation=Normalisation(),
    )
    assert np.array_equal(channels[2], field)


def test_what_lies_outside_the_field_does_not_leak_into_the_mr(grid):
    ct = enlarged(grid)
    target = model_grid(ct, spacing=SPACING)
    left = world_points(ct)[..., 0] > ct.centre[0]
    mr = Volume(np.where(left, 100.0, -5000.0), ct)
    values, mask = mr_to_model_grid(mr, Volume(left.astype(np.uint8), ct), target)
    assert np.allclose(values.array[mask.array], 100.0, atol=0.01)
    assert not values.array[~mask.array].any()


def test_the_field_of_view_reaches_as_far_as_the_data():
    ct = Grid((60, 20, 20), (1.0, 1.0, 1.0))
    field = np.zeros(ct.shape, dtype=bool)
    field[..., :30] = True
    target = model_grid(ct, spacing=SPACING)
    _, mask = mr_to_model_grid(
        Volume(np.ones(ct.shape), ct), Volume(field.astype(np.uint8), ct), target
    )
    edge = target.index_to_world([int(mask.array[3, 3].sum()) - 0.5, 0, 0])[0]
    assert edge == pytest.approx(29.5, abs=1.5)


def test_the_field_of_view_must_be_on_the_grid_of_the_mr(grid):
    mr = Volume(np.zeros(grid.shape), grid)
    moved = Grid(grid.size, grid.spacing, (0.0, 0.0, 0.0), grid.direction)
    field = Volume(np.zeros(grid.shape, dtype=np.uint8), moved)
    with pytest.raises(GridMismatchError, match="field of view"):
        mr_to_model_grid(mr, field, model_grid(grid, spacing=SPACING))
