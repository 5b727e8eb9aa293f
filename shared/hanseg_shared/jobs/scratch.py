"""The scratch folders of attempts: each is held by its worker, and swept after it."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path

from hanseg_shared.held_folder import hold_new_folder, is_abandoned, remove_abandoned

logger = logging.getLogger(__name__)

SIGN_SECONDS = 3600.0
"""How long an empty folder may say that a worker is dead; its lease ends sooner."""

_ATTEMPT = "attempt-"

HELD = ("attempt-*", "request-*", "hanseg-check-*")
"""Folders that are held for as long as they are used: those of attempts, of requests
and of the checks of images."""


class Scratch:
    """What attempts leave on this machine's disk, in one folder.

    Args:
        folder: Where they are; see `Settings.scratch`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def hold_attempt(self, job_id: str, attempt: int) -> AbstractContextManager[Path]:
        """Make the folder of a job's attempt, which is removed at the end.

        Raises:
            OSError: It cannot be made: the disk is full, most often.
        """
        return hold_new_folder(self._path(job_id, attempt))

    def hold_request(self) -> AbstractContextManager[Path]:
        """Make the folder of a request, which is removed at the end.

        Raises:
            OSError: It cannot be made: the disk is full, most often.
        """
        return hold_new_folder(self._folder / f"request-{uuid.uuid4().hex}")

    def is_attempt_dead(self, job_id: str, attempt: int) -> bool:
        """Whether the worker of an attempt has died on this machine; False if unknown.

        Another machine's scratch folder is not seen here, so that nothing is known of
        its workers.
        """
        return is_abandoned(self._path(job_id, attempt))

    def sweep(self, claimed: Collection[tuple[str, int]] | None = None) -> None:
        """Remove what dead processes left; what is held stays.

        Args:
            claimed: Jobs and attempts that rows still have. Of these the empty folder
                is left: it says that the worker is dead. None leaves that of all, for
                `SIGN_SECONDS`: where nobody reads it, as on a host without API, it
                would lie there for ever.
        """
        kept = {self._path(*attempt) for attempt in claimed or ()}
        for pattern in HELD:
            for path in self._folder.glob(pattern):
                told = path in kept if claimed is not None else not _is_old(path)
                if remove_abandoned(
                    path, only_contents=told and path.name.startswith(_ATTEMPT)
                ):
                    logger.info("removed what a dead process left: %s", path.name)

    def purge(self, job_id: str) -> None:
        """Remove what dead workers left of a job; a living one removes it itself."""
        for path in self._folder.glob(f"{_ATTEMPT}{job_id}-*"):
            remove_abandoned(path)

    def _path(self, job_id: str, attempt: int) -> Path:
        return self._folder / f"{_ATTEMPT}{job_id}-{attempt}"


def _is_old(path: Path) -> bool:
    """Whether nothing in a folder has changed for `SIGN_SECONDS`."""
    try:
        return time.time() - path.stat().st_mtime > SIGN_SECONDS
    except FileNotFoundError:
        return False
