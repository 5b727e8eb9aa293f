"""The images that the viewer shows: on the CT's grid, small, quick to unpack.

The CT keeps its Hounsfield units, as int16. The MR has no unit: it is told in 255
steps, and 0 is what its scan does not show.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.results.mask_files import COMPRESSION_LEVEL
from hanseg_shared.errors import StoreError
from hanseg_shared.itk import to_image
from hanseg_shared.volume import Volume

LOWEST_HU = -1024
"""Air; what scanners write below it is padding, whose noise only costs space."""

DARKEST, BRIGHTEST = 0.5, 99.5
"""Percentiles of the MR within its field of view that are shown black and white."""


def write_view_ct(path: Path, ct: Volume) -> None:
    """Write a CT as int16, in HU.

    Raises:
        StoreError: It cannot be written.
    """
    highest = np.iinfo(np.int16).max
    hounsfield = np.clip(np.rint(ct.array), LOWEST_HU, highest).astype(np.int16)
    _write(path, ct.with_array(hounsfield))


def write_view_mr(path: Path, mr: Volume, field_of_view: Volume) -> None:
    """Write a registered MR as uint8: 1 to 255 in its field of view, 0 outside.

    Raises:
        GridMismatchError: Its field of view lies on another grid.
        StoreError: It cannot be written.
    """
    field_of_view.grid.require_same(mr.grid, what="the field of view")
    inside = field_of_view.array > 0
    grey = np.zeros(mr.array.shape, dtype=np.uint8)
    values = mr.array[inside].astype(np.float32)
    if values.size:
        low, high = np.percentile(values, (DARKEST, BRIGHTEST))
        steps = (values - low) / max(high - low, np.finfo(np.float32).tiny) * 254.0
        grey[inside] = 1 + np.clip(np.rint(steps), 0, 254).astype(np.uint8)
    _write(path, mr.with_array(grey))


def _write(path: Path, volume: Volume) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        sitk.WriteImage(to_image(volume), path, True, COMPRESSION_LEVEL)
    except RuntimeError as error:
        raise StoreError(f"{path.name} could not be written: {error}") from error
