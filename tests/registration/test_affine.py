from collections.abc import Callable

import numpy as np
import pytest

from hanseg_registration.affine import refine_affinely
from hanseg_registration.motions import Motion
from hanseg_shared.errors import RegistrationError

RIGID = np.eye(4)


def scores(by_scale: dict[float, float]) -> Callable[[Motion], float]:
    """Return what scores poses by their first element."""
    return lambda pose: by_scale[round(float(pose[0, 0]), 3)]


def affine(scale: float) -> Callable[[Motion], Motion]:
    return lambda start: np.diag([scale, 1.0, 1.0, 1.0]) @ start


def test_an_affine_pose_that_helps_is_kept():
    found = refine_affinely(scores({1.0: 0.20, 1.02: 0.25}), RIGID, affine(1.02))
    assert found.kept
    assert found.pose[0, 0] == 1.02
    assert found.measures()["affine_kept"] == 1.0


def test_an_affine_pose_that_helps_little_is_not_kept():
    found = refine_affinely(scores({1.0: 0.200, 1.02: 0.201}), RIGID, affine(1.02))
    assert found.pose is RIGID
    assert "does not raise the similarity" in found.reason


def test_an_affine_pose_that_stretches_too_much_is_not_kept():
    found = refine_affinely(scores({1.0: 0.20, 1.2: 0.60}), RIGID, affine(1.2))
    assert found.pose is RIGID
    assert "stretches lengths by 20.0 %" in found.reason


def test_the_rigid_pose_survives_an_affine_step_that_fails():
    def fail(start):
        raise RegistrationError("elastix gave up: too few samples")

    found = refine_affinely(scores({1.0: 0.2}), RIGID, fail)
    assert found.pose is RIGID
    assert "too few samples" in found.reason
    assert found.measures() == {"affine_kept": 0.0}


@pytest.mark.parametrize("scale", [1.02, 1.2])
def test_the_tried_stretch_is_reported(scale):
    found = refine_affinely(scores({1.0: 0.2, scale: 0.1}), RIGID, affine(scale))
    assert found.measures()["affine_stretch_share"] == pytest.approx(scale - 1)
