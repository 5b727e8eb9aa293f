"""What can be said of the caller's files before anything is sent."""

from __future__ import annotations

from pathlib import Path

from hanseg_shared.io import read_header


def check_headers(ct: Path, mr: Path | None) -> None:
    """Read the images' headers, so that a bad file is named by its own path.

    Raises:
        InputError: A file is no usable image.
    """
    for path in (ct, mr):
        if path is not None:
            read_header(path)
