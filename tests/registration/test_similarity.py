import numpy as np
import pytest

from hanseg_registration.similarity.mutual_information import (
    CT_CLASSES,
    MR_CLASSES,
    ct_classes,
    joint_counts,
    mr_classes,
    normalised_mutual_information,
)


def test_air_and_dense_bone_are_the_outer_ct_classes():
    assert ct_classes(np.array([-1000.0, 3000.0])).tolist() == [0, CT_CLASSES - 1]


def test_fat_and_brain_are_different_ct_classes():
    fat, brain = ct_classes(np.array([-100.0, 35.0]))
    assert fat != brain


def test_mr_classes_clip_what_lies_beyond_the_ends():
    found = mr_classes(np.array([-5.0, 0.0, 99.0, 500.0]), low=0.0, high=100.0)
    assert found.tolist() == [0, 0, MR_CLASSES - 1, MR_CLASSES - 1]


def test_joint_counts_leave_out_points_without_ct():
    ct = np.array([[0, 1, CT_CLASSES]], dtype=np.uint8)
    mr = np.array([2, 3, 4], dtype=np.uint8)
    counts = joint_counts(ct, mr)
    assert counts.shape == (1, CT_CLASSES, MR_CLASSES)
    assert counts[0, 0, 2] == counts[0, 1, 3] == 1
    assert counts.sum() == 2


def test_joint_counts_keep_poses_apart():
    ct = np.array([[0, 0], [1, 1]], dtype=np.uint8)
    counts = joint_counts(ct, np.array([5, 5], dtype=np.uint8))
    assert counts[0, 0, 5] == counts[1, 1, 5] == 2


def test_images_that_tell_everything_about_each_other_score_two():
    assert normalised_mutual_information(np.eye(4)) == pytest.approx(2.0)


def test_independent_images_score_one():
    assert normalised_mutual_information(np.ones((4, 4))) == pytest.approx(1.0)


def test_a_permutation_of_brightness_changes_nothing():
    counts = np.random.default_rng(0).integers(0, 9, (5, 6)).astype(float)
    shuffled = counts[:, ::-1]
    assert normalised_mutual_information(shuffled) == pytest.approx(
        normalised_mutual_information(counts)
    )


def test_nothing_in_common_scores_one():
    assert normalised_mutual_information(np.zeros((4, 4))) == 1.0
