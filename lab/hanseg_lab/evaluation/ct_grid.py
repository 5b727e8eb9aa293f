"""The grid of a CT that contours are drawn on: of a file, or of DICOM slices."""

from __future__ import annotations

from pathlib import Path

from hanseg_shared.errors import InputError
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.choice import choose_ct
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.series import group_series
from hanseg_shared.io.dicom.sop_classes import MODALITIES
from hanseg_shared.io.dicom.sorting import sort_files
from hanseg_shared.io.formats import dicom_kind, start_of
from hanseg_shared.io.header import read_header
from hanseg_shared.io.limits import DEFAULT_LIMITS
from hanseg_shared.io.names import image_stem, natural, normalise, parse_name


def find_ct(path: Path, case: str, *, single: bool) -> Path:
    """Return the CT of a case: a file, or a folder with its DICOM slices.

    Args:
        path: What was given: the CT itself if there is one case only, or else a folder
            with a file or a folder a case.
        case: The case's name.
        single: Whether there is one case only.

    Raises:
        InputError: None, or more than one, is the case's.
    """
    if path.is_dir():
        found = [each for each in sorted(path.iterdir()) if _is_of(each, case)]
        if len(found) == 1:
            return found[0]
        if len(found) > 1:
            names = ", ".join(each.name for each in found)
            raise InputError(f"{path}: which is the CT of {case}: {names}?")
    if single:
        return path
    raise InputError(
        f"{path}: there is no CT of {case}; with several cases --ct is a folder with a "
        "file or a folder of DICOM slices a case, called as the cases are"
    )


def _is_of(path: Path, case: str) -> bool:
    if path.is_dir():
        return normalise(path.name) == case
    stem = image_stem(path)
    return stem is not None and case in {stem, parse_name(stem).case}


def read_ct(path: Path) -> tuple[Grid, str | None]:
    """Return a CT's grid, and its frame of reference UID if it is DICOM.

    Raises:
        ImageError: It cannot be read, or makes no regular grid.
    """
    if path.is_file():
        return read_header(path).grid, None
    files = [each for each in sorted(path.rglob("*")) if _is_dicom(each)]
    if not files:
        raise InputError(f"{path}: there are no DICOM files in it")
    images = sort_files(
        [
            DicomFile(each, str(each.relative_to(path)))
            for each in sorted(files, key=lambda file: natural(file.name))
        ]
    ).images
    ct = [each for each in images if MODALITIES.get(each.sop_class) == "CT"]
    if not ct:
        raise InputError(f"{path}: there are no CT images among its DICOM files")
    usable, _ = choose_ct(group_series(ct), None, DEFAULT_LIMITS)
    first = usable.stack.frames[0].header
    return usable.stack.grid, first.attributes.uid("FrameOfReferenceUID")


def _is_dicom(path: Path) -> bool:
    return path.is_file() and dicom_kind(start_of(path)) is not None
