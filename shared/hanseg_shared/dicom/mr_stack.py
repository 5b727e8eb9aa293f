"""Whether MR images that were read back are the registered MR, slice by slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import FileDataset

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.untrusted import reading
from hanseg_shared.errors import OutputError
from hanseg_shared.io.dicom.source import SeriesSource
from hanseg_shared.volume import Volume

MOST_APART_MM = 0.01
"""How far an image may lie from the CT's slice, and a pixel from its place."""

MOST_STEPS = 0.51
"""How far a value may be off, in steps of the stored numbers: it was rounded."""

MOST_SHARE = 1e-4
"""The same, as a share of the largest value: the arithmetic of 32-bit numbers."""

Values = npt.NDArray[np.float64]


def require_images(
    images: Sequence[FileDataset], volume: Volume, case: DicomCase
) -> None:
    """Raise unless images show a volume on the slices of the CT.

    Args:
        images: In any order.
        volume: The registered MR on the CT's grid.
        case: Has the CT.

    Raises:
        OutputError: One is missing, lies elsewhere or shows something else.
    """
    ct = case.source.ct
    ct.grid.require_same(volume.grid, what="the registered MR")
    if len(images) != len(ct.slices):
        raise OutputError(
            f"there are {len(images)} images for the {len(ct.slices)} slices of the CT"
        )
    with reading("an MR image"):
        _require_one_series(images)
        ordered = sorted(images, key=lambda each: _depth_mm(each, ct))
        numbers = [int(each.InstanceNumber) for each in ordered]
        if numbers != sorted(set(numbers)):
            raise OutputError(
                "InstanceNumber (0020,0013) does not ascend with the slices"
            )
        largest = float(np.abs(volume.array).max())
        for index, image in enumerate(ordered):
            _require_plane(image, ct, index)
            _require_values(image, _slice_of(volume, ct, index), index, largest)


def _require_one_series(images: Sequence[FileDataset]) -> None:
    if len({str(each.SeriesInstanceUID) for each in images}) != 1:
        raise OutputError("the images have several SeriesInstanceUIDs (0020,000E)")
    if len({str(each.SOPInstanceUID) for each in images}) != len(images):
        raise OutputError("two images have one SOPInstanceUID (0008,0018)")


def _numbers(image: FileDataset, keyword: str) -> Values:
    return np.array([float(each) for each in image[keyword].value])


def _depth_mm(image: FileDataset, ct: SeriesSource) -> float:
    normal = np.array(ct.direction)[:, 2]
    return float(_numbers(image, "ImagePositionPatient") @ normal)


def _require_plane(image: FileDataset, ct: SeriesSource, index: int) -> None:
    """Raise unless an image's pixels lie where those of the CT's slice do."""
    if (int(image.Rows), int(image.Columns)) != (ct.rows, ct.columns):
        raise OutputError(f"the image of slice {index} has another size than the CT's")
    down, along = _numbers(image, "PixelSpacing")
    cosines = _numbers(image, "ImageOrientationPatient").reshape(2, 3)
    first = _numbers(image, "ImagePositionPatient")
    steps = cosines * [[along], [down]]
    last = first + steps[0] * (ct.columns - 1) + steps[1] * (ct.rows - 1)
    axes = np.array(ct.direction) * ct.spacing
    wanted = np.array(ct.slices[index].position)
    opposite = wanted + axes[:, 0] * (ct.columns - 1) + axes[:, 1] * (ct.rows - 1)
    right = first + steps[0] * (ct.columns - 1)
    aside = wanted + axes[:, 0] * (ct.columns - 1)
    differences = np.array([first - wanted, last - opposite, right - aside])
    apart = float(np.linalg.norm(differences, axis=1).max())
    if not apart <= MOST_APART_MM:
        raise OutputError(
            f"the image of slice {index} lies {apart:.3g} mm from the CT's slice, and "
            f"at most {MOST_APART_MM} is allowed"
        )


def _slice_of(volume: Volume, ct: SeriesSource, index: int) -> Values:
    """Return a volume where a slice of the CT is, between two of its own if need be."""
    place = float(volume.grid.world_to_index(ct.slices[index].position)[2])
    place = min(max(place, 0.0), volume.grid.size[2] - 1.0)
    below = int(place)
    above = min(below + 1, volume.grid.size[2] - 1)
    share = place - below
    near, far = (volume.array[k].astype(np.float64) for k in (below, above))
    return np.asarray((1.0 - share) * near + share * far)


def _require_values(
    image: FileDataset, wanted: Values, index: int, largest: float
) -> None:
    slope = float(image.get("RescaleSlope", 1.0))
    intercept = float(image.get("RescaleIntercept", 0.0))
    kind = np.dtype("<i2" if int(image.PixelRepresentation) else "<u2")
    if int(image.BitsAllocated) != 16 or len(image.PixelData) < wanted.size * 2:
        raise OutputError(f"the image of slice {index} has too few pixels")
    stored = np.frombuffer(image.PixelData, dtype=kind, count=wanted.size)
    found = stored.reshape(wanted.shape) * slope + intercept
    off = float(np.abs(found - wanted).max())
    limit = MOST_STEPS * abs(slope) + MOST_SHARE * largest
    if not off <= limit:
        raise OutputError(
            f"the image of slice {index} differs from the registered MR by up to "
            f"{off:.4g}, and at most {limit:.2g} is allowed"
        )
