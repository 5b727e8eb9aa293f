"""Where values are parted in two classes."""

import numpy as np
import pytest

from hanseg_shared.io.otsu import TwoClasses


def test_the_threshold_lies_between_two_heaps():
    values = np.repeat([-1000.0, -990.0, 30.0, 40.0, 50.0], [50, 20, 30, 90, 10])
    classes = TwoClasses.of(values, bins=105)
    assert -990 < classes.threshold <= 30
    assert classes.peaks == pytest.approx((-1000.0, 40.0), abs=10.0)


def test_every_value_is_in_one_class():
    values = np.random.default_rng(1).normal(size=500)
    classes = TwoClasses.of(values, bins=64)
    dark = classes.counts[: classes.first_bright].sum()
    assert dark == np.count_nonzero(values < classes.threshold)
    assert classes.counts.sum() == 500
