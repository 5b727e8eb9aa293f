"""The registered MR as a series of DICOM images in the CT's frame of reference.

One classic MR image for each slice of the CT, in its place, so that a viewer or a TPS
that has no use for a registration object shows CT and MR on top of each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.references import list_instances, make_code
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.source import SeriesSource, SliceSource
from hanseg_shared.pictures.planes import Pixels
from hanseg_shared.volume import Volume, Voxels

SERIES_NUMBER = 9004

BODY_PART = "HEADNECK"
"""Body Part Examined (0018,0015): without it, a laterality would be asked for."""

DESCRIPTION = "MR registered to the planning CT"

FINE_RANGE = 1000.0
"""An MR whose values span more than this is rounded to whole numbers, as scanners
write them; one that spans less would lose grey levels, and is rescaled."""

MOST_LEVELS = 65535
"""Of 16 bits."""

IN_PLANE = 1e-3
"""A slice this near to a plane of the volume, as a share of their distance, is it."""

WINDOW_PERCENT = (1.0, 99.0)
"""Percentiles of the values that are black and white when a viewer opens it."""


def write_mr_series(folder: Path, volume: Volume, *, case: DicomCase) -> list[Path]:
    """Write the registered MR, one file a slice of the CT's series.

    Where the CT's slices are uneven, planes are written only where it has slices.

    Args:
        folder: Where; created if need be.
        volume: The MR on the CT's grid.
        case: Whose.

    Returns:
        ``0001.dcm`` and so on, from the feet to the head of a CT that is stored so.

    Raises:
        GridMismatchError: The volume is not on the CT's grid.
    """
    ct = case.source.ct
    ct.grid.require_same(volume.grid, what="the registered MR")
    folder.mkdir(parents=True, exist_ok=True)
    levels = GreyLevels.of(volume.array)
    template = _start(case, levels)
    paths = []
    for number, each in enumerate(ct.slices, start=1):
        image = levels.encode(_plane(volume, ct.grid, each))
        path = folder / f"{number:04d}.dcm"
        _fill(template, image, each, number=number, uid=case.uid("mr", str(number)))
        template.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


@dataclass(frozen=True, slots=True)
class GreyLevels:
    """How an MR's values become whole numbers of 16 bits.

    Attributes:
        slope: Rescale Slope (0028,1053): value = number x slope + intercept.
        intercept: Rescale Intercept (0028,1052).
        signed: Whether the numbers have a sign.
        window: Centre and width that a viewer shows at first, in values; None where
            the width would be less than 1 (PS3.3 C.11.2.1.2).
    """

    slope: float
    intercept: float
    signed: bool
    window: tuple[float, float] | None

    @classmethod
    def of(cls, array: Voxels) -> GreyLevels:
        """Choose whole numbers that keep an MR's grey levels."""
        low, high = float(array.min()), float(array.max())
        window = _find_window(array)
        whole = np.issubdtype(array.dtype, np.integer)
        if whole or high - low >= FINE_RANGE:
            if low >= 0.0 and high <= MOST_LEVELS:
                return cls(1.0, 0.0, signed=False, window=window)
            if low >= -32768.0 and high <= 32767.0:
                return cls(1.0, 0.0, signed=True, window=window)
        slope = _as_written(max(high - low, 1e-12) / MOST_LEVELS)
        return cls(slope, _as_written(low), signed=False, window=window)

    @property
    def rescaled(self) -> bool:
        """Whether the numbers are not the values themselves."""
        return (self.slope, self.intercept) != (1.0, 0.0)

    def encode(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return values as numbers of 16 bits."""
        numbers = np.rint((values.astype(np.float64) - self.intercept) / self.slope)
        kind = np.dtype("<i2" if self.signed else "<u2")
        limits = np.iinfo(kind)
        return np.clip(numbers, limits.min, limits.max).astype(kind)


def _find_window(array: Voxels) -> tuple[float, float] | None:
    some = array[::2, ::4, ::4].astype(np.float32)
    black, white = (float(value) for value in np.percentile(some, WINDOW_PERCENT))
    return ((black + white) / 2.0, white - black) if white - black >= 1.0 else None


def _as_written(value: float) -> float:
    """Return a number as it reads back from 16 letters."""
    return float(format_number_as_ds(value))


def _plane(volume: Volume, grid: Grid, each: SliceSource) -> Pixels:
    """Return the volume where a slice of the series is, shape ``(rows, columns)``."""
    place = float(grid.world_to_index(each.position)[2])
    place = min(max(place, 0.0), grid.size[2] - 1.0)
    below = int(np.floor(place))
    share = place - below
    if share < IN_PLANE or below + 1 == grid.size[2]:
        return volume.array[below]
    if share > 1.0 - IN_PLANE:
        return volume.array[below + 1]
    near, far = (volume.array[k].astype(np.float32) for k in (below, below + 1))
    return near + np.float32(share) * (far - near)


def _start(case: DicomCase, levels: GreyLevels) -> FileDataset:
    """Return what all images of the series have in common."""
    ct = case.source.ct
    dataset = case.start(
        MRImageStorage,
        modality="MR",
        series="mr",
        series_number=SERIES_NUMBER,
        description=DESCRIPTION,
    )
    dataset.BodyPartExamined = BODY_PART
    dataset.PatientPosition = ct.patient_position
    _add_sequence(dataset)
    _add_derivation(dataset, case.source.mr)
    _add_plane(dataset, ct)
    _add_pixels(dataset, ct, levels)
    return dataset


def _add_sequence(dataset: FileDataset) -> None:
    """Add the type 1 and 2 attributes of the MR Image module (PS3.3 C.8.3.1).

    How the original was acquired stands in its own headers.
    """
    dataset.ScanningSequence = "RM"
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = ""
    dataset.RepetitionTime = None
    dataset.EchoTime = None
    dataset.EchoTrainLength = None


def _add_derivation(dataset: FileDataset, mr: SeriesSource | None) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    dataset.DerivationDescription = (
        "MR moved onto the planning CT by a registration and resampled on its grid"
    )
    resampling = make_code("113085", "Spatial resampling")
    dataset.DerivationCodeSequence = Sequence([resampling])
    if mr is not None:
        dataset.SourceImageSequence = Sequence(list_instances(mr))


def _add_plane(dataset: FileDataset, ct: SeriesSource) -> None:
    axes = np.array(ct.direction)
    dataset.ImageOrientationPatient = _texts([*axes[:, 0], *axes[:, 1]])
    dataset.PixelSpacing = _texts([ct.spacing[1], ct.spacing[0]])
    dataset.SliceThickness = None
    if ct.even:
        dataset.SliceThickness = _text(ct.spacing[2])
        dataset.SpacingBetweenSlices = _text(ct.spacing[2])


def _add_pixels(dataset: FileDataset, ct: SeriesSource, levels: GreyLevels) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = ct.rows, ct.columns
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(levels.signed)
    if levels.window is not None:
        dataset.WindowCenter, dataset.WindowWidth = _texts(levels.window)
    if levels.rescaled:
        dataset.RescaleSlope = _text(levels.slope)
        dataset.RescaleIntercept = _text(levels.intercept)
        dataset.RescaleType = "US"


def _fill(
    dataset: FileDataset,
    image: npt.NDArray[np.generic],
    each: SliceSource,
    *,
    number: int,
    uid: str,
) -> None:
    """Make the common dataset the image of one slice."""
    dataset.SOPInstanceUID = uid
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(uid)
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = _texts(each.position)
    dataset.PixelData = image.tobytes()


def _texts(values: Iterable[float]) -> list[str]:
    return [_text(value) for value in values]


def _text(value: float) -> str:
    return format_number_as_ds(float(value) + 0.0)
