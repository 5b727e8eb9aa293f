"""A small label map with organs of known places, and files made of masks."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hanseg_shared.grid import Grid
from hanseg_shared.io.write import write_volume
from hanseg_shared.organs import organ
from hanseg_shared.volume import Mask, Volume

GRID = Grid((24, 20, 12), (1.0, 1.0, 2.0))

BOXES = {
    "Brainstem": (slice(3, 9), slice(8, 14), slice(9, 15)),
    "Parotid_L": (slice(3, 9), slice(8, 14), slice(17, 22)),
    "Parotid_R": (slice(3, 9), slice(8, 14), slice(2, 7)),
}
"""Where each organ is, as slices z, y, x."""


def box(z: slice, y: slice, x: slice) -> Mask:
    """Return a mask of the whole grid that is a box."""
    mask = np.zeros(GRID.shape, dtype=np.bool_)
    mask[z, y, x] = True
    return mask


def mask_of(name: str) -> Mask:
    """Return an organ's mask on the whole grid."""
    return box(*BOXES[name])


def make_labels(masks: Mapping[str, Mask] | None = None) -> Volume:
    """Return a label map of masks; of the organs as they are by default."""
    array = np.zeros(GRID.shape, dtype=np.uint8)
    for name, mask in (masks or {n: mask_of(n) for n in BOXES}).items():
        array[mask] = organ(name).label
    return Volume(array, GRID)


def write_labels(path: Path, masks: Mapping[str, Mask] | None = None) -> Path:
    """Write a label map; its format is that of its name."""
    write_volume(make_labels(masks), path)
    return path


def pack(mask: Mask) -> bytes:
    """Return a mask as the viewer sends it."""
    return gzip.compress(mask.astype(np.uint8).tobytes())


SMALLER = box(slice(3, 9), slice(8, 14), slice(9, 14))
"""The brainstem without its last column of 6 x 6 voxels."""
