"""Payloads in a folder of this machine, or of a file system that it has mounted."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import uuid
from contextlib import suppress
from pathlib import Path
from typing import IO

from hanseg_shared.errors import StoreError
from hanseg_shared.jobs.stores.files import CHUNK_BYTES, Payload, StoredFile


class LocalFiles:
    """Files in folders of one folder; see `Files`.

    Args:
        root: The folder, which need not exist yet.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The folder."""
        return str(self.root)

    def put(self, path: Path, folder: str, payload: Payload) -> None:
        """Copy a file in under its hash, and hash what is copied."""
        self._copy(path, self._make(folder) / payload.sha256)

    def open(self, folder: str, sha256: str) -> IO[bytes]:
        """Open a payload as it is; whoever reads it checks its hash."""
        return (self.root / folder / sha256).open("rb")

    def copy(self, sha256: str, source: str, target: str) -> None:
        """Copy a payload from one folder to another."""
        self._copy(self.root / source / sha256, self._make(target) / sha256)

    def exists(self, folder: str, name: str) -> bool:
        """Whether a file is there."""
        return (self.root / folder / name).exists()

    def read_mark(self, name: str) -> bytes:
        """Return what a small file says."""
        return (self.root / name).read_bytes()

    def write_mark(self, name: str, said: bytes) -> None:
        """Write a small file."""
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(said)

    def folders(self) -> list[str]:
        """Return the names of all folders."""
        if not self.root.exists():
            return []
        return [path.name for path in self.root.iterdir() if path.is_dir()]

    def list_folder(self, folder: str) -> list[StoredFile]:
        """Return what a folder has, files that are still being written included."""
        found = []
        with suppress(FileNotFoundError):
            for path in (self.root / folder).iterdir():
                with suppress(FileNotFoundError):  # another sweeper was faster
                    found.append(StoredFile(path.name, path.stat().st_mtime))
        return found

    def begun_at(self, folder: str) -> float:
        """Return when a folder was last written to: an empty one is a beginning."""
        path = self.root / folder
        try:
            begun = path.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        return max([begun, *(each.written_at for each in self.list_folder(folder))])

    def remove(self, folder: str, name: str) -> None:
        """Delete a file."""
        (self.root / folder / name).unlink(missing_ok=True)

    def remove_folder(self, folder: str) -> None:
        """Delete a folder with all that is in it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root / folder)

    def free_bytes(self) -> int:
        """Return the free space of its disk."""
        self.root.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self.root).free

    def used_bytes(self) -> int:
        """Return how much all files take."""
        total = 0
        for path in self.root.rglob("*"):
            with suppress(FileNotFoundError):  # deleted meanwhile
                found = path.lstat()
                total += found.st_size if stat.S_ISREG(found.st_mode) else 0
        return total

    def _make(self, folder: str) -> Path:
        path = self.root / folder
        path.mkdir(parents=True, exist_ok=True)
        return path

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        try:
            partial.touch(mode=0o600)  # for the service's own user: it is of a patient
            with source.open("rb") as reader, partial.open("wb") as writer:
                hashing = _Hashing(reader)
                shutil.copyfileobj(hashing, writer, CHUNK_BYTES)
                writer.flush()
                os.fsync(writer.fileno())
            if hashing.sha256 != target.name:
                raise StoreError(f"payload {target.name} changed while it was copied")
            partial.replace(target)
            _sync_folder(target.parent)
        finally:
            partial.unlink(missing_ok=True)


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._file.read(size)
        self._digest.update(chunk)
        return chunk

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    # without it, a power failure may take back the renaming
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
