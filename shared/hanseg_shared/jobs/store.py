"""Payloads by URI: the images and results of jobs, named by their SHA-256.

A payload lives at ``{store}/{owner}/{sha256}``, its owner being a job or an upload.
Keeping owners apart costs a copy when two jobs share an image, and buys that deleting
a patient's job removes exactly one folder, without counting references.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from hanseg_shared.errors import HansegError, ServiceUnavailableError, StoreError

MARK = "database"
"""The file next to the owners' folders that names the database of this store."""

CHUNK_BYTES = 1 << 20
"""How much of a file is held in memory while it is copied or hashed."""

_OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Payload:
    """What identifies a stored file: its hash (hexadecimal SHA-256) and its size."""

    sha256: str
    bytes: int


class PayloadStore:
    """Files by owner and hash, on any file system that fsspec knows.

    Args:
        uri: Folder or bucket, such as ``file:///var/lib/hanseg`` or ``s3://bucket/x``.
        options: Keyword arguments for fsspec's file system, such as credentials.

    Raises:
        ServiceUnavailableError: There is no such kind of store here.
    """

    def __init__(self, uri: str, **options: Any) -> None:  # noqa: ANN401 - fsspec's own
        try:
            self._files, self._root = fsspec.core.url_to_fs(uri, **options)
        except (ValueError, ImportError) as error:
            # the URI may hold credentials, so that only its kind is repeated
            kind = uri.partition(":")[0]
            raise ServiceUnavailableError(
                f"the payload store cannot be used: fsspec has no {kind} here; "
                "HANSEG_STORE_URI is file:///FOLDER, or of a kind whose package is "
                "installed"
            ) from error

    def put(self, owner: str, path: Path) -> Payload:
        """Copy a file into the store; the payload appears whole or not at all.

        Raises:
            ServiceUnavailableError: There is no space left.
            StoreError: The store cannot be written.
        """
        payload = hash_file(path)
        target = self._path(owner, payload.sha256)
        with _translate_errors(f"payload {payload.sha256} of {owner} cannot be stored"):
            self._files.makedirs(self._folder(owner), exist_ok=True)
            if self._is_local:
                _copy_atomically(path, Path(target))
            else:
                self._files.put_file(str(path), target)
        return payload

    def fetch(self, owner: str, sha256: str, target: Path) -> None:
        """Copy a payload to a local file and check its hash; all of it or nothing.

        Raises:
            ServiceUnavailableError: There is no space left.
            StoreError: It is missing, or its bytes do not match its hash.
        """
        digest = hashlib.sha256()
        try:
            with (
                _translate_errors(f"payload {sha256} of {owner} cannot be fetched"),
                self.open(owner, sha256) as source,
                target.open("wb") as sink,
            ):
                while chunk := source.read(CHUNK_BYTES):
                    digest.update(chunk)
                    sink.write(chunk)
            if digest.hexdigest() != sha256:
                raise StoreError(
                    f"payload {sha256} of {owner} was altered in the store"
                )
        except HansegError:
            target.unlink(missing_ok=True)
            raise

    def open(self, owner: str, sha256: str) -> IO[bytes]:
        """Open a payload for reading; the caller closes it.

        Raises:
            StoreError: There is no such payload, or it cannot be read.
        """
        with _translate_errors(f"payload {sha256} of {owner} cannot be read"):
            try:
                return self._files.open(self._path(owner, sha256), "rb")
            except FileNotFoundError:
                raise StoreError(
                    f"payload {sha256} of {owner} is not in the store"
                ) from None

    def read_range(
        self, owner: str, sha256: str, start: int, stop: int
    ) -> Iterator[bytes]:
        """Yield bytes `start` up to but without `stop`, in chunks."""
        with self.open(owner, sha256) as source:
            source.seek(start)
            left = stop - start
            while left > 0 and (chunk := source.read(min(CHUNK_BYTES, left))):
                left -= len(chunk)
                yield chunk

    def adopt(self, owner: str, sha256: str, *, new_owner: str) -> None:
        """Give a payload to a second owner; the first keeps it.

        Raises:
            ServiceUnavailableError: There is no space left.
            StoreError: There is no such payload, or it cannot be copied.
        """
        source, target = self._path(owner, sha256), self._path(new_owner, sha256)
        if not self.exists(owner, sha256):
            raise StoreError(f"payload {sha256} of {owner} is not in the store")
        with _translate_errors(f"payload {sha256} of {owner} cannot be copied"):
            self._files.makedirs(self._folder(new_owner), exist_ok=True)
            if self._is_local:
                _copy_atomically(Path(source), Path(target))
            else:
                self._files.copy(source, target)

    def exists(self, owner: str, sha256: str) -> bool:
        """Whether the payload is there."""
        path = self._path(owner, sha256)
        with _translate_errors(
            f"the store cannot tell whether it has {sha256} of {owner}"
        ):
            self._files.invalidate_cache()
            return bool(self._files.exists(path))

    def purge(self, owner: str) -> None:
        """Delete everything an owner has; nothing happens if it has nothing.

        Raises:
            StoreError: Something cannot be deleted.
        """
        folder = self._folder(owner)
        with _translate_errors(f"what {owner} has in the store cannot be deleted"):
            self._files.invalidate_cache()
            try:
                self._files.rm(folder, recursive=True)
            except FileNotFoundError:
                return

    def bind(self, identity: str) -> bool:
        """Claim the store for a database, unless it has owners or is already claimed.

        Args:
            identity: The identity of a database; no other has the same.

        Returns:
            Whether the store is that database's own: only then may what the database
            does not know be deleted.
        """
        mark = f"{self._root}/{MARK}"
        with _translate_errors("the store cannot tell whose it is"):
            self._files.invalidate_cache()
            if self._files.exists(mark):
                return bool(self._files.cat_file(mark) == identity.encode())
        if self.owners():
            return False
        with _translate_errors("the store cannot be marked as this database's"):
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(mark, identity.encode())
        return True

    def owners(self) -> list[str]:
        """Return who has payloads."""
        with _translate_errors("the store cannot be listed"):
            self._files.invalidate_cache()
            if not self._files.exists(self._root):
                return []
            listed = self._files.ls(self._root, detail=True)
        names = [
            str(entry["name"]).rstrip("/").rsplit("/", 1)[-1]
            for entry in listed
            if entry["type"] == "directory"
        ]
        return sorted(name for name in names if _OWNER.fullmatch(name))

    def last_written(self, owner: str) -> float:
        """Return when an owner last wrote something, in seconds since 1970; 0 never."""
        folder = self._folder(owner)
        with _translate_errors(f"the payloads of {owner} cannot be listed"):
            self._files.invalidate_cache()
            try:
                written = self._files.find(folder)
                if self._is_local:  # a folder that is still empty is a beginning
                    written.append(folder)
                return max(
                    (self._files.modified(path).timestamp() for path in written),
                    default=0.0,
                )
            except FileNotFoundError:
                return 0.0

    def free_bytes(self) -> int | None:
        """Return the free space of a local store; None for a remote one."""
        if not self._is_local:
            return None
        Path(self._root).mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    @property
    def _is_local(self) -> bool:
        return isinstance(self._files, LocalFileSystem)

    def _folder(self, owner: str) -> str:
        if not _OWNER.fullmatch(owner):
            raise StoreError(f"an owner is letters, digits and dashes, got {owner!r}")
        return f"{self._root}/{owner}"

    def _path(self, owner: str, sha256: str) -> str:
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"a payload is named by its SHA-256, got {sha256!r}")
        return f"{self._folder(owner)}/{sha256}"


def hash_file(path: Path) -> Payload:
    """Return a file's SHA-256 and size."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Payload(digest.hexdigest(), file.tell())


def _copy_atomically(source: Path, target: Path) -> None:
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with source.open("rb") as reader, partial.open("wb") as writer:
            shutil.copyfileobj(reader, writer, CHUNK_BYTES)
            writer.flush()
            os.fsync(writer.fileno())
        partial.replace(target)
        _sync_folder(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # without it, a power failure may take back the renaming
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _translate_errors(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise ServiceUnavailableError(f"{what}: no space is left") from error
        raise StoreError(f"{what}: {error.strerror or error}") from error
