"""Colours as DICOM stores them: CIELab in three unsigned 16-bit integers.

PS3.3 C.10.7.1.1 takes CIELab from the ICC's connection space, whose white is D50. What
reads segmentations (PixelMed, dcmqi and 3D Slicer, dcmjs, highdicom) converts with
sRGB's own white, D65; so does this, so that viewers show the colours that were chosen.
"""

from __future__ import annotations

import numpy as np

_XYZ_FROM_RGB = np.array([
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
])  # fmt: skip
"""Linear sRGB to XYZ (IEC 61966-2-1)."""

_WHITE = np.array([0.95047, 1.0, 1.08883])
"""D65, sRGB's white point."""


def cielab_of(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return an sRGB colour, 0 to 255, as Recommended Display CIELab Value.

    L* from 0 to 100 is scaled to 0..65535, a* and b* from -128 to 127 likewise
    (PS3.3 C.10.7.1.1).
    """
    share = np.array(colour) / 255.0
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    x, y, z = _lab_function(_XYZ_FROM_RGB @ linear / _WHITE)
    light, green_red, blue_yellow = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return (
        _scale(light / 100),
        _scale((green_red + 128) / 255),
        _scale((blue_yellow + 128) / 255),
    )


def _lab_function(ratio: np.ndarray) -> np.ndarray:
    limit = (6 / 29) ** 3
    return np.where(ratio > limit, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)


def _scale(share: float) -> int:
    return round(float(np.clip(share, 0.0, 1.0)) * 0xFFFF)
