"""Payloads by URI: the images and results of jobs, named by their SHA-256.

A payload lives at ``{store}/{owner}/{sha256}``, its owner being a job or an upload.
Keeping owners apart costs a copy when two jobs share an image, and buys that deleting
a patient's job removes exactly one folder, without counting references.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from hanseg_shared.errors import StoreError

CHUNK_BYTES = 1 << 20
"""How much of a file is held in memory while it is copied or hashed."""


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
    """

    def __init__(self, uri: str, **options: Any) -> None:  # noqa: ANN401 - fsspec's own
        self._files, self._root = fsspec.core.url_to_fs(uri, **options)

    def put(self, owner: str, path: Path) -> Payload:
        """Copy a file into the store; the payload appears whole or not at all."""
        payload = hash_file(path)
        target = self._path(owner, payload.sha256)
        self._files.makedirs(self._folder(owner), exist_ok=True)
        if isinstance(self._files, LocalFileSystem):
            _copy_atomically(path, Path(target))
        else:
            self._files.put_file(str(path), target)
        return payload

    def fetch(self, owner: str, sha256: str, target: Path) -> None:
        """Copy a payload to a local file and check its hash.

        Raises:
            StoreError: It is missing, or its bytes do not match its hash.
        """
        digest = hashlib.sha256()
        with self.open(owner, sha256) as source, target.open("wb") as sink:
            while chunk := source.read(CHUNK_BYTES):
                digest.update(chunk)
                sink.write(chunk)
        if digest.hexdigest() != sha256:
            target.unlink()
            raise StoreError(f"payload {sha256} of {owner} was altered in the store")

    def open(self, owner: str, sha256: str) -> IO[bytes]:
        """Open a payload for reading; the caller closes it.

        Raises:
            StoreError: There is no such payload.
        """
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
        """Give a payload to a second owner; the first keeps it."""
        self._files.makedirs(self._folder(new_owner), exist_ok=True)
        source, target = self._path(owner, sha256), self._path(new_owner, sha256)
        if isinstance(self._files, LocalFileSystem):
            _copy_atomically(Path(source), Path(target))
        else:
            self._files.copy(source, target)

    def exists(self, owner: str, sha256: str) -> bool:
        """Whether the payload is there."""
        return bool(self._files.exists(self._path(owner, sha256)))

    def purge(self, owner: str) -> None:
        """Delete everything an owner has; nothing happens if it has nothing."""
        folder = self._folder(owner)
        if self._files.exists(folder):
            self._files.rm(folder, recursive=True)

    def owners(self) -> list[str]:
        """Return who has payloads."""
        if not self._files.exists(self._root):
            return []
        listed = self._files.ls(self._root, detail=False)
        return sorted(str(name).rstrip("/").rsplit("/", 1)[-1] for name in listed)

    def free_bytes(self) -> int | None:
        """Return the free space of a local store, None where there is no such thing."""
        if not isinstance(self._files, LocalFileSystem):
            return None
        Path(self._root).mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(self._root).free

    def _folder(self, owner: str) -> str:
        if not owner.replace("-", "").isalnum():
            raise StoreError(f"an owner is letters, digits and dashes, got {owner!r}")
        return f"{self._root}/{owner}"

    def _path(self, owner: str, sha256: str) -> str:
        if len(sha256) != 64 or not sha256.isalnum():
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
    finally:
        partial.unlink(missing_ok=True)
