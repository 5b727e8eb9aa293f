"""Checks of the caller's files before anything is sent."""

from __future__ import annotations

from pathlib import Path

from hanseg_shared.io.parsed_header import check_header


def check_headers(ct: Path, mr: Path | None) -> None:
    """Refuse files that are no usable images, so that each is named by its own path.

    The service looks closer; here our own parsers do, which need no ITK.

    Raises:
        InputError: A file is no usable image.
    """
    for path in (ct, mr):
        if path is not None:
            check_header(path)
