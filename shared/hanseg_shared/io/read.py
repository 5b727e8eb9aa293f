"""Images read from files, by the role they play.

The header is checked first; then voxels are decoded in one pass, by the same code
that checks a case before it is accepted, straight into the array that is returned.
ITK says where voxels lie (see `header`), but does not decode them: its readers give
a cut-off file back as if it were whole, the rest zeros or whatever the memory held.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.body import BLANK_HU
from hanseg_shared.io.coarse import Sampler
from hanseg_shared.io.content import measure, pieces_of, require_ct, require_mr
from hanseg_shared.io.extent import require_patient_sized
from hanseg_shared.io.header import ImageHeader, read_header
from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
from hanseg_shared.io.parsed_header import naming
from hanseg_shared.io.stream import values
from hanseg_shared.volume import Volume

_MAX_LABEL = 255

Flat = npt.NDArray[np.generic]


def read_ct(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return a CT in Hounsfield units, as int16 (fractions are rounded).

    NaN outside the patient is padding and becomes air.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be used as a CT; the subclasses say why.
    """
    path = Path(path)
    header = _volume_header(path, limits)
    array = np.empty(header.layout.voxels, dtype=np.int16)
    with naming(path):
        sampler = Sampler(header.grid)
        pieces = sampler.watch(_round_into(array, values(path, header.layout)))
        require_ct(measure(pieces, voxels=array.size), sampler)
    return _volume(array, header)


def read_mr(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return an MR in its own arbitrary units, as float32.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be used as an MR; the subclasses say why.
    """
    path = Path(path)
    header = _volume_header(path, limits)
    array = np.empty(header.layout.voxels, dtype=np.float32)
    with naming(path):
        pieces = _copy_into(array, values(path, header.layout))
        require_mr(measure(pieces, voxels=array.size))
    return _volume(array, header)


def read_registered_mr(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return an MR on the grid of a CT, as a registration wrote it, as float32.

    It may be of one value, which `read_mr` refuses: a pose that was rejected can put
    the whole MR beside the CT.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be read; the subclasses say why.
    """
    image = read_image(path, limits=limits)
    return image.with_array(image.array.astype(np.float32, copy=False))


def read_image(path: Path | str, *, limits: Limits = DEFAULT_LIMITS) -> Volume:
    """Return any scalar volume with its values as they are, whatever they mean.

    The data type is the file's, or float32 where a NIfTI header scales the values.

    Args:
        path: A NIfTI, NRRD or MHA file.
        limits: Caps on what is read.

    Raises:
        ImageError: The file cannot be read; the subclasses say why.
    """
    path = Path(path)
    header = read_header(path, limits)
    layout = header.layout
    dtype = np.float32 if layout.is_scaled else layout.dtype.newbyteorder("=")
    array: Flat = np.empty(layout.voxels, dtype=dtype)
    with naming(path):
        for _ in _copy_into(array, values(path, layout)):
            pass
    return _volume(array, header)


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


def _volume_header(path: Path, limits: Limits) -> ImageHeader:
    header = read_header(path, limits)
    with naming(path):
        require_volume(header)
        require_patient_sized(header.grid, limits)
    return header


def _volume(array: Flat, header: ImageHeader) -> Volume:
    return Volume(array.reshape(header.grid.shape), header.grid)


def _round_into(target: Flat, pieces: Iterator[Flat]) -> Iterator[Flat]:
    """Round pieces into `target`, one after the other, and pass them on as they were.

    What does not fit wraps round: the caller looks at the pieces and refuses it.
    """
    with np.errstate(invalid="ignore"):
        start = 0
        for piece in pieces:
            end = start + piece.size
            whole = piece if piece.dtype.kind in "iu" else _whole(piece)
            target[start:end] = whole.astype(target.dtype)
            start = end
            yield piece


def _whole(piece: Flat) -> Flat:
    """Return values rounded, and air for NaN."""
    rounded: Flat = np.rint(piece)
    missing = np.isnan(rounded)
    return np.where(missing, BLANK_HU, rounded) if missing.any() else rounded


def _copy_into(target: Flat, pieces: Iterator[Flat]) -> Iterator[Flat]:
    """Copy pieces into `target`, one after the other, and pass them on."""
    start = 0
    for piece in pieces:
        end = start + piece.size
        target[start:end] = piece
        start = end
        yield piece


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
