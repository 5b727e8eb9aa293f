"""Stored values come back from their bits, whatever else a cell holds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hanseg_shared.io.dicom.pixel_format import PixelFormat


@st.composite
def layouts(draw):
    allocated = draw(st.sampled_from([8, 16, 32]))
    stored = draw(st.integers(1, allocated))
    high = draw(st.integers(stored - 1, allocated - 1))
    signed = draw(st.booleans())
    return PixelFormat(2, 2, allocated, stored, high, signed, False, None)


@given(layouts(), st.integers(0, 2**32 - 1), st.data())
def test_values_come_back_from_any_bits(layout, others, data):
    least = -(1 << layout.stored - 1) if layout.signed else 0
    most = least + (1 << layout.stored) - 1
    values = data.draw(st.lists(st.integers(least, most), min_size=4, max_size=4))
    under = layout.high + 1 - layout.stored
    mask = ((1 << layout.stored) - 1) << under
    cells = [(v << under) & mask | others & ~mask for v in values]
    whole = (1 << layout.allocated) - 1
    array = np.array([each & whole for each in cells]).astype(layout.cells)
    assert layout.values_of(array.reshape(2, 2)).ravel().tolist() == values
