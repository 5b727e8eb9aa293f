"""When a deformation is kept, and when the rigid pose is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from hanseg_registration.engines.elastix import ElastixEngine, prepare_fixed
from hanseg_registration.engines.parameter_maps import FOLDER
from hanseg_registration.geometry.deformation import Deformation
from hanseg_registration.geometry.motions import Motion, apply, rotation, translation
from hanseg_registration.geometry.overlap import overlap_region
from hanseg_registration.search.deformable import (
    SECONDS_NEEDED,
    DeformableRefinement,
    refine_deformably,
)
from hanseg_registration.similarity.similarity import Similarity
from hanseg_shared.errors import RegistrationError
from hanseg_shared.grid import Grid, Matrix
from hanseg_shared.volume import Volume
from tests.registration.conftest import Aligned

TILTED: Matrix = ((1.0, 0.0, 0.0), (0.0, 0.8, -0.6), (0.0, 0.6, 0.8))


@dataclass(frozen=True)
class Bent:
    """The aligned pair as if the patient were bent, and how the patient is bent."""

    similarity: Similarity
    region: Volume
    pose: Motion
    truth: Deformation

    def refine(
        self,
        *runs: Deformation,
        deform: Callable[[Motion, int | None], Deformation] | None = None,
        seconds_left: float = np.inf,
    ) -> DeformableRefinement:
        return refine_deformably(
            self.similarity,
            self.pose,
            region=self.region,
            ends=(self.pose, self.pose),
            deform=deform or (lambda _, seed: runs[seed is not None]),
            seconds_left=seconds_left,
        )


@pytest.fixture(scope="module")
def bent(aligned: Aligned) -> Bent:
    """Up to 10 mm; points that elastix never saw are where the bend has them."""
    data = aligned.moving.with_array(np.ones_like(aligned.moving.array, dtype=np.uint8))
    grid = aligned.ct_image.grid
    lattice = Grid.axis_aligned(grid.corners(), spacing=(60.0,) * 3, margin_mm=60.0)
    waves = np.random.default_rng(3).normal(0.0, 9.0, (3, *lattice.shape))
    truth = Deformation(waves, lattice)
    straight = aligned.similarity.points
    points = straight.copy()
    for _ in range(20):  # points + u(points) is where the CT's tissue was
        points = straight - truth.displacement_mm(points)
    return Bent(
        similarity=replace(aligned.similarity, points=points),
        region=overlap_region(grid, aligned.ct_head, data, aligned.pose),
        pose=aligned.pose,
        truth=truth,
    )


def times(deformation: Deformation, factor: float) -> Deformation:
    return replace(deformation, coefficients_mm=factor * deformation.coefficients_mm)


def test_a_deformation_that_helps_is_kept(bent):
    found = bent.refine(bent.truth, bent.truth)
    assert found.kept, found.reason
    measures = found.measures()
    assert 1.0 < measures["deformation_mean_mm"] < measures["deformation_max_mm"]
    assert 0.3 < measures["smallest_jacobian"] < 1.0
    assert measures["deformable_gain_at_least"] > 0.0
    assert measures["deformable_kept"] == 1.0


def test_no_deformation_is_not_needed(bent):
    none = times(bent.truth, 0.0)
    found = bent.refine(none, none)
    assert found.deformation is None
    assert "does not surely raise the similarity" in found.reason


def test_a_deformation_the_wrong_way_is_not_kept(bent):
    wrong = times(bent.truth, -0.5)
    found = bent.refine(wrong, wrong)
    assert not found.kept
    assert found.measures()["deformable_gain"] < 0.0


def test_a_deformation_that_folds_is_not_kept(bent):
    corners = bent.region.grid.corners()
    lattice = Grid.axis_aligned(corners, spacing=(30.0,) * 3, margin_mm=30.0)
    waves = np.random.default_rng(6).normal(0.0, 18.0, (3, *lattice.shape))
    wild = Deformation(waves, lattice)
    found = bent.refine(wild, wild)
    assert not found.kept
    assert "changes volumes by factors of -" in found.reason


def test_a_deformation_that_moves_too_far_is_not_kept(bent):
    far = bent.truth.append_motion(translation((40.0, 0.0, 0.0)))
    found = bent.refine(far, far)
    assert not found.kept
    assert "moves points by up to" in found.reason


def test_two_runs_that_do_not_agree_are_not_kept(bent):
    found = bent.refine(bent.truth, times(bent.truth, 0.3))
    assert not found.kept
    assert "two deformations end" in found.reason


def test_runs_from_two_poses_are_brought_to_one(bent):
    """What the second run's pose is off by is part of its deformation."""
    aside = rotation((1, 0, -1), centre=(0, 0, 0)) @ translation((1.0, 2.0, -1.0))
    second = bent.truth.append_motion(np.linalg.inv(aside))
    found = refine_deformably(
        bent.similarity,
        bent.pose,
        region=bent.region,
        ends=(bent.pose, bent.pose @ aside),
        deform=lambda _, seed: second if seed else bent.truth,
        seconds_left=np.inf,
    )
    assert found.agreement_mm == pytest.approx(0.0, abs=1e-6)


def test_without_time_none_is_begun(bent):
    def begun(pose: Motion, seed: int | None) -> Deformation:
        raise AssertionError(seed)

    found = bent.refine(deform=begun, seconds_left=SECONDS_NEEDED / 2)
    assert found.measures() == {"deformable_kept": 0.0}
    assert "a deformation may take 60 s, and 30 s are left" in found.reason


def test_the_rigid_pose_survives_a_run_that_fails(bent):
    def fail(pose: Motion, seed: int | None) -> Deformation:
        raise RegistrationError("elastix gave up: too few samples")

    found = bent.refine(deform=fail)
    assert not found.kept
    assert "the rigid pose is kept: elastix gave up" in found.reason


def test_an_mr_that_shows_nothing_is_not_deformed(bent):
    nothing = bent.region.with_array(np.zeros_like(bent.region.array))
    found = replace(bent, region=nothing).refine(bent.truth, bent.truth)
    assert not found.kept
    assert "too little of the head" in found.reason


@pytest.fixture
def short_map(tmp_path):
    text = (FOLDER / "deformable.txt").read_text()
    lines = [
        "(MaximumNumberOfIterations 4)"
        if line.startswith("(MaximumNumberOfIterations")
        else line
        for line in text.splitlines()
    ]
    (tmp_path / "deformable.txt").write_text("\n".join(lines))
    return ElastixEngine(tmp_path)


@pytest.mark.elastix
def test_elastix_gives_the_same_bits_on_the_images_own_axes(aligned, short_map):
    """All is tilted together, so that a transposed direction would be seen."""
    tilt = np.eye(4)
    tilt[:3, :3] = TILTED
    grid = aligned.ct_image.grid
    x, y, z = apply(tilt, grid.origin).tolist()
    tilted = Grid(grid.size, grid.spacing, (x, y, z), TILTED)
    fixed = Volume(prepare_fixed(aligned.ct_image).array, tilted)
    region = Volume(np.ones(grid.shape, dtype=np.uint8), tilted)
    start = aligned.pose @ np.linalg.inv(tilt)
    one, other = (
        short_map.deform(fixed, aligned.moving, start=start, region=region)
        for _ in range(2)
    )
    assert (one.coefficients_mm == other.coefficients_mm).all()
    assert np.abs(one.coefficients_mm).max() > 0.01
    assert np.array(one.lattice.direction) == pytest.approx(np.array(TILTED))
    index = one.lattice.world_to_index(tilted.corners())
    assert (index > 0.9).all()
    assert (index < np.array(one.lattice.size) - 1.9).all()
