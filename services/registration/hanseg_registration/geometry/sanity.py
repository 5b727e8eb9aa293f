"""Sanity checks: images too large to be a patient, and values too extreme for elastix.

A header that is wrong by a factor of ten makes a patient of ten metres; searching that
for a head takes more memory than there is. Values of 1e12, which some reconstructions
write, overflow in elastix.
"""

from __future__ import annotations

import math

import numpy as np

from hanseg_shared.errors import ImageContentError
from hanseg_shared.volume import Volume

LARGEST_EXTENT_M3 = 2.0
"""More than any scan: a whole body, 2 m long in a bore of 0.8 m, is 1.3 m3."""

ORDINARY_VALUES = (1e-4, 1e7)
"""Range of the largest absolute value of an MR that is left as it is; elastix fails at
1e12."""


def require_patient_size(volume: Volume, *, what: str) -> None:
    """Raise unless an image is no larger than a patient.

    Raises:
        ImageContentError: It spans more than `LARGEST_EXTENT_M3`.
    """
    extent = volume.grid.extent
    if math.prod(extent) / 1e9 > LARGEST_EXTENT_M3:
        spans = " x ".join(f"{length:.0f}" for length in extent)
        raise ImageContentError(
            f"{what} spans {spans} mm, more than any patient; check its spacing"
        )


def scale_extreme_values(mr: Volume) -> Volume:
    """Return an MR whose values are neither huge nor tiny, for computing with it.

    Extreme values are multiplied by a power of two, which loses no precision; an MR
    with ordinary values is returned as it is.
    """
    largest = max(abs(float(mr.array.max())), abs(float(mr.array.min())))
    if not largest or ORDINARY_VALUES[0] <= largest <= ORDINARY_VALUES[1]:
        return mr
    exponent = 10 - math.frexp(largest)[1]
    return mr.with_array(
        np.ldexp(mr.array.astype(np.float64), exponent).astype(np.float32)
    )
