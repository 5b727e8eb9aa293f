"""The voxels of a stack of slices: stored values read, rescaled, padding replaced.

Values are int16 where all are whole numbers that fit, else float32. One slice is in
memory beside the volume.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.frame_reader import (
    FrameReader,
    Padded,
    Stored,
    open_frames,
)
from hanseg_shared.io.dicom.frames import Frame, Rescale
from hanseg_shared.io.dicom.geometry import Stack
from hanseg_shared.io.dicom.padding import Padding
from hanseg_shared.io.dicom.pixel_format import PixelFormat
from hanseg_shared.io.dicom.sop_classes import Modality

_INT16 = np.iinfo(np.int16)
_AS_STORED = Rescale(1.0, 0.0)

_NO_PADDING = (
    f"{describe_tag('PixelPaddingValue')} is a value that tissue has, strewn over the "
    "image; it was not taken for padding"
)

Plane = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Voxels:
    """The values of slices, ascending along z.

    Attributes:
        array: Of shape (slices, rows, columns), int16 or float32.
        padded: Whether padding values were replaced.
        remarks: What a person should know of the values.
    """

    array: npt.NDArray[np.generic]
    padded: bool
    remarks: tuple[str, ...] = ()


def read_voxels(stack: Stack, modality: Modality) -> Voxels:
    """Return the values of a stack's slices.

    Padding becomes air (`hanseg_shared.io.body.BLANK_HU`) in a CT, unless it is no
    padding by the looks of it. In an MR it becomes the lowest value that was measured.

    Args:
        stack: Slices that all have pixels of one size.
        modality: CT values are HU; an MR's may lack a rescale and stay as stored then.

    Raises:
        ImageError: Pixels are missing, damaged or cut off.
    """
    with open_frames() as reader:
        return _fill(stack.frames, reader, modality)


def _fill(frames: tuple[Frame, ...], reader: FrameReader, modality: Modality) -> Voxels:
    first = PixelFormat.of(frames[0].header.attributes)
    shape = (len(frames), first.rows, first.columns)
    array: npt.NDArray[np.generic] = np.empty(shape, dtype=np.int16)
    padding = Padding((first.rows, first.columns))
    lowest = np.inf
    for k, frame in enumerate(frames):
        stored, padded = reader.read(frame)
        values = _rescale(stored, frame.rescale or _AS_STORED)
        if array.dtype == np.int16 and not _fits_int16(values, padded):
            array = array.astype(np.float32)
        measured = values if padded is None else values[~padded]
        if measured.size:
            lowest = min(lowest, float(measured.min()))
        with np.errstate(invalid="ignore"):  # padding need not fit
            array[k] = values
        if padded is not None:
            padding.add(k, padded)
    if not padding:
        return Voxels(array, padded=False)
    if modality == "CT" and padding.is_measured(array):
        return Voxels(array, padded=False, remarks=(_NO_PADDING,))
    padding.fill(array, _background(modality, lowest))
    return Voxels(array, padded=True)


def _background(modality: Modality, lowest: float) -> float:
    if modality == "CT":
        from hanseg_shared.io.body import BLANK_HU  # loads scipy

        return BLANK_HU
    return lowest if lowest < np.inf else 0


def _rescale(stored: Stored, rescale: Rescale) -> Plane:
    slope, intercept = rescale.slope, rescale.intercept
    if slope == int(slope) and intercept == int(intercept) and _is_small(rescale):
        wide = stored.astype(np.int64 if stored.dtype.itemsize > 2 else np.int32)
        return wide * int(slope) + int(intercept)
    return (stored * np.float64(slope) + intercept).astype(np.float32)


def _is_small(rescale: Rescale) -> bool:
    """Whether integers of 32 bits hold a rescaled value of 16 bits."""
    return abs(rescale.slope) < 1 << 14 and abs(rescale.intercept) < 1 << 29


def _fits_int16(values: Plane, padded: Padded | None) -> bool:
    if values.dtype.kind == "f":
        return False
    measured = values if padded is None else values[~padded]
    if not measured.size:
        return True
    return bool(measured.min() >= _INT16.min and measured.max() <= _INT16.max)
