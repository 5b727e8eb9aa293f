"""Whatever the masks: symmetry, zero on equality, no preferred direction or place."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hanseg_shared.grid import Grid, Vector
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.metric import Metric, measure
from hanseg_shared.volume import Mask, Volume

Values = Mapping[Metric, float]
Pair = tuple[Mask, Mask, Vector]
ORIGIN: Vector = (0.0, 0.0, 0.0)

SYMMETRIC = (
    Metric.DSC,
    Metric.HD95,
    Metric.HD100,
    Metric.SURFACE_DSC,
    Metric.ASSD,
    Metric.CENTRE_DISTANCE,
)
ALL = tuple(Metric)

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.7, 1.0, 2.5, 3.3])] * 3)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    shape = draw(SHAPES)
    arrays = st.builds(
        lambda a: a if a.any() else ~a, hnp.arrays(np.bool_, shape, fill=st.nothing())
    )
    return draw(arrays), draw(arrays), draw(SPACINGS)


def volume(array: Mask, spacing: Vector, origin: Vector = ORIGIN) -> Volume:
    z, y, x = array.shape
    return Volume(np.ascontiguousarray(array), Grid((x, y, z), spacing, origin))


def measured(
    first: Mask, second: Mask, spacing: Vector, origin: Vector = ORIGIN
) -> Values:
    comparison = compare(
        volume(first, spacing, origin), volume(second, spacing, origin)
    )
    return measure(comparison, tolerance_mm=1.0)


def assert_same(values: Values, others: Values, metrics: Sequence[Metric]) -> None:
    for metric in metrics:
        assert values[metric] == pytest.approx(others[metric], abs=1e-6), metric


@settings(deadline=None)
@given(pairs())
def test_it_does_not_matter_which_is_the_reference(pair):
    first, second, spacing = pair
    there, back = measured(first, second, spacing), measured(second, first, spacing)
    assert_same(there, back, SYMMETRIC)
    difference = there[Metric.VOLUME_DIFFERENCE]
    assert difference == pytest.approx(-back[Metric.VOLUME_DIFFERENCE])


@settings(deadline=None)
@given(pairs())
def test_a_mask_agrees_with_itself(pair):
    first, _, spacing = pair
    values = measured(first, first, spacing)
    assert values[Metric.DSC] == values[Metric.SURFACE_DSC] == 1
    zero = (Metric.HD95, Metric.HD100, Metric.ASSD, Metric.ADDED_PATH_LENGTH)
    assert all(values[metric] == 0 for metric in zero)


@settings(deadline=None)
@given(pairs(), st.sampled_from([(0,), (1,), (2,), (0, 1), (0, 1, 2)]))
def test_mirroring_both_changes_nothing(pair, axes):
    first, second, spacing = pair
    mirrored = measured(np.flip(first, axes), np.flip(second, axes), spacing)
    assert_same(measured(first, second, spacing), mirrored, ALL)


@settings(deadline=None)
@given(pairs(), st.permutations([0, 1, 2]))
def test_the_order_of_the_axes_does_not_matter(pair, order):
    first, second, spacing = pair
    turned = tuple(spacing[::-1][axis] for axis in order)[::-1]
    other = measured(first.transpose(order), second.transpose(order), turned)
    # where slices are cut depends on the direction, which this leaves as it was
    metrics = [metric for metric in ALL if metric is not Metric.ADDED_PATH_LENGTH]
    assert_same(measured(first, second, spacing), other, metrics)


@settings(deadline=None)
@given(pairs(), SHAPES, SHAPES)
def test_moving_both_changes_nothing(pair, before, after):
    first, second, spacing = pair
    margins = list(zip(before, after, strict=True))
    padded = [np.pad(array, margins) for array in (first, second)]
    moved = measured(padded[0], padded[1], spacing, origin=(-250.0, 31.5, -1178.25))
    assert_same(measured(first, second, spacing), moved, ALL)
