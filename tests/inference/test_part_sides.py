"""Left and right are parted by where they lie, and never exchanged."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hanseg_lab.phantom import make_case
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.part_sides import part_sides
from hanseg_segmentation.inference.stage import StageAnswer, give_sides
from hanseg_segmentation.pipeline import segment
from hanseg_shared.documents import InferenceReport
from hanseg_shared.flags import FlagCode
from hanseg_shared.grid import Grid, Matrix
from hanseg_shared.organs import (
    BACKGROUND,
    ORGANS,
    Evidence,
    OrganStatus,
    Side,
    counterpart,
    organ,
)
from hanseg_shared.volume import Volume
from tests.inference.scenes import (
    AIR,
    BRIGHT,
    DENSE,
    DIM,
    WATER,
    threshold_model,
    world_points,
)


def right_of(left) -> int:
    right = counterpart(left)
    assert right is not None
    return right.label


PAIRS = {each.label: right_of(each) for each in ORGANS if each.side is Side.LEFT}
PAIRED = [*PAIRS, *PAIRS.values()]
SPACING = (3.0, 3.0, 3.0)


@pytest.fixture(scope="module", params=[3, 11])
def labels(request) -> Volume:
    return make_case(
        request.param, ct_spacing=SPACING, ct_width_mm=260, mr=False
    ).labels


def merged(labels: Volume) -> Volume:
    table = np.arange(256, dtype=np.uint8)
    table[list(PAIRS.values())] = list(PAIRS)
    return labels.with_array(table[labels.array])


def turned(labels: Volume, degrees: float, *, axis: str) -> Volume:
    """The same head, tilted to a shoulder (y) or looking aside (z)."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    turn = np.array(
        {
            "y": [[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]],
            "z": [[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]],
        }[axis]
    )
    return on_axes(labels, turn @ labels.grid.direction, turn @ labels.grid.origin)


def on_axes(labels: Volume, direction, origin) -> Volume:
    grid = labels.grid
    axes: Matrix = tuple(map(tuple, np.asarray(direction).tolist()))  # type: ignore[assignment]
    x, y, z = map(float, origin)
    return Volume(labels.array, Grid(grid.size, grid.spacing, (x, y, z), axes))


def stored_mirrored(labels: Volume) -> Volume:
    """The same head, its voxels stored from left to right and from back to front."""
    grid = labels.grid
    last = grid.index_to_world([grid.size[0] - 1, grid.size[1] - 1, 0])
    array = np.ascontiguousarray(labels.array[:, ::-1, ::-1])
    moved = Volume(array, grid)
    return on_axes(moved, np.array(grid.direction) * (-1, -1, 1), last)


def cropped(labels: Volume, low: int, high: int) -> Volume:
    """Only the columns from `low` to before `high`."""
    _, y, z = labels.grid.size
    grid = labels.grid.crop((low, 0, 0), (high - low, y, z))
    return Volume(np.ascontiguousarray(labels.array[:, :, low:high]), grid)


def middle_column(labels: Volume) -> int:
    stem = organ("Brainstem").label
    return round(float(np.where(labels.array == stem)[2].mean()))


def assert_none_swapped(labels: Volume) -> np.ndarray:
    """Part the merged labels; return which paired voxels were taken out."""
    found = part_sides(merged(labels), PAIRS).labels.array
    paired = np.isin(labels.array, PAIRED)
    lost = paired & (found == BACKGROUND)
    assert np.array_equal(found[~lost], labels.array[~lost])
    return lost


def test_parting_undoes_merging(labels):
    assert not assert_none_swapped(labels).any()


@pytest.mark.parametrize("axis", ["y", "z"])
@pytest.mark.parametrize("degrees", [-20, 20])
def test_a_tilted_or_turned_head_is_parted_too(labels, degrees, axis):
    assert not assert_none_swapped(turned(labels, degrees, axis=axis)).any()


def test_the_order_of_voxels_does_not_matter(labels):
    stored = stored_mirrored(labels)
    assert not assert_none_swapped(stored).any()
    assert not assert_none_swapped(turned(stored, 15, axis="y")).any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_side_that_the_scan_lacks_gets_nothing(labels, side):
    middle, width = middle_column(labels), labels.grid.size[0]
    span = (middle - 4, width) if side == "left" else (0, middle + 5)
    lost = assert_none_swapped(cropped(labels, *span))
    assert lost.mean() < 0.02


@pytest.mark.parametrize("beyond", [0, 2, 5])
def test_a_scan_cut_along_the_middle_swaps_nothing(labels, beyond):
    middle, width = middle_column(labels), labels.grid.size[0]
    assert_none_swapped(cropped(labels, middle + beyond, width))
    assert_none_swapped(cropped(labels, 0, middle - beyond))


def test_without_the_middle_nothing_is_named(labels):
    part = cropped(labels, middle_column(labels) + 15, labels.grid.size[0])
    assert np.isin(part.array, PAIRED).any()
    found = part_sides(merged(part), PAIRS)
    assert not np.isin(found.labels.array, PAIRED).any()
    left = organ("Parotid_L").label
    volume = np.count_nonzero(part.array == left) * part.grid.voxel_ml
    assert found.unknown_ml[left] == pytest.approx(volume)


def test_an_organ_on_both_sides_of_the_middle_is_cut_along_it(labels):
    bridged = labels.array.copy()
    left, right = organ("OpticNrv_L").label, organ("OpticNrv_R").label
    inside = np.argwhere(np.isin(bridged, (left, right)))
    z, y, _ = inside[len(inside) // 2]
    bridged[z, y, inside[:, 2].min() : inside[:, 2].max() + 1] = left
    found = part_sides(merged(labels.with_array(bridged)), PAIRS).labels.array
    for label in (left, right):
        assert np.array_equal(
            found[labels.array == label], labels.array[labels.array == label]
        )


def dense_balls(*, cord: bool) -> CaseImages:
    """A body with a dense ball on either side, and a cord that the MR shows bright."""
    grid = Grid((40, 32, 32), SPACING, (-58.5, -46.5, -46.5))
    points = world_points(grid)
    body = np.linalg.norm(points, axis=-1) < 46
    hu = np.where(body, WATER, AIR)
    for side in (-1, 1):
        hu[np.linalg.norm(points - (side * 25.0, 0, 0), axis=-1) < 11] = DENSE
    thread = (np.hypot(points[..., 0], points[..., 1] - 12) < 6) & body
    signal = np.where(thread & cord, BRIGHT, np.where(body, DIM, 0))
    return CaseImages(
        Volume(hu.astype(np.int16), grid),
        Volume(signal.astype(np.float32), grid),
        Volume(np.ones(grid.shape, np.uint8), grid),
    )


@pytest.mark.torch
@pytest.mark.parametrize("cord", [True, False])
def test_a_model_of_merged_sides_answers_with_sides_or_says_why_not(cord):
    names = ("Parotid_L", "Parotid_R", "SpinalCord")
    model = threshold_model(
        merged_sides=True,
        labels=dict(zip(names, (1, 1, 2), strict=True)),
        evidence=dict.fromkeys(names, Evidence.PHANTOM),
    )
    images = dense_balls(cord=cord)
    if not cord:  # one cheek alone
        images = CaseImages(cropped(images.ct, 24, 40))
    found = segment(images, model=model, progress=lambda _: None)
    left, right = (found.organs[organ(name).label - 1] for name in names[:2])
    if cord:
        assert left.volume_ml == pytest.approx(right.volume_ml, rel=0.05)
        columns = np.where(found.labels.array == organ("Parotid_L").label)[2]
        assert columns.min() > 20
        return
    for each in (left, right):
        assert (each.status, each.volume_ml) == (OrganStatus.EMPTY, 0)
        assert each.flags[0].code is FlagCode.SIDE_UNKNOWN
        assert each.flags[0].ml == pytest.approx(5.6, rel=0.2)


def test_an_organ_that_is_not_seen_has_no_confidence(labels):
    middle, width = middle_column(labels), labels.grid.size[0]
    part = merged(cropped(labels, middle - 4, width))
    sure: dict[str, float | None] = {each.name: 0.9 for each in ORGANS}
    answer = StageAnswer(part, sure, {}, InferenceReport.model_construct(), {})
    found = give_sides(answer, PAIRS)
    assert found.confidences["Parotid_L"] == 0.9
    assert found.confidences["Parotid_R"] is None
