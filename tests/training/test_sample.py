"""Samples: coding of label sets, and the way to disk and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hanseg_lab.training.prepare import phantom_sample
from hanseg_lab.training.sample import Sample, encode


@pytest.mark.parametrize(
    "allowed",
    [np.array([[[1, 6], [4, 1]]]), np.array([[[6, 6], [8, 4]]]), np.array([[[1]]])],
    ids=["with background", "without", "only"],
)
def test_the_table_gives_back_every_set(allowed):
    codes, table = encode(allowed.astype(np.int32))
    assert table[0] == 1
    np.testing.assert_array_equal(table[codes], allowed)


def test_a_sample_survives_the_disk(tmp_path: Path):
    sample = phantom_sample(2, spacing=(9.0, 9.0, 9.0))
    sample.save(tmp_path / "a.npz")
    again = Sample.load(tmp_path / "a.npz")
    np.testing.assert_array_equal(again.ct_hu, sample.ct_hu)
    np.testing.assert_array_equal(again.sets[again.codes], sample.sets[sample.codes])
    assert [p.name for p in tmp_path.iterdir()] == ["a.npz"]


def test_a_sample_without_mr_stays_without(tmp_path: Path):
    zeros = np.zeros((2, 2, 2), np.int16)
    one = np.array([1], np.int32)
    Sample(zeros, None, zeros, one, one).save(tmp_path / "a.npz")
    assert Sample.load(tmp_path / "a.npz").mr is None
