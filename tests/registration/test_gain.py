"""Gains at points held out: what is a gain, what is chance, what cannot be told."""

from dataclasses import replace

import numpy as np
import pytest

from hanseg_registration.geometry.motions import apply, translation
from hanseg_registration.similarity.gain import measure_gain


def moved_by(aligned, offset_mm: float):
    pose = aligned.pose @ translation((offset_mm, 0.0, 0.0))
    return apply(pose, aligned.similarity.points)


def test_the_true_pose_gains_over_one_aside(aligned):
    found = measure_gain(
        aligned.similarity, moved_by(aligned, 6.0), moved_by(aligned, 0.0)
    )
    assert found.after > found.before
    assert found.at_least > 0.0


def test_the_gain_is_that_of_the_similarity(aligned):
    pose = aligned.pose @ translation((3.0, 0.0, 0.0))
    found = measure_gain(
        aligned.similarity, moved_by(aligned, 3.0), moved_by(aligned, 0.0)
    )
    assert found.before == pytest.approx(aligned.similarity.at(pose), abs=0.01)
    assert found.share == pytest.approx(found.after / found.before - 1.0)


def test_no_step_gains_nothing(aligned):
    points = moved_by(aligned, 0.0)
    found = measure_gain(aligned.similarity, points, points)
    assert found.at_least == found.share == 0.0


def test_what_noise_seems_to_gain_is_chance(aligned):
    noise = np.random.default_rng(0).normal(100.0, 20.0, aligned.moving.grid.shape)
    blind = replace(aligned.similarity, mr=aligned.moving.with_array(noise))
    found = measure_gain(blind, moved_by(aligned, 3.0), moved_by(aligned, 0.0))
    assert found.at_least < 0.0 < abs(found.share)


def test_the_same_images_give_the_same_bound(aligned):
    one, other = (
        measure_gain(aligned.similarity, moved_by(aligned, 3.0), moved_by(aligned, 0.0))
        for _ in range(2)
    )
    assert one == other


@pytest.mark.parametrize("offset_mm", [900.0, 0.0])
def test_images_that_hardly_meet_gain_nothing(aligned, offset_mm):
    few = aligned.similarity.thin(3 if offset_mm == 0.0 else 5000)
    pose = aligned.pose @ translation((offset_mm, 0.0, 0.0))
    points = apply(pose, few.points)
    assert measure_gain(few, points, points).at_least == -np.inf
