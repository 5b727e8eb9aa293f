"""The compiled loops do what their source and their plain twins do."""

from typing import Any

import numpy as np
import pytest

from hanseg_segmentation.compute import labels as of_labels
from hanseg_segmentation.compute import pieces as of_pieces
from hanseg_segmentation.compute import plain, switch
from hanseg_segmentation.compute import sums as of_sums
from hanseg_segmentation.compute import winners as of_winners
from hanseg_segmentation.compute.labels import voxel_labeller
from hanseg_segmentation.compute.pieces import piece_bounder, piece_numberer
from hanseg_segmentation.compute.sums import tile_adder
from hanseg_segmentation.compute.winners import winner_finder
from hanseg_segmentation.inference.back_to_grid import _spans
from hanseg_segmentation.quality.pieces import find_pieces
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Volume

SHAPE = (3, 4, 5)
CHANNELS = 4
KINDS = ("float32", "int16")


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def stored(values: np.ndarray, kind: str) -> np.ndarray:
    """Return logits as a loop for float32, or for float16's bits, takes them."""
    if kind == "int16":
        return values.astype(np.float16).view(np.int16)
    return values.astype(np.float32)


@pytest.mark.parametrize("as_means", [True, False])
@pytest.mark.parametrize(
    ("values", "of_weights"),
    [("float32", "float32"), ("int16", "float32"), ("int16", "int16")],
)
def test_adding_a_tile(rng, values, of_weights, as_means):
    sums = stored(rng.normal(size=(60, CHANNELS)), values)
    weights = stored(rng.uniform(0, 1, 60), of_weights)
    tile = rng.normal(size=(*SHAPE, CHANNELS)).astype(np.float32)
    new = rng.uniform(0.1, 1, SHAPE).astype(np.float32)
    low, shape, steps = np.array([1, 0, 2]), np.array([2, 4, 3]), np.array([20, 3, 1])
    results = []
    for run in (
        of_sums._add_tile,
        tile_adder(values, of_weights),
        plain.add_tile,
    ):
        added, totals = sums.copy(), weights.copy()
        wrong = run(added, totals, tile, new, low, shape, 5, steps, as_means, 0, 2)
        results.append((added, totals))
        assert not wrong
    for source, compiled, twin in zip(*results, strict=True):
        assert np.array_equal(source, compiled)
        assert np.array_equal(source, twin)
    changed = (results[1][1] != weights).nonzero()[0].tolist()
    assert changed == [*range(5, 17), *range(25, 37)]


@pytest.mark.parametrize("kind", KINDS)
def test_finding_winners(rng, kind):
    sums = stored(rng.normal(size=(*SHAPE, CHANNELS)), kind)
    weights = rng.integers(0, 3, SHAPE).astype(np.float32)
    results = []
    for run in (
        of_winners._find_winners,
        winner_finder(kind),
        plain.find_winners,
    ):
        winners = np.zeros(SHAPE, dtype=np.uint8)
        counts = np.zeros((SHAPE[0], CHANNELS), dtype=np.int64)
        chances = np.zeros(counts.shape)
        run(sums, weights, winners, counts, chances, 0, SHAPE[0])
        results.append((winners, counts, chances))
    for source, compiled, twin in zip(*results, strict=True):
        assert np.allclose(source, compiled, atol=1e-6)
        assert np.allclose(source, twin, atol=1e-4)
    assert len(np.unique(results[1][0])) == CHANNELS


def test_the_exponential_is_right_to_five_digits():
    powers = -np.linspace(0, 79, 1001).astype(np.float32)
    exponential: Any = of_winners._exponential
    found = [exponential(power) for power in powers]
    assert np.allclose(found, np.exp(powers.astype(float)), rtol=1e-5, atol=0)


@pytest.mark.parametrize("wrong", [np.inf, np.nan])
@pytest.mark.parametrize("channel", [0, 2])
def test_a_best_logit_that_is_no_number_is_told(wrong, channel):
    values = np.zeros((*SHAPE, CHANNELS), np.float32)
    values[1, 2, 3, channel] = wrong
    counts = np.zeros((SHAPE[0], CHANNELS), dtype=np.int64)
    chances = np.zeros(counts.shape)
    weights, winners = np.ones(SHAPE, np.float32), np.zeros(SHAPE, dtype=np.uint8)
    find = winner_finder("int16")
    find(stored(values, "int16"), weights, winners, counts, chances, 0, SHAPE[0])
    assert np.isnan(chances[:, 0]).tolist() == [False, True, False]


OBLIQUE = np.array([[0.4, 0.1, 0.0], [-0.1, 0.5, 0.0], [0.0, 0.05, 0.6]])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [None, 0, 1, 2])
@pytest.mark.parametrize(("reach", "nearest"), [(1e-6, -1), (0.5, 2), (0.5, 0)])
def test_labelling_voxels(rng, reach, nearest, axis, kind):
    logits = rng.normal(size=(*SHAPE, CHANNELS)).astype(np.float32)
    winners = logits.argmax(axis=-1).astype(np.uint8)
    winners[:2, :2, :2] = 1
    logits[:2, :2, :2, 1] = 9
    sums, weights = stored(2 * logits, kind), np.full(SHAPE, 2, np.float32)
    labels = np.array([0, 7, 3, 30], dtype=np.uint8)
    offset = np.array([0.8, 0.3, 2.0])
    box = (np.array([1, 0, 2]), np.array([9, 6, 7]))
    held = np.array([int(each == axis) for each in range(3)])
    first, second = (
        np.split(each, [0 if axis is None else 1], axis=axis or 0)
        for each in (sums, weights)
    )
    results = []
    for run in (of_labels._label_voxels, voxel_labeller(kind), plain.label_voxels):
        result = np.full((4, 6, 9), 99, dtype=np.uint8)
        way = (OBLIQUE, offset, reach, nearest)
        shown = _spans(winners != 0)
        given = (first[0], second[0], first[1], second[1])
        loop: Any = run
        loop(*given, held, winners, shown, *box, labels, *way, result, 0, len(result))
        results.append(result)
    assert np.array_equal(results[0], results[1])
    seen = results[0] != 99  # rows of background alone are left out, but for the twin
    assert np.array_equal(results[0][seen], results[2][seen])
    assert set(np.unique(results[2][~seen])) <= {0, 99}
    assert {3, 30, 99} < set(np.unique(results[0])) <= {0, 3, 7, 30, 99}


@pytest.mark.parametrize("pace", [0.4, -0.4, 1.7])
def test_rows_without_an_organ_are_left_out_and_no_more(rng, pace):
    shape, size = (6, 20, 30), np.array([30, 20, 6])
    winners = np.zeros(shape, dtype=np.uint8)
    winners[2:4, 5:9, 11:14] = 1
    winners[4, 15, 29] = 1
    sums = np.stack([1.0 - winners, winners], axis=-1).astype(np.float32)
    sums += rng.normal(0, 0.3, sums.shape).astype(np.float32) * (sums > 0)
    weights, low = np.ones(shape, np.float32), np.zeros(3, np.int64)
    labels = np.array([0, 7], dtype=np.uint8)
    offset = np.array([0.2 if pace > 0 else 29.1, 0.3, 0.1])
    results = []
    matrix = np.diag([pace, 0.7, 0.8])
    for mask in (winners != 0, np.ones(shape, bool)):
        result = np.zeros((7, 28, 70), dtype=np.uint8)
        voxel_labeller("float32")(
            sums[:0],
            weights[:0],
            sums,
            weights,
            low,
            winners,
            _spans(mask),
            low,
            size,
            labels,
            matrix,
            offset,
            0.5,
            -1,
            result,
            0,
            len(result),
        )
        results.append(result)
    assert np.count_nonzero(results[0]) > 10
    assert np.array_equal(results[0], results[1])


def test_numbering_pieces(rng):
    labels = rng.integers(0, 3, SHAPE, dtype=np.uint8)
    results = []
    for run in (of_pieces._number_pieces, piece_numberer()):
        numbers = np.empty(SHAPE, dtype=np.int32)
        parents = np.zeros(np.count_nonzero(labels) + 1, dtype=np.int32)
        results.append((run(labels, numbers, parents), numbers, parents))
    for source, compiled in zip(*results, strict=True):
        assert np.array_equal(source, compiled)


@pytest.mark.parametrize("bound", [piece_bounder(), plain.bound_pieces])
def test_bounding_pieces(rng, bound):
    index = rng.integers(0, 50, (3, 200)).astype(np.int32)
    number = rng.integers(0, 7, 200).astype(np.int32)
    low, high = np.full((7, 3), 99), np.full((7, 3), -1)
    bound(index, number, low, high)
    for piece in range(7):
        own = index[::-1, number == piece]
        assert low[piece].tolist() == own.min(axis=1).tolist()
        assert high[piece].tolist() == own.max(axis=1).tolist()


def test_pieces_are_the_same_without_the_loop(rng):
    labels = rng.integers(0, 4, (9, 20, 21), dtype=np.uint8) * (
        rng.random((9, 20, 21)) < 0.3
    )
    volume = Volume(labels.astype(np.uint8), Grid((21, 20, 9)))
    compiled = find_pieces(volume)
    with switch.plain_kernels():
        twin = find_pieces(volume)
    assert np.array_equal(compiled.number, twin.number)
    assert [piece.voxels for piece in compiled.all] == [p.voxels for p in twin.all]


def test_the_switch_is_turned_back_after_an_error():
    with pytest.raises(ZeroDivisionError), switch.plain_kernels():
        tile_adder("float32", "float32")(1 / 0)
    assert switch.kernels_are_on()
