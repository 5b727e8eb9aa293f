"""This machine's copies of payloads of a remote store, as many as there is room for.

All processes of a machine share one folder, ``{folder}/{owner}/{sha256}``. A copy that
is used becomes the youngest, by its time of change; the oldest go first. What a process
has open stays readable for it when it is deleted, so that nobody waits for anybody. A
copy is hashed whenever it is opened: what was altered is fetched anew.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from hanseg_shared.held_folder import trying_to_hold
from hanseg_shared.jobs.stores.files import Payload, hash_open

logger = logging.getLogger(__name__)

UNUSED_SECONDS = 3600.0
"""A copy that nobody used for so long goes, whatever the room."""

_DRAFT = ".draft-"


class PayloadCache:
    """The copies.

    Args:
        folder: Where they are.
        most_bytes: How much they may take together; 0 keeps none.
        least_free: How much room on the disk they leave.
    """

    def __init__(self, folder: Path, *, most_bytes: int, least_free: int = 0) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._least_free = least_free

    def open(self, owner: str, sha256: str) -> IO[bytes] | None:
        """Open a copy that is as it should be; None if there is none."""
        path = self._folder / owner / sha256
        try:
            file = path.open("rb")
        except OSError:
            return None
        if hash_open(file).sha256 != sha256:
            logger.warning("the copy of payload %s was altered: it goes", sha256)
            file.close()
            path.unlink(missing_ok=True)
            return None
        file.seek(0)
        with suppress(OSError):  # gone already
            os.utime(path)
        return file

    @contextmanager
    def drafted(self, size: int) -> Iterator[Draft]:
        """Make room for a copy and give the file that it is written to.

        Raises:
            OSError: It cannot be made: the disk is full, most often.
        """
        path = self._folder / f"{_DRAFT}{uuid.uuid4().hex}"
        with self._locked():
            self._give_way(size)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # as long as it is open
        file = os.fdopen(descriptor, "w+b")
        draft = Draft(file, partial(self._admit, path, size=size))
        try:
            yield draft
        finally:
            path.unlink(missing_ok=True)
            if not draft.is_kept:
                file.close()

    def keep(self, path: Path, owner: str, payload: Payload) -> None:
        """Have a file that was just sent as a copy, if that costs nothing.

        It becomes a second name of the same file; what changes it later is found out by
        the hash.
        """
        if payload.bytes > self._most_bytes:
            return
        draft = self._folder / f"{_DRAFT}{uuid.uuid4().hex}"
        with suppress(OSError), self._locked():  # on another disk, or no room
            self._give_way(payload.bytes, on_disk=0)
            try:
                draft.hardlink_to(path)
                draft.chmod(0o600)
                self._place(draft, owner, payload.sha256)
            finally:
                draft.unlink(missing_ok=True)

    def adopt(self, sha256: str, owner: str, new_owner: str) -> None:
        """Have another owner's copy as a second owner's, if there is one."""
        path = self._folder / owner / sha256
        with suppress(OSError):
            self.keep(path, new_owner, Payload(sha256, path.stat().st_size))

    def forget(self, owner: str, name: str | None = None) -> None:
        """Delete the copies of an owner, or one of them."""
        folder = self._folder / owner
        if name is None:
            shutil.rmtree(folder, ignore_errors=True)
            return
        with suppress(OSError):
            (folder / name).unlink()

    def owners(self) -> list[str]:
        """Return of whom there are copies."""
        with suppress(FileNotFoundError):
            return sorted(each.name for each in self._folder.iterdir() if each.is_dir())
        return []

    def give_way(self, least_free: int) -> None:
        """Delete the oldest copies until the disk has so much room, or none is left."""
        if self._folder.exists():
            with self._locked():
                self._give_way(0, least_free=least_free)

    def tidy(self) -> None:
        """Delete what nobody used for long, and what dead processes left."""
        if not self._folder.exists():
            return
        limit = time.time() - UNUSED_SECONDS
        with self._locked():
            for each in self._look()[0]:
                if each.used_at < limit:
                    each.path.unlink(missing_ok=True)
            for folder in self._folder.iterdir():
                with suppress(OSError):  # not empty
                    if folder.is_dir():
                        folder.rmdir()

    def _admit(self, draft: Path, owner: str, sha256: str, *, size: int) -> None:
        """Make a draft a copy, unless copies must not be so large."""
        if size <= self._most_bytes:
            with self._locked():  # or `tidy` removes the folder in between
                self._place(draft, owner, sha256)
                self._give_way(0)  # others may have written at the same time

    def _place(self, draft: Path, owner: str, sha256: str) -> None:
        target = self._folder / owner / sha256
        target.parent.mkdir(mode=0o700, exist_ok=True)
        draft.replace(target)
        os.utime(target)

    def _give_way(
        self, size: int, *, on_disk: int | None = None, least_free: int | None = None
    ) -> None:
        """Delete the oldest copies until there is room for a further one.

        Args:
            size: Its bytes.
            on_disk: How much of it needs room on the disk; by default all.
            least_free: How much room then remains there; by default as always.
        """
        copies, drafts = self._look()
        taken = sum(each.bytes for each in copies) + drafts
        excess = taken + size - self._most_bytes if size <= self._most_bytes else 0
        needed = size if on_disk is None else on_disk
        needed += self._least_free if least_free is None else least_free
        lacking = needed - shutil.disk_usage(self._folder).free
        for each in copies:
            if excess <= 0 and lacking <= 0:
                return
            each.path.unlink(missing_ok=True)
            excess, lacking = excess - each.bytes, lacking - each.bytes

    def _look(self) -> tuple[list[_Copy], int]:
        """Return the copies, oldest first, and how much is being written."""
        copies, drafts = [], 0
        for path in self._folder.rglob("*"):
            with suppress(FileNotFoundError):
                found = path.stat()
                if path.name.startswith(_DRAFT):
                    drafts += 0 if _remove_dead(path) else found.st_size
                elif path.is_file() and path.parent != self._folder:
                    copies.append(_Copy(found.st_mtime, found.st_size, path))
        return sorted(copies, key=lambda each: each.used_at), drafts

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / ".lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class Draft:
    """A copy that is being written.

    Attributes:
        is_kept: Whether it was kept: its file stays open then.
    """

    def __init__(self, file: IO[bytes], admit: Callable[[str, str], None]) -> None:
        self._file, self._admit = file, admit
        self.is_kept = False

    def write(self, block: bytes) -> None:
        """Append to it."""
        self._file.write(block)

    def keep(self, owner: str, sha256: str) -> IO[bytes]:
        """Make it an owner's copy; return it, open at its start.

        A copy that is larger than the cache is lost when it is closed.
        """
        self._file.flush()
        self._admit(owner, sha256)
        self._file.seek(0)
        self.is_kept = True
        return self._file


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy: when it was last used, its size, and where it is."""

    used_at: float
    bytes: int
    path: Path


def _remove_dead(draft: Path) -> bool:
    """Remove a draft whose process is gone; return whether it was."""
    try:
        descriptor = os.open(draft, os.O_RDWR)
    except OSError:
        return True
    with trying_to_hold(descriptor, fcntl.LOCK_EX) as is_dead:
        if is_dead:
            draft.unlink(missing_ok=True)
        return is_dead
