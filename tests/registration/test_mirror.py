from dataclasses import replace

import numpy as np
import pytest

from hanseg_registration.geometry.head import find_mr_head
from hanseg_registration.geometry.motions import (
    apply,
    distances_mm,
    is_rigid,
    rotation,
    translation,
)
from hanseg_registration.search.mirror import (
    find_mirror_start,
    measure_mirror_similarity,
    mirror_head,
    mirror_pose,
    mirror_volume,
)
from hanseg_shared.volume import Volume

TURN = rotation((10, -5, 3), centre=(1, 2, 3)) @ translation((4, 5, 6))


def test_a_mirrored_volume_has_each_voxel_at_the_mirrored_place(grid):
    values = np.arange(grid.voxels, dtype=np.float32).reshape(grid.shape)
    image = mirror_volume(Volume(values, grid))
    point = grid.index_to_world((2, 5, 3))
    x, y, z = np.rint(image.grid.world_to_index(point * (-1, 1, 1))).astype(int)
    assert image.array[z, y, x] == values[3, 5, 2]


def test_a_mirrored_grid_stays_right_handed(grid):
    image = mirror_volume(Volume(np.zeros(grid.shape), grid))
    before, after = (np.linalg.det(np.array(g.direction)) for g in (grid, image.grid))
    assert after == pytest.approx(before)


def test_mirroring_twice_changes_nothing(grid):
    values = np.arange(grid.voxels).reshape(grid.shape)
    twice = mirror_volume(mirror_volume(Volume(values, grid)))
    assert twice.grid.is_same(grid)
    assert (twice.array == values).all()


def test_a_mirrored_pose_is_rigid():
    assert is_rigid(mirror_pose(TURN, ct_centre=np.array([7.0, 0, 0])))


def test_a_mirrored_pose_sends_partners_to_mirrored_places():
    """In a symmetric head, the partner of x lies at 2 c - x."""
    centre = np.array([7.0, 0.0, 0.0])
    point, partner = np.array([20.0, 3, 4]), np.array([-6.0, 3, 4])
    there = apply(mirror_pose(TURN, ct_centre=centre), partner)
    assert there == pytest.approx(apply(TURN, point) * (-1, 1, 1))


def test_a_mirrored_head_is_where_the_mirrored_image_shows_it(aligned):
    head = find_mr_head(aligned.moving)
    turned = mirror_head(head)
    assert turned.body.sum() == head.body.sum()
    assert turned.centre == pytest.approx(head.centre * (-1, 1, 1))
    middle = np.argwhere(turned.body).mean(axis=0)[::-1]
    expected = head.coarse.grid.index_to_world(np.argwhere(head.body).mean(0)[::-1])
    found = turned.coarse.grid.index_to_world(middle)
    assert found == pytest.approx(expected * (-1, 1, 1))


def test_a_mirror_image_fits_less_than_the_mr_itself(aligned):
    own = aligned.similarity.at(aligned.pose)
    starts = [mirror_pose(aligned.pose, ct_centre=aligned.ct_head.centre)]
    assert 0 < measure_mirror_similarity(aligned.similarity, starts) < 0.96 * own


def test_the_mirror_image_of_a_swapped_mr_fits_better(aligned):
    own = aligned.similarity.at(aligned.pose)
    swapped = replace(aligned.similarity, mr=mirror_volume(aligned.moving))
    wrong = mirror_pose(aligned.pose, ct_centre=aligned.ct_head.centre)
    found = measure_mirror_similarity(swapped, [aligned.pose, wrong])
    assert found > 1.04 * swapped.at(wrong)
    assert found == pytest.approx(own, rel=0.1)


def test_the_mirror_image_is_found_without_knowing_where_the_mr_is(aligned):
    swapped = find_mr_head(mirror_volume(aligned.moving))
    start = find_mirror_start(aligned.ct_head, swapped)
    points = aligned.ct_head.points(500)
    assert distances_mm(start, aligned.pose, points).mean() < 15.0
