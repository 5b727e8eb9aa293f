"""A folder of DICOM files packed for sending, without a DICOM library."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

from hanseg_shared.errors import NotAnImageError
from hanseg_shared.io.formats import is_dicom

_HEAD_BYTES = 132
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip can hold: equal files give equal bytes."""

_PLAIN_FILE = 0o100644 << 16


def pack_folder(folder: Path, target: Path) -> int:
    """Write the DICOM files below a folder to a new zip archive, uncompressed.

    Equal folders give equal archives. Links to folders are not followed, hidden folders
    not searched, and files that do not begin as DICOM (PS3.10 7.1) left out.

    Args:
        folder: Searched with the folders in it.
        target: The archive; replaced if it exists.

    Returns:
        How many files it holds.

    Raises:
        NotAnImageError: There is no DICOM file in the folder.
        OSError: A file cannot be read, or the archive not written.
    """
    files = [path for path in _walk(folder) if path != target and _is_dicom(path)]
    if not files:
        raise NotAnImageError(
            f"{folder}: the folder holds no DICOM file; give the folder of a DICOM "
            "series, or a NIfTI, NRRD or MHA file"
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            info = zipfile.ZipInfo(_name(path, folder), _EPOCH)
            info.external_attr = _PLAIN_FILE
            info.file_size = path.stat().st_size
            with path.open("rb") as source, archive.open(info, "w") as entry:
                while piece := source.read(1 << 20):
                    entry.write(piece)
    return len(files)


def _name(path: Path, folder: Path) -> str:
    """Return a file's path within the folder; letters that are none are escaped."""
    name = path.relative_to(folder).as_posix()
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def has_dicom(folder: Path) -> bool:
    """Return whether a folder, or one in it, holds a DICOM file."""
    return any(_is_dicom(path) for path in _walk(folder))


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return is_dicom(file.read(_HEAD_BYTES))
