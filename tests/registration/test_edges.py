import numpy as np
import pytest

from hanseg_registration.geometry.head import find_ct_head
from hanseg_registration.geometry.motions import translation
from hanseg_registration.similarity.edges import EdgeAgreement, Edges
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume


@pytest.fixture(scope="module")
def edges(aligned) -> Edges:
    return Edges.of(aligned.ct_image, aligned.ct_head)


def everywhere(mr: Volume) -> Volume:
    return mr.with_array(np.ones(mr.grid.shape, dtype=np.uint8))


def agreement(edges: Edges, aligned, *, shift_mm: float = 0.0) -> EdgeAgreement:
    pose = aligned.pose @ translation((shift_mm, 0.0, 0.0))
    return edges.agreement(aligned.moving, everywhere(aligned.moving), pose)


def test_a_right_pose_has_its_edges_on_the_cts(edges, aligned):
    found = agreement(edges, aligned)
    assert found.skin_distance_mm is not None
    assert found.skin_distance_mm <= 2.0
    assert found.skin_near_share is not None
    assert found.skin_near_share > 0.7
    assert found.bone_darker_share is not None
    assert found.bone_darker_share > 0.7


def test_a_shift_moves_them_away(edges, aligned):
    shares = [
        agreement(edges, aligned, shift_mm=shift).skin_near_share or 0.0
        for shift in (0.0, 5.0, 10.0)
    ]
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.55


def test_bone_that_is_bright_is_told(edges, aligned):
    mr = aligned.moving
    inverted = mr.with_array(float(mr.array.max()) - mr.array)
    found = edges.agreement(inverted, everywhere(mr), aligned.pose)
    assert found.bone_darker_share is not None
    assert found.bone_darker_share < 0.4


def test_what_was_not_measured_shows_no_edge(edges, aligned):
    mr = aligned.moving
    nothing = mr.with_array(np.zeros(mr.grid.shape, dtype=np.uint8))
    found = edges.agreement(mr, nothing, aligned.pose)
    assert found == EdgeAgreement(None, None, None)


def test_an_mr_that_is_elsewhere_shows_no_edge(edges, aligned):
    found = agreement(edges, aligned, shift_mm=5000.0)
    assert found == EdgeAgreement(None, None, None)


def ball(radius_mm: float, *, inside: float, outside: float) -> Volume:
    grid = Grid((70, 70, 70), (3.0, 3.0, 3.0), (-103.5, -103.5, -103.5))
    z, y, x = np.indices(grid.shape)
    radius = np.linalg.norm(grid.index_to_world(np.stack([x, y, z], -1)), axis=-1)
    return Volume(np.where(radius < radius_mm, inside, outside), grid)


@pytest.mark.parametrize("larger_mm", [0.0, 4.0, 8.0])
def test_the_distance_is_that_of_two_balls_skins(larger_mm):
    ct = ball(80.0, inside=40.0, outside=-1000.0)
    mr = ball(80.0 + larger_mm, inside=300.0, outside=5.0)
    found = Edges.of(ct, find_ct_head(ct)).agreement(mr, everywhere(mr), np.eye(4))
    assert found.skin_distance_mm == pytest.approx(larger_mm, abs=1.5)
    assert found.bone_darker_share is None
