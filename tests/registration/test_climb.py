import numpy as np
import pytest

from hanseg_registration.geometry.motions import distances_mm, rotation, translation
from hanseg_registration.similarity.climb import climb, drift_mm


def test_a_climb_stays_where_the_mr_belongs(aligned):
    assert drift_mm(aligned.similarity, aligned.pose) < 2.0


@pytest.mark.parametrize("shift_mm", [6.0, 10.0, 20.0])
def test_a_climb_leaves_a_displaced_pose_by_as_much_as_it_is_displaced(
    aligned, shift_mm
):
    wrong = aligned.pose @ translation((0.0, shift_mm, 0.0))
    assert drift_mm(aligned.similarity, wrong) == pytest.approx(shift_mm, abs=2.0)


def test_a_climb_undoes_a_turn(aligned):
    turn = rotation((6.0, 0.0, -6.0), centre=aligned.ct_head.centre)
    end = climb(aligned.similarity, aligned.pose @ turn)
    points = aligned.ct_head.points(500)
    assert distances_mm(end, aligned.pose, points).mean() < 2.0


def test_a_climb_ends_at_the_same_bits(aligned):
    start = aligned.pose @ translation((5.0, 5.0, 5.0))
    one, other = (climb(aligned.similarity, start) for _ in range(2))
    assert (one == other).all()


def test_where_the_images_do_not_meet_there_is_nothing_to_climb(aligned):
    far = aligned.pose @ translation((5000.0, 0.0, 0.0))
    assert (climb(aligned.similarity, far) == far).all()
    assert np.isfinite(drift_mm(aligned.similarity, far))
