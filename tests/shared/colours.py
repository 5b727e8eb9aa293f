"""How different two colours look, and to whom: CIEDE2000 between sRGB colours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]

WHITE = np.array([0.95047, 1.0, 1.08883])
"""D65, in XYZ."""

TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
"""From linear sRGB (IEC 61966-2-1)."""


SEEN_WITHOUT = {
    "red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""How linear sRGB looks without one kind of cones (prot-, deuter- and tritanopia;
Machado, Oliveira and Fernandes 2009, doi 10.1109/TVCG.2009.113, severity 1)."""


def lab(colour: Colour) -> npt.NDArray[np.float64]:
    """Return an sRGB colour, 0 to 255, in CIELAB."""
    return _lab(_linear(colour))


def lab_seen_without(cones: str, colour: Colour) -> npt.NDArray[np.float64]:
    """Return how an sRGB colour looks without one kind of cones, in CIELAB."""
    return _lab(np.clip(np.array(SEEN_WITHOUT[cones]) @ _linear(colour), 0.0, 1.0))


def _linear(colour: Colour) -> npt.NDArray[np.float64]:
    share = np.array(colour) / 255.0
    return np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)


def _lab(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    xyz = TO_XYZ @ linear / WHITE
    cut = 216 / 24389
    f = np.where(xyz > cut, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def ciede2000(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Return the difference of two CIELAB colours; about 1 is just noticeable.

    Sharma, Wu and Dalal 2005, doi 10.1002/col.20070.
    """
    (l1, a1, b1), (l2, a2, b2) = np.asarray(one), np.asarray(other)
    mean = (np.hypot(a1, b1) + np.hypot(a2, b2)) / 2
    stretch = 1.5 - 0.5 * np.sqrt(mean**7 / (mean**7 + 25.0**7))
    c1, c2 = np.hypot(a1 * stretch, b1), np.hypot(a2 * stretch, b2)
    h1 = np.degrees(np.arctan2(b1, a1 * stretch)) % 360
    h2 = np.degrees(np.arctan2(b2, a2 * stretch)) % 360
    grey = c1 * c2 == 0
    turn = 0.0 if grey else (h2 - h1 + 180) % 360 - 180
    dl, dc = l2 - l1, c2 - c1
    dh = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2))
    lightness, c = (l1 + l2) / 2, (c1 + c2) / 2
    h = h1 + h2 if grey else (h1 + turn / 2) % 360
    t = (
        1
        - 0.17 * np.cos(np.radians(h - 30))
        + 0.24 * np.cos(np.radians(2 * h))
        + 0.32 * np.cos(np.radians(3 * h + 6))
        - 0.20 * np.cos(np.radians(4 * h - 63))
    )
    sl = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    sc, sh = 1 + 0.045 * c, 1 + 0.015 * c * t
    twist = 60 * np.exp(-(((h - 275) / 25) ** 2))
    rt = -np.sin(np.radians(twist)) * 2 * np.sqrt(c**7 / (c**7 + 25.0**7))
    parts = dl / sl, dc / sc, dh / sh
    return float(np.sqrt(sum(p * p for p in parts) + rt * parts[1] * parts[2]))
