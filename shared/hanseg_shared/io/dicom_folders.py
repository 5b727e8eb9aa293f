"""Folders of DICOM files in a folder of cases: which of them are one case."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from hanseg_shared.io.formats import is_dicom
from hanseg_shared.io.names import NameRole, parse_name

_HEAD_BYTES = 132
_ROLES = {NameRole.CT, NameRole.MR, NameRole.OTHER_MR}


def is_dicom_file(path: Path) -> bool:
    """Whether a file begins as a DICOM file does, whatever it is called."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(_HEAD_BYTES))
    except OSError:
        return False


def find_case_folders(root: Path, folders: Collection[Path]) -> list[Path]:
    """Return the folders that are one case each, given those that hold DICOM files.

    A folder directly in the root is a case with all the DICOM below it, as archives
    export a patient in folders of studies and series. The root is a case itself if
    files lie in it, or if the folders in it are called as images are (CT, MR).

    Args:
        root: The folder that is searched.
        folders: Those in it, and itself, that hold DICOM files directly.
    """
    tops = list(dict.fromkeys(_top(root, folder) for folder in folders))
    inner = [top for top in tops if top != root]
    if not inner or (len(inner) > 1 and _are_roles(inner)):
        return tops[:1] and [root]
    return inner


def _top(root: Path, folder: Path) -> Path:
    if folder == root:
        return root
    return root / folder.relative_to(root).parts[0]


def _are_roles(folders: Iterable[Path]) -> bool:
    return all(parse_name(folder.name).role in _ROLES for folder in folders)
