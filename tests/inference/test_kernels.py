"""The compiled loops do what their source says: both are run on the same arrays."""

import numpy as np
import pytest

from hanseg_segmentation.inference import kernels as module
from hanseg_segmentation.inference.kernels import kernels

SHAPE = (3, 4, 5)
CHANNELS = 4


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def test_finishing_logits(rng):
    sums = rng.normal(size=(*SHAPE, CHANNELS)).astype(np.float32)
    weights = rng.integers(0, 3, SHAPE).astype(np.float32)
    results = []
    for run in (module._finish_logits, kernels().finish_logits):
        means, winners = sums.copy(), np.zeros(SHAPE, dtype=np.uint8)
        counts = np.zeros((SHAPE[0], CHANNELS), dtype=np.int64)
        chances = np.zeros(counts.shape)
        run(means, weights, winners, counts, chances, 0, SHAPE[0])
        results.append((means, winners, counts, chances))
    for source, compiled in zip(*results, strict=True):
        assert np.allclose(source, compiled, atol=1e-6)


@pytest.mark.parametrize(("reach", "nearest"), [(1e-6, -1), (0.5, 2), (0.5, 0)])
def test_labelling_voxels(rng, reach, nearest):
    logits = rng.normal(size=(*SHAPE, CHANNELS)).astype(np.float32)
    winners = logits.argmax(axis=-1).astype(np.uint8)
    winners[:2, :2, :2] = 1
    logits[:2, :2, :2, 1] = 9
    labels = np.array([0, 7, 3, 30], dtype=np.uint8)
    matrix = np.array([[0.4, 0.1, 0.0], [-0.1, 0.5, 0.0], [0.0, 0.05, 0.6]])
    offset = np.array([0.8, 0.3, 2.0])
    box = (np.array([1, 0, 2]), np.array([9, 6, 7]))
    results = []
    for run in (module._label_voxels, kernels().label_voxels):
        result = np.full((4, 6, 9), 99, dtype=np.uint8)
        way = (matrix, offset, reach, nearest)
        run(logits, winners, *box, labels, *way, result, 0, len(result))
        results.append(result)
    assert np.array_equal(results[0], results[1])
    assert {3, 30, 99} < set(np.unique(results[0])) <= {0, 3, 7, 30, 99}


def test_numbering_pieces(rng):
    labels = rng.integers(0, 3, SHAPE, dtype=np.uint8)
    results = []
    for run in (module._number_pieces, kernels().number_pieces):
        numbers = np.empty(SHAPE, dtype=np.int32)
        parents = np.zeros(np.count_nonzero(labels) + 1, dtype=np.int32)
        results.append((run(labels, numbers, parents), numbers, parents))
    for source, compiled in zip(*results, strict=True):
        assert np.array_equal(source, compiled)
