"""Volumes written to files, whole or not at all."""

from __future__ import annotations

import gzip
import math
import shutil
import tempfile
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from hanseg_shared.errors import OptionError
from hanseg_shared.io.header import read_header
from hanseg_shared.io.limits import Limits
from hanseg_shared.itk import to_image
from hanseg_shared.volume import Volume

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")
"""What can be written, by the end of the file's name."""

_COMPRESSION_LEVEL = 1
"""The fastest: levels above it cost several times more for some per cent."""

_COPIED_BYTES = 1 << 20

_OWN_FILES = Limits(
    max_voxels=1 << 40,
    max_axis=1 << 20,
    max_file_bytes=1 << 42,
    min_spacing_mm=0.0,
    max_spacing_mm=math.inf,
    max_origin_mm=math.inf,
)
"""No caps: what is written here was read, or made, within them."""


def write_volume(volume: Volume, path: Path | str) -> Path:
    """Write a volume, compressed, and return its path.

    The file appears under its name only once it is complete, and once its header has
    been read back and gives the volume's grid.

    Args:
        volume: What is written; booleans become uint8.
        path: Ends in one of `SUFFIXES`; an existing file is replaced.

    Raises:
        OptionError: The name's end is not known.
        GridMismatchError: The format cannot hold the volume's grid.
        OSError: The folder cannot be written.
    """
    path = Path(path)
    suffix = _suffix(path)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=path.parent) as folder:
        draft = _draft(volume, Path(folder), suffix)
        written = read_header(draft, _OWN_FILES).grid
        volume.grid.require_same(written, what=f"what was written to {path.name}")
        draft.replace(path)
    return path


def _suffix(path: Path) -> str:
    for suffix in SUFFIXES:
        if path.name.lower().endswith(suffix):
            return suffix
    raise OptionError(
        f"{path.name}: an image's name must end in one of {', '.join(SUFFIXES)}"
    )


def _draft(volume: Volume, folder: Path, suffix: str) -> Path:
    """Write the volume somewhere in `folder` and return the file."""
    if suffix != ".nii.gz":
        return _write(volume, folder / f"image{suffix}")
    plain = _write(volume, folder / "image.nii")
    return _gzip(plain, folder / "image.nii.gz")


def _write(volume: Volume, path: Path) -> Path:
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(path))
    writer.SetUseCompression(path.suffix != ".nii")
    writer.SetCompressionLevel(_COMPRESSION_LEVEL)
    try:
        writer.Execute(to_image(volume))
    except RuntimeError as error:
        raise OSError(f"{path.name} could not be written: {error}") from error
    return path


def _gzip(plain: Path, path: Path) -> Path:
    """Compress a file, without name or time, so that equal volumes give equal bytes.

    ITK's NIfTI writer always compresses at level 6: four times slower.
    """
    with plain.open("rb") as source, path.open("wb") as target:
        packer = gzip.GzipFile("", "wb", _COMPRESSION_LEVEL, target, mtime=0)
        with packer:
            shutil.copyfileobj(source, packer, _COPIED_BYTES)
    return path
