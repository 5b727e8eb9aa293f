"""google-deepmind/surface-distance, made to run on today's NumPy and SciPy."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
from scipy import ndimage


def load_oracle(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the package, or skip; it names things that NumPy and SciPy dropped."""
    oracle = pytest.importorskip(
        "surface_distance", reason="surface-distance, the test's oracle, is missing"
    )
    filters = types.SimpleNamespace(correlate=ndimage.correlate)
    morphology = types.SimpleNamespace(
        distance_transform_edt=ndimage.distance_transform_edt
    )
    monkeypatch.setattr(ndimage, "filters", filters, raising=False)
    monkeypatch.setattr(ndimage, "morphology", morphology, raising=False)
    for name, value in (("Inf", np.inf), ("NaN", np.nan)):
        monkeypatch.setitem(vars(np), name, value)
    return oracle
