import math

import numpy as np
import pytest

from hanseg_registration.elastix import fixed_image, head_image, moving_image
from hanseg_registration.head import ct_head, mr_head
from hanseg_registration.mirror import mirrored, mirrored_pose, mirrored_similarity
from hanseg_registration.motions import apply, is_rigid, rotation, translation
from hanseg_registration.parameter_maps import load_parameters
from hanseg_registration.sampling import centred
from hanseg_registration.verdict import Similarity
from hanseg_shared.volume import Volume

TURN = rotation((10, -5, 3), centre=(1, 2, 3)) @ translation((4, 5, 6))


def test_a_mirrored_volume_has_each_voxel_at_the_mirrored_place(grid):
    values = np.arange(grid.voxels, dtype=np.float32).reshape(grid.shape)
    image = mirrored(Volume(values, grid))
    point = grid.index_to_world((2, 5, 3))
    x, y, z = np.rint(image.grid.world_to_index(point * (-1, 1, 1))).astype(int)
    assert image.array[z, y, x] == values[3, 5, 2]


def test_a_mirrored_grid_stays_right_handed(grid):
    image = mirrored(Volume(np.zeros(grid.shape), grid))
    before, after = (np.linalg.det(np.array(g.direction)) for g in (grid, image.grid))
    assert after == pytest.approx(before)


def test_mirroring_twice_changes_nothing(grid):
    values = np.arange(grid.voxels).reshape(grid.shape)
    twice = mirrored(mirrored(Volume(values, grid)))
    assert twice.grid.is_same(grid)
    assert (twice.array == values).all()


def test_a_mirrored_pose_is_rigid():
    assert is_rigid(mirrored_pose(TURN, ct_centre=np.array([7.0, 0, 0])))


def test_a_mirrored_pose_sends_partners_to_mirrored_places():
    """In a symmetric head, the partner of x lies at 2 c - x."""
    centre = np.array([7.0, 0.0, 0.0])
    point, partner = np.array([20.0, 3, 4]), np.array([-6.0, 3, 4])
    there = apply(mirrored_pose(TURN, ct_centre=centre), partner)
    assert there == pytest.approx(apply(TURN, point) * (-1, 1, 1))


@pytest.mark.elastix
def test_a_mirror_image_that_elastix_fails_on_is_not_taken_for_a_bad_fit(pair):
    ct, mr = centred(pair.ct), centred(pair.mr)
    head = ct_head(ct)
    fixed, moving = fixed_image(head_image(ct, head)), moving_image(mr)
    similarity = Similarity.between(fixed, moving, head=head, mr_head=mr_head(mr))
    to_mr = translation(-pair.mr.grid.centre) @ pair.mr_from_ct
    found = mirrored_similarity(
        fixed,
        similarity,
        to_mr @ translation(pair.ct.grid.centre),
        ct_head=head,
        mr_head=mr_head(moving),
        parameters={**load_parameters("rigid"), "RequiredRatioOfValidSamples": ("2",)},
    )
    assert math.isnan(found)
