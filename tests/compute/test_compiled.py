"""Compiled loops: kept where they can be, shared out to threads."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_segmentation.compute.compiled import compiled, over_slices


def _double(values, first, last):
    for i in range(first, last):
        values[i] *= 2


def test_loops_compile_where_no_cache_can_be_written(monkeypatch):
    import numba

    compiler = numba.njit

    def without_cache(signature, *, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compiler(signature, **options)

    monkeypatch.setattr(numba, "njit", without_cache)
    values = np.ones(3, dtype=np.int64)
    compiled(_double, "void(int64[::1], int64, int64)")(values, 1, 3)
    assert values.tolist() == [1, 2, 2]


def test_errors_of_a_thread_reach_the_caller():
    def work(first, last):
        raise ValueError(f"slices {first} to {last}")

    with pytest.raises(ValueError, match="slices 0 to 3"):
        over_slices(work, 3)


def test_every_slice_is_worked_on_once():
    seen = np.zeros(11, dtype=int)

    def work(first, last):
        seen[first:last] += 1

    over_slices(work, 11)
    assert (seen == 1).all()
