"""A file that keeps some room on the database's disk, for when the disk is full.

SQLite cannot change a row without writing. So the remedy for a full disk, deleting
jobs, needs room of its own: the ballast goes, and comes back once there is room again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from pathlib import Path

logger = logging.getLogger(__name__)

BALLAST_BYTES = 32 << 20
"""A deletion writes some ten kilobytes; what else fills the disk takes its part."""

SPARE_BYTES = 4 * BALLAST_BYTES
"""The ballast is made only where so much would be left."""


class Ballast:
    """One file of a fixed size.

    Args:
        path: The file.
        size: Its size in bytes.
    """

    def __init__(self, path: Path, size: int = BALLAST_BYTES) -> None:
        self._path = path
        self._size = size

    def load(self) -> None:
        """Make the file if it is not there and the disk has plenty of room."""
        with contextlib.suppress(OSError):  # there is no room, or nobody may write
            if self._path.exists():
                return
            if shutil.disk_usage(self._path.parent).free < self._size + SPARE_BYTES:
                return
            self._write()

    def drop(self) -> bool:
        """Delete the file; return whether that gave any room."""
        try:
            self._path.unlink()
        except OSError:
            return False
        logger.warning(
            "the disk is full: the ballast goes, so that jobs can be deleted"
        )
        return True

    def _write(self) -> None:
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with draft.open("wb") as file:
                os.fchmod(file.fileno(), 0o600)
                os.posix_fallocate(file.fileno(), 0, self._size)
            draft.replace(self._path)
        finally:
            draft.unlink(missing_ok=True)
