"""The caller's files: looked at before anything is sent, and made ready for sending."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from hanseg_shared.client.dicom_folder import has_dicom, pack_folder
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.file_hash import file_sha256
from hanseg_shared.io.formats import is_dicom_input
from hanseg_shared.io.parsed_header import check_header


def check_headers(ct: Path, mr: Path | None) -> None:
    """Refuse files that are no usable images, so that each is named by its own path.

    The service looks closer; here our own parsers do, which need no ITK. DICOM is left
    to the service.

    Raises:
        InputError: A file is no usable image.
    """
    for path in (ct, mr):
        if path is not None and not is_dicom(path):
            check_header(path)


def is_dicom(path: Path) -> bool:
    """Whether a file or folder is sent as DICOM; a zip archive counts as one."""
    return has_dicom(path) if path.is_dir() else is_dicom_input(path)


def require_dicom(path: Path, *, because: str) -> None:
    """Raise unless a file or folder is DICOM.

    Args:
        path: A file or folder.
        because: What asks for it, such as ``--dicom``.

    Raises:
        OptionError: It is not.
    """
    if not is_dicom(path):
        raise OptionError(
            f"{because} needs DICOM, and {path} is none; give the folder or zip "
            "archive of a DICOM series"
        )


@contextlib.contextmanager
def open_part(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be sent; a folder of DICOM is packed for that time.

    Raises:
        InputError: It cannot be read, or a folder holds no DICOM.
    """
    with contextlib.ExitStack() as held:
        with _naming(path):
            file = held.enter_context(_file_to_send(path, held).open("rb"))
        yield file


def sent_sha256(path: Path) -> str:
    """Return the SHA-256 of what is sent of a file or folder.

    Raises:
        InputError: It cannot be read, or a folder holds no DICOM.
    """
    with contextlib.ExitStack() as held, _naming(path):
        return file_sha256(_file_to_send(path, held))


def _file_to_send(path: Path, held: contextlib.ExitStack) -> Path:
    if not path.is_dir():
        return path
    scratch = held.enter_context(tempfile.TemporaryDirectory(prefix="hanseg-sent-"))
    packed = Path(scratch, "dicom.zip")
    pack_folder(path, packed)
    return packed


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
