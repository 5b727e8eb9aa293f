"""Simulated MR: its truth, its repeatability, and that it looks like T1 of the CT."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from hanseg_lab.simulator import Reach, SimulatedMr, SlicePlane, simulate_mr
from hanseg_lab.simulator.head_anatomy import find_anatomy
from hanseg_lab.simulator.scan_plan import draw_plan
from hanseg_lab.simulator.simulated_mr import _sample
from hanseg_shared.errors import ImageContentError, OptionError
from hanseg_shared.grid import Grid
from hanseg_shared.io import read_ct
from hanseg_shared.volume import Volume
from tests.real_data import real_data

MARKERS = np.array(
    [(35, -30, 60), (-40, 10, 45), (10, 45, 85), (-25, -20, 110), (40, 25, 130)], float
)
"""Where a test patient has balls of fat, in mm of the CT."""

COORDINATES = Grid.axis_aligned(
    [(-250, -250, -250), (250, 250, 450)], spacing=(10.0, 10.0, 10.0)
)
"""Where images of coordinates are known: all that an MR may show."""

FEWEST_INTACT = 3
"""Metal, borders and slices' edges hide some markers, never this many."""


@cache
def patient(*, couch: bool = False, spacing: float = 2.0) -> Volume:
    """A round body of water with balls of fat, as large as a head."""
    grid = Grid.axis_aligned(
        [(-110, -120, 0), (110, 150, 220)], spacing=(spacing, spacing, 2.5)
    )
    x, y, z = voxel_positions(grid)
    hu = np.full(grid.shape, -1000.0)
    hu[(x / 80) ** 2 + (y / 95) ** 2 + ((z - 90) / 110) ** 2 < 1] = 50
    for marker in MARKERS:
        distance = np.sqrt(
            sum((a - m) ** 2 for a, m in zip((x, y, z), marker, strict=True))
        )
        hu -= 145 * np.clip((9 - distance) / 4, 0, 1)
    if couch:
        hu[np.broadcast_to((y > 110) & (y < 122), hu.shape)] = -50
    return Volume(hu.astype(np.float32), grid)


def voxel_positions(grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    k, j, i = np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij")
    x, y, z = np.moveaxis(grid.index_to_world(np.stack([i, j, k], -1)), -1, 0)
    return x, y, z


def brightest_near(mr: Volume, point: np.ndarray) -> np.ndarray:
    """Return the centre of what shines within 12 mm of a point."""
    middle, reach = mr.grid.world_to_index(point), 13 / np.array(mr.grid.spacing)
    first = np.maximum(np.floor(middle - reach), 0).astype(int)
    last = np.minimum(np.ceil(middle + reach) + 1, mr.grid.size).astype(int)
    x, y, z = (slice(a, b) for a, b in zip(first, last, strict=True))
    i, j, k = (int(n) for n in first)
    size = np.array(mr.array[z, y, x].shape[::-1])
    box = mr.grid.crop((i, j, k), (int(size[0]), int(size[1]), int(size[2])))
    positions = np.stack(voxel_positions(box), -1)
    near = np.linalg.norm(positions - point, axis=-1) < 12
    shine = mr.array[z, y, x][near].astype(float)
    low, high = np.percentile(shine, (30, 98))
    weights = np.clip((shine - low) / (high - low) - 0.4, 0, 0.4)
    return (positions[near] * weights[:, None]).sum(axis=0) / weights.sum()


def whole_box(
    mr: Volume, points: np.ndarray, margin_mm: float
) -> npt.NDArray[np.bool_]:
    """Return the points that lie so far inside an MR."""
    index = mr.grid.world_to_index(points)
    margin = margin_mm / np.array(mr.grid.spacing)
    last = np.array(mr.grid.size) - 1
    inside: npt.NDArray[np.bool_] = (index > margin) & (index < last - margin)
    return np.all(inside, axis=1)


@pytest.fixture(scope="module", params=[0.0, 6.0], ids=["rigid", "deformed"])
def case(request) -> SimulatedMr:
    return simulate_mr(
        patient(), seed=11, reach=Reach.WHOLE_HEAD, deformation_mm=request.param
    )


def test_markers_lie_where_the_truth_says(case: SimulatedMr):
    expected = case.to_mr(MARKERS)
    expected = expected[whole_box(case.mr, expected, 12)]
    assert len(expected) >= FEWEST_INTACT
    found = np.array([brightest_near(case.mr, point) for point in expected])
    missed = np.linalg.norm(found - expected, axis=1)
    assert missed.max() < 1.6  # the tissue's texture shifts a marker's middle
    assert np.linalg.norm((found - expected).mean(axis=0)) < 0.6


@pytest.mark.parametrize("deformation_mm", [0.0, 6.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_truth_is_the_map_that_images_are_sampled_through(
    seed: int, deformation_mm: float
):
    """An image of coordinates, sampled, tells for every voxel what it shows."""
    ct = patient(spacing=4.0)
    reach = Reach.SHORT_SLAB
    case = simulate_mr(ct, seed=seed, reach=reach, deformation_mm=deformation_mm)
    plan = draw_plan(find_anatomy(ct), reach, first_generator(seed))
    assert plan.grid.is_same(case.mr.grid)
    fine = thin(plan.grid)
    ramps = [
        Volume(a.astype(np.float32), COORDINATES) for a in voxel_positions(COORDINATES)
    ]
    sampling = dataclasses.replace(plan, grid=fine)
    seen = np.stack([_sample(r, sampling, case.deformation) for r in ramps], -1)
    where = np.stack(voxel_positions(fine), -1)
    assert np.abs(case.to_mr(seen) - where.reshape(-1, 3)).max() < 0.01


def thin(grid: Grid) -> Grid:
    """Return a box in the middle of a grid with slices too thin to blur anything."""
    half = np.array(grid.direction) @ (40.0, 40.0, 0.5)
    x, y, z = (float(v) for v in grid.centre - half)
    return Grid((11, 11, 11), (8.0, 8.0, 0.1), (x, y, z), grid.direction)


def first_generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed).spawn(4)[0])


def test_the_same_input_gives_the_same_image_to_the_last_bit(case: SimulatedMr):
    again = simulate_mr(
        patient(),
        seed=11,
        reach=Reach.WHOLE_HEAD,
        deformation_mm=6.0 if case.deformation else 0.0,
    )
    assert np.array_equal(again.mr.array, case.mr.array)
    assert again.mr.grid == case.mr.grid
    assert np.array_equal(again.to_mr(MARKERS), case.to_mr(MARKERS))
    assert again.recipe == case.recipe


def test_another_seed_gives_another_image():
    ct = patient(spacing=4.0)
    first, second = (simulate_mr(ct, seed=s, reach=Reach.SHORT_SLAB) for s in (1, 2))
    assert first.mr.grid != second.mr.grid


def test_a_rigid_truth_is_a_rotation_and_a_shift(case: SimulatedMr):
    turn = case.mr_from_ct[:3, :3]
    assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
    if case.deformation is None:
        assert case.mean_deformation_mm == 0
        moved = MARKERS @ turn.T + case.mr_from_ct[:3, 3]
        assert np.allclose(case.to_mr(MARKERS), moved)


def test_the_mean_deformation_is_the_one_asked_for():
    ct = patient(spacing=4.0)
    case = simulate_mr(ct, seed=5, reach=Reach.SHORT_SLAB, deformation_mm=6.0)
    assert case.mean_deformation_mm == pytest.approx(6.0, rel=0.02)
    assert case.deformation is not None
    assert case.deformation.smallest_jacobian() > 0.1


def test_what_has_no_signal_is_not_in_the_image():
    """The couch is as dense as fat, and not there."""
    ct = patient(couch=True, spacing=4.0)
    case = simulate_mr(ct, seed=3, reach=Reach.WHOLE_HEAD)
    x, y, z = voxel_positions(ct.grid)
    couch = np.stack([x, y, z], -1)[ct.array == -50][::50]
    index = np.rint(case.mr.grid.world_to_index(case.to_mr(couch))).astype(int)
    inside = ((index >= 0) & (index < case.mr.grid.size)).all(axis=1)
    i, j, k = index[inside].T
    body = np.percentile(case.mr.array, 90)
    assert inside.sum() > 10
    assert np.percentile(case.mr.array[k, j, i], 99) < 0.5 * body


@pytest.mark.parametrize(
    ("reach", "low", "high"),
    [(Reach.LONG_SLAB, 97, 163), (Reach.SHORT_SLAB, 57, 103)],
)
@pytest.mark.parametrize("seed", range(4))
def test_a_slab_is_as_thick_as_its_reach_says(
    reach: Reach, low: float, high: float, seed: int
):
    plan = draw_plan(find_anatomy(patient(spacing=4.0)), reach, first_generator(seed))
    assert low <= plan.grid.extent[2] <= high


def test_a_ct_of_a_short_piece_makes_a_long_slab_short():
    ct = patient(spacing=4.0)
    piece = Volume(ct.array[16:48], ct.grid.crop((0, 0, 16), (*ct.grid.size[:2], 32)))
    plans = [
        draw_plan(find_anatomy(piece), Reach.LONG_SLAB, first_generator(seed))
        for seed in range(12)
    ]
    axial = [plan for plan in plans if plan.plane is SlicePlane.AXIAL]
    assert {plan.reach for plan in axial} == {Reach.SHORT_SLAB}
    assert max(plan.grid.extent[2] for plan in axial) < 85


def test_plans_keep_to_the_clinics_ranges_and_show_every_orientation():
    anatomy = find_anatomy(patient(spacing=4.0))
    plans = [draw_plan(anatomy, None, first_generator(seed)) for seed in range(200)]
    for plan in plans:
        x, y, across = plan.grid.spacing
        assert 0.5 <= x == y <= 0.9
        assert 1.7 <= across <= 6
        assert plan.rotation_deg <= 25
        assert max(abs(o) for o in plan.grid.origin) <= 1200
        assert max(plan.grid.size) <= 400
        assert plan.grid.size[2] <= 120
    assert {plan.label for plan in plans} == {
        f"{oblique}{plane}"
        for oblique in ("", "oblique ")
        for plane in ("axial", "coronal", "sagittal")
    }
    assert {plan.reach for plan in plans} == set(Reach)
    assert max(plan.rotation_deg for plan in plans) > 20
    assert max(abs(plan.grid.origin[2]) for plan in plans) > 1000


def test_the_image_is_one_a_scanner_stores(case: SimulatedMr):
    assert case.mr.array.dtype == np.int16
    assert case.mr.array.min() >= 0
    assert case.mr.array.max() > 200


def test_a_ct_without_a_body_is_refused():
    air = patient(spacing=4.0)
    air = air.with_array(np.full_like(air.array, -1000))
    with pytest.raises(ImageContentError, match="no body"):
        simulate_mr(air, seed=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 0, "deformation_mm": -1.0}, "negative"),
        ({"seed": 0, "deformation_mm": 50.0}, "8 mm"),
    ],
)
def test_nonsense_is_refused(values: dict[str, Any], message: str):
    with pytest.raises(OptionError, match=message):
        simulate_mr(patient(spacing=4.0), **values)


@pytest.mark.data
def test_a_real_head_looks_like_t1():
    """Fat outshines brain, brain outshines muscle, and bone and air are dark."""
    ct = read_ct(real_data("head", "ct.nii.gz"))
    case = simulate_mr(ct, seed=1, reach=Reach.WHOLE_HEAD)
    index = np.argwhere(np.ones(ct.grid.shape, bool))[::101, ::-1]
    placed = case.mr.grid.world_to_index(case.to_mr(ct.grid.index_to_world(index)))
    nearest = np.rint(placed).astype(int)
    inside = ((nearest >= 0) & (nearest < case.mr.grid.size)).all(axis=1)
    i, j, k = nearest[inside].T
    x, y, z = index[inside].T
    hu, shown = ct.array[z, y, x], case.mr.array[k, j, i]
    air, fat, brain, bone = (
        float(np.median(shown[(hu > low) & (hu < high)]))
        for low, high in ((-1100, -990), (-110, -80), (25, 45), (1200, 1900))
    )
    assert air < 0.1 * fat
    assert bone < 0.6 * brain
    assert bone < brain < fat


def test_a_case_is_frozen(case: SimulatedMr):
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.mean_deformation_mm = 1.0  # type: ignore[misc]
