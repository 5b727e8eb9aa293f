"""Images read from files, by the role they play.

The header is checked first, then the length of the voxels' stream, and only then are
voxels read, by SimpleITK.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.content import (
    Intensities,
    measure,
    pieces_of,
    require_ct,
    require_mr,
)
from hanseg_shared.io.header import ImageHeader, naming, opened_by_itk, read_header
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.io.stream import verify_stream
from hanseg_shared.itk import from_image
from hanseg_shared.volume import Volume

_MAX_LABEL = 255
_EVEN_PIECE = 1 << 22


def read_ct(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return a CT in Hounsfield units, as int16 (fractions are rounded).

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be used as a CT; the subclasses say why.
    """
    volume = _read_role(Path(path), limits, require_ct)
    return volume.with_array(_rounded(volume.array))


def read_mr(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return an MR in its own arbitrary units, as float32.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be used as an MR; the subclasses say why.
    """
    volume = _read_role(Path(path), limits, require_mr)
    return volume.with_array(volume.array.astype(np.float32, copy=False))


def read_image(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return any scalar volume with its values as they are, whatever they mean.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be read; the subclasses say why.
    """
    path = Path(path)
    return _voxels(path, read_header(path, limits))


def read_labels(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return a label map as uint8; 0 is background.

    Args:
        path: A NIfTI, NRRD or MHA file; HaN-Seg's `.seg.nrrd` too.
        limits: Caps on what is read.

    Raises:
        ImageContentError: A value is not a whole number from 0 to 255.
        ImageError: The file cannot be read; the subclasses say why.
    """
    volume = read_image(path, limits=limits)
    with naming(Path(path)):
        return volume.with_array(_labels(volume.array))


def read_mask(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return a mask as booleans.

    Args:
        path: A NIfTI, NRRD or MHA file that holds 0 and at most one other label.
        limits: Caps on what is read.

    Raises:
        ImageContentError: It holds several labels.
        ImageError: The file cannot be read; the subclasses say why.
    """
    volume = read_labels(path, limits=limits)
    labels = np.flatnonzero(np.bincount(volume.array.reshape(-1), minlength=2)[1:]) + 1
    if labels.size > 1:
        raise ImageContentError(
            f"{Path(path).name}: a mask holds one label, but this has {labels.size}: "
            f"{labels[:8].tolist()}"
        )
    return volume.with_array(volume.array != 0)


def require_volume(header: ImageHeader) -> None:
    """Refuse a single slice, which no volume method can work on.

    Raises:
        ImageContentError: The image has one voxel along an axis.
    """
    if min(header.layout.size) < 2:
        raise ImageContentError(
            f"the image is a single slice of {header.layout.size} voxels; send the "
            "whole scan"
        )


def _read_role(
    path: Path, limits: Limits, require: Callable[[Intensities], None]
) -> Volume:
    header = read_header(path, limits)
    with naming(path):
        require_volume(header)
    volume = _voxels(path, header)
    with naming(path):
        require(measure(pieces_of(volume.array), voxels=header.grid.voxels))
    return volume


def _voxels(path: Path, header: ImageHeader) -> Volume:
    with naming(path):
        verify_stream(path, header.layout)
        with opened_by_itk(path, header.format, header.layout.encoding) as reader:
            image = reader.Execute()
        volume = from_image(image)
    header.grid.require_same(volume.grid, what=path.name)
    return volume


def _rounded(array: npt.NDArray[np.generic]) -> npt.NDArray[np.int16]:
    """Return values, known to fit, as int16, without a second full-size float copy."""
    if not np.issubdtype(array.dtype, np.floating):
        return array.astype(np.int16, copy=False)
    rounded = np.empty(array.shape, dtype=np.int16)
    for plane, target in zip(array, rounded, strict=True):
        target[:] = np.rint(plane)
    return rounded


def _labels(array: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
    for piece in pieces_of(array):
        if not bool(np.isin(piece.min(), _WHOLE) and np.isin(piece.max(), _WHOLE)):
            raise _no_label(piece)
    labels = array.astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating) and not bool((labels == array).all()):
        raise ImageContentError("labels must be whole numbers; some are fractions")
    return labels


_WHOLE = np.arange(_MAX_LABEL + 1)


def _no_label(piece: npt.NDArray[np.generic]) -> ImageContentError:
    return ImageContentError(
        f"labels must be whole numbers from 0 to {_MAX_LABEL}, got values from "
        f"{piece.min()} to {piece.max()}"
    )
