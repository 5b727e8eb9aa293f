"""What every place for payloads can do, and how its faults are told apart.

A place holds files by folder and name. Three things may go wrong: a file is not there
(`FileNotFoundError`), its bytes are wrong or cannot be written (`StoreError`), or the
place itself does not work (`ServiceUnavailableError`): only the last will pass by
itself, and is no job's fault.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from hanseg_shared.errors import DiskFullError, ServiceUnavailableError, StoreError
from hanseg_shared.jobs.machine_faults import ERRNOS

CHUNK_BYTES = 1 << 20
"""How much of a file is held in memory while it is copied or hashed."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What identifies a stored file: its hash (hexadecimal SHA-256) and its size."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a folder: its name, and when it was written, in seconds since 1970."""

    name: str
    written_at: float


class Files(Protocol):
    """A place for payloads; see the module for what its methods raise."""

    @property
    def name(self) -> str:
        """Where it is, without credentials."""

    def put(self, path: Path, folder: str, payload: Payload) -> None:
        """Copy a file in, under its hash; it appears whole or not at all."""

    def open(self, folder: str, sha256: str) -> IO[bytes]:
        """Open a payload for reading; the caller closes it."""

    def copy(self, sha256: str, source: str, target: str) -> None:
        """Copy a payload from one folder to another."""

    def exists(self, folder: str, name: str) -> bool:
        """Whether a file is there; the empty folder is the place itself."""

    def read_mark(self, name: str) -> bytes:
        """Return what a small file of the place itself says."""

    def write_mark(self, name: str, said: bytes) -> None:
        """Write a small file of the place itself."""

    def folders(self) -> list[str]:
        """Return the names of all folders; a new one may be missing for a while."""

    def list_folder(self, folder: str) -> list[StoredFile]:
        """Return what a folder has; a new file may be missing for a while."""

    def begun_at(self, folder: str) -> float:
        """Return when a folder was last written to, in seconds since 1970; 0 never."""

    def remove(self, folder: str, name: str) -> None:
        """Delete a file; nothing happens if it is not there."""

    def remove_folder(self, folder: str) -> None:
        """Delete a folder and what is on its way into it."""


def hash_file(path: Path) -> Payload:
    """Return a file's SHA-256 and size."""
    with path.open("rb") as file:
        return hash_open(file)


def hash_open(file: IO[bytes]) -> Payload:
    """Return SHA-256 and size of an open file, which then stands at its end."""
    digest = hashlib.file_digest(file, "sha256")  # type: ignore[arg-type]
    return Payload(digest.hexdigest(), file.tell())


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Raise what the machine raises as an error of the product, with `what` failed."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise DiskFullError(f"{what}: no space is left") from error
        if error.errno in ERRNOS:  # read-only, broken or away: no payload is at fault
            raise ServiceUnavailableError(f"{what}: {error.strerror}") from error
        raise StoreError(f"{what}: {error.strerror or error}") from error
