"""When an affine pose is kept, and when the rigid one is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hanseg_registration.engines.elastix import ElastixEngine, prepare_fixed
from hanseg_registration.engines.interface import Step
from hanseg_registration.geometry.motions import Motion, apply
from hanseg_registration.geometry.overlap import overlap_region
from hanseg_registration.search.affine import refine_affinely
from hanseg_registration.similarity.gain import Gain, measure_gain
from hanseg_shared.errors import RegistrationError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

RIGID = np.eye(4)


def gains(before: float, after: float, at_least: float) -> Callable[..., Gain]:
    return lambda *_: Gain(before, after, at_least)


def affine(matrix) -> Callable[[Motion], Motion]:
    made = np.eye(4)
    made[:3, :3] = matrix
    return lambda start: made @ start


GROWN = affine(np.diag([1.02, 1.0, 1.0]))


def test_an_affine_pose_that_helps_is_kept():
    found = refine_affinely(gains(0.20, 0.25, 0.03), RIGID, GROWN)
    assert found.kept
    assert found.pose[0, 0] == 1.02
    assert found.measures()["affine_kept"] == 1.0
    assert found.measures()["affine_gain_at_least"] == 0.03


def test_an_affine_pose_that_helps_little_is_not_kept():
    found = refine_affinely(gains(0.200, 0.203, 0.002), RIGID, GROWN)
    assert found.pose is RIGID
    assert "does not raise the similarity" in found.reason


def test_an_affine_pose_that_may_help_by_chance_is_not_kept():
    found = refine_affinely(gains(0.20, 0.25, 0.0), RIGID, GROWN)
    assert found.pose is RIGID
    assert "by chance (0.2000 to 0.2500, at least +0.0000)" in found.reason


def test_an_affine_pose_that_stretches_too_much_is_not_kept():
    stretched = affine(np.diag([1.2, 1.0, 1.0]))
    found = refine_affinely(gains(0.2, 0.6, 0.3), RIGID, stretched)
    assert found.pose is RIGID
    assert "stretches lengths by 20.0 %" in found.reason


def test_an_affine_pose_that_shears_too_much_is_not_kept():
    sheared = affine([[1, 0.06, 0], [0, 1, 0], [0, 0, 1]])
    found = refine_affinely(gains(0.2, 0.6, 0.3), RIGID, sheared)
    assert found.pose is RIGID
    assert "shears by 0.06" in found.reason


def test_the_rigid_pose_survives_an_affine_step_that_fails():
    def fail(start):
        raise RegistrationError("elastix gave up: too few samples")

    found = refine_affinely(gains(0.2, 0.2, 0.0), RIGID, fail)
    assert found.pose is RIGID
    assert "too few samples" in found.reason
    assert found.measures() == {"affine_kept": 0.0}


@pytest.mark.parametrize("scale", [1.02, 1.2])
def test_the_tried_stretch_is_reported(scale):
    tried = affine(np.diag([scale, 1.0, 1.0]))
    found = refine_affinely(gains(0.2, 0.1, -0.2), RIGID, tried)
    assert found.measures()["affine_stretch_share"] == pytest.approx(scale - 1)


def grown(volume: Volume, factors: tuple[float, float, float]) -> tuple[Volume, Motion]:
    """Return a volume whose header scales it about (0, 0, 0), and that motion."""
    grid, axes = volume.grid, np.array(volume.grid.direction)
    motion = np.eye(4)
    motion[:3, :3] = axes @ np.diag(factors) @ axes.T
    x, y, z = (s * f for s, f in zip(grid.spacing, factors, strict=True))
    a, b, c = apply(motion, grid.origin).tolist()
    return Volume(
        volume.array, Grid(grid.size, (x, y, z), (a, b, c), grid.direction)
    ), (motion)


@pytest.mark.elastix
@pytest.mark.parametrize("factors", [(1.03, 1.0, 1.0), (1.0, 0.975, 0.975)])
def test_gradients_that_are_off_are_put_right(aligned, factors):
    """The best rigid pose of a scaled MR is off by millimetres; the affine is not."""
    moving, scaling = grown(aligned.moving, factors)
    data = moving.with_array(np.ones_like(moving.array, dtype=np.uint8))
    similarity = replace(aligned.similarity, mr=moving)
    fixed, engine = prepare_fixed(aligned.ct_image), ElastixEngine()
    points = aligned.similarity.points
    truth = apply(scaling @ aligned.pose, points)

    def error_mm(pose: Motion) -> float:
        return float(np.linalg.norm(apply(pose, points) - truth, axis=1).mean())

    rigid = engine.find(Step.POLISH, fixed, moving, start=aligned.pose)
    region = overlap_region(fixed.grid, aligned.ct_head, data, rigid)
    found = refine_affinely(
        lambda one, other: measure_gain(
            similarity, apply(one, points), apply(other, points)
        ),
        rigid,
        lambda start: engine.find(
            Step.AFFINE, fixed, moving, start=start, region=region
        ),
    )
    assert found.kept, found.reason
    assert error_mm(found.pose) < 0.6 * error_mm(rigid)
