"""Payloads in a store that is reached over the network, such as S3.

Nothing here depends on a list being up to date: a payload is written, read, copied and
looked for by its name. Lists serve only to delete, and who deletes does so again later.

Every call has a deadline, and is tried again when the network or the store fails. What
then still fails is the store's fault, not a job's: `ServiceUnavailableError`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from hanseg_shared.errors import (
    ServiceUnavailableError,
    StoreError,
    StoreRefusedError,
)
from hanseg_shared.jobs.stores.cache import PayloadCache
from hanseg_shared.jobs.stores.files import Payload, StoredFile
from hanseg_shared.jobs.stores.s3 import S3Options, describe_refusal, is_lost_upload

logger = logging.getLogger(__name__)

BLOCK_BYTES = 8 << 20
"""How much is asked for, or sent, in one request; a file that is not longer than two of
them is sent whole, a longer one in parts."""

PARTS_AT_A_TIME = 3
"""How many parts of a file are sent at once; so many are held in memory."""

DEADLINE_SECONDS = 20.0
"""How long any request may take."""

PING_SECONDS = 5.0
"""How long the store may take to say that it is there."""

LEAST_BYTES_PER_SECOND = 1 << 20
"""Whoever sends or takes more slowly does not work: a stage has a limit, too."""

TRIES = 4
"""How often a request is tried before the store does not work."""

PAUSE_SECONDS = 0.3
"""After the first try that failed; then three times as long each time: a store that is
restarted is back within four seconds, or its job waits."""

_REFUSES = "the payload store refuses this service"


class RemoteFiles:
    """Files of a store that fsspec knows, by folder and name; see `Files`.

    Args:
        uri: Bucket and prefix, such as ``s3://bucket/hanseg``.
        cache: Where files of this machine are kept that were sent or fetched.
        options: How S3 is reached and what it is told; for no other kind of store.
        further: Keyword arguments for any other file system of fsspec.
    """

    def __init__(
        self,
        uri: str,
        cache: PayloadCache,
        options: S3Options | None = None,
        **further: Any,  # noqa: ANN401 - fsspec's own
    ) -> None:
        self._uri, self._cache, self._options = uri, cache, options
        self._further = further
        self._opened: tuple[int, Any] | None = None
        self.name = str(self._files._strip_protocol(uri)).rstrip("/")

    @property
    def cache(self) -> PayloadCache:
        """This machine's copies."""
        return self._cache

    def put(self, path: Path, folder: str, payload: Payload) -> None:
        """Send a file, in parts if it is long, and see that all of it has arrived.

        The store compares each part with its SHA-256, where it is S3's.
        """
        target = self._path(folder, payload.sha256)
        extra = dict(self._stored_as)
        if self._options is not None:
            extra |= {"chunksize": BLOCK_BYTES, "max_concurrency": PARTS_AT_A_TIME}
        self._call("put_file", str(path), target, size=payload.bytes, **extra)
        arrived = self._call("info", target)["size"]
        if arrived != payload.bytes:
            raise ServiceUnavailableError(
                f"the payload store has {arrived} of {payload.bytes} bytes of "
                f"{payload.sha256}"
            )
        self._cache.keep(path, folder, payload)

    def open(self, folder: str, sha256: str) -> IO[bytes]:
        """Open this machine's copy of a payload, whose hash was checked just now."""
        return self._cache.open(folder, sha256) or self._fetch(folder, sha256)

    def copy(self, sha256: str, source: str, target: str) -> None:
        """Have the store copy a payload from one folder to another."""
        copied = (self._path(folder, sha256) for folder in (source, target))
        self._call("cp_file", *copied, **self._stored_as)
        self._cache.adopt(sha256, source, target)

    def exists(self, folder: str, name: str) -> bool:
        """Whether the store has a file now."""
        try:
            self._call("info", self._path(folder, name))
        except FileNotFoundError:
            return False
        return True

    def read_mark(self, name: str) -> bytes:
        """Return what a small file says."""
        return bytes(self._call("cat_file", self._path("", name)))

    def write_mark(self, name: str, said: bytes) -> None:
        """Write a small file."""
        self._call("pipe_file", self._path("", name), said, **self._stored_as)

    def folders(self) -> list[str]:
        """Return the names of all folders that the store lists."""
        return [
            _last(entry["name"])
            for entry in self._list(self.name)
            if entry["type"] == "directory"
        ]

    def list_folder(self, folder: str) -> list[StoredFile]:
        """Return the files of a folder that the store lists."""
        return [
            StoredFile(_last(entry["name"]), _written_at(entry))
            for entry in self._list(self._path(folder))
            if entry["type"] == "file"
        ]

    def begun_at(self, folder: str) -> float:
        """Return when a folder was last written to."""
        return max((each.written_at for each in self.list_folder(folder)), default=0.0)

    def remove(self, folder: str, name: str) -> None:
        """Delete a file here and there."""
        self._cache.forget(folder, name)
        with suppress(FileNotFoundError):
            self._call("rm_file", self._path(folder, name))

    def remove_folder(self, folder: str) -> None:
        """Delete what a folder has here and there, and uploads into it."""
        self._cache.forget(folder)
        if self._options is None:
            with suppress(FileNotFoundError):
                self._call("rm", self._path(folder), recursive=True)
            return
        # one at a time: of many at once, S3s differ in which checksum they want
        for each in self.list_folder(folder):
            self.remove(folder, each.name)
        self.abandon_uploads(folder)

    def abandon_uploads(self, folder: str, *, begun_before: float | None = None) -> int:
        """Delete the parts of uploads that were not completed; return of how many.

        Args:
            folder: Into which folder; the empty one is all of the place.
            begun_before: Only what was begun earlier, in seconds since 1970.
        """
        if self._options is None:
            return 0
        bucket, _, prefix = f"{self._path(folder)}/".partition("/")
        found = self._call(
            "call_s3", "list_multipart_uploads", Bucket=bucket, Prefix=prefix
        )
        count = 0
        for each in found.get("Uploads") or ():
            if begun_before is None or each["Initiated"].timestamp() < begun_before:
                names = {"Bucket": bucket, "Key": each["Key"]}
                self._abort(names | {"UploadId": each["UploadId"]})
                count += 1
        return count

    def ping(self) -> None:
        """Ask the store for anything at all, once.

        Raises:
            ServiceUnavailableError: It does not answer, or refuses this service.
        """
        with suppress(FileNotFoundError):
            path = self._path("nobody")
            self._call("ls", path, detail=True, tries=1, deadline=PING_SECONDS)

    def sign(
        self, folder: str, sha256: str, *, seconds: int, **headers: str
    ) -> str | None:
        """Return an address at which anybody may fetch a payload for a while.

        Args:
            folder: Whose payload.
            sha256: Which.
            seconds: For how long.
            headers: What the store shall answer with, such as
                ``ResponseContentType``.

        Returns:
            The address; None if this kind of store has none.
        """
        if self._options is None:
            return None
        said: dict[str, Any] = {"expiration": seconds, **headers}
        return str(self._call("sign", self._path(folder, sha256), **said))

    def _abort(self, upload: dict[str, Any]) -> None:
        with suppress(FileNotFoundError):  # it was completed meanwhile, or aborted
            self._call("call_s3", "abort_multipart_upload", tries=1, **upload)

    def _fetch(self, folder: str, sha256: str) -> IO[bytes]:
        path = self._path(folder, sha256)
        size = int(self._call("info", path)["size"])
        for _ in range(TRIES):
            with self._cache.drafted(size) as draft:
                digest = hashlib.sha256()
                for block in self._read(path, size):
                    digest.update(block)
                    draft.write(block)
                if digest.hexdigest() == sha256:
                    return draft.keep(folder, sha256)
            # on the way, perhaps: the store's own bytes are asked for once more
            logger.warning("payload %s of %s arrived altered", sha256, folder)
        raise StoreError(f"payload {sha256} of {folder} was altered in the store")

    def _read(self, path: str, size: int) -> Iterator[bytes]:
        for start in range(0, size, BLOCK_BYTES):
            stop = min(start + BLOCK_BYTES, size)
            yield self._call(
                "cat_file",
                path,
                start=start,
                end=stop,
                size=stop - start,
                whole=stop - start,
            )

    def _list(self, path: str) -> list[dict[str, Any]]:
        try:
            self._files.invalidate_cache()
            found = self._call("ls", path, detail=True)
        except FileNotFoundError:
            return []
        itself = path.strip("/")
        return [entry for entry in found if entry["name"].strip("/") != itself]

    def _call(
        self,
        name: str,
        *arguments: Any,  # noqa: ANN401 - fsspec's own
        size: int = 0,
        tries: int = TRIES,
        deadline: float | None = None,
        whole: int | None = None,
        **keywords: Any,  # noqa: ANN401 - fsspec's own
    ) -> Any:  # noqa: ANN401 - fsspec's own
        """Call a method of fsspec's with a deadline, and again if it fails.

        Args:
            name: The method.
            arguments: For it.
            size: How many bytes are sent or taken.
            tries: How often it is tried.
            deadline: How long it may take, beside what its bytes take; by default
                `DEADLINE_SECONDS`.
            whole: How many bytes must come back; None where any number may.
            keywords: For it.

        Raises:
            FileNotFoundError: There is no such file, or bucket.
            StoreRefusedError: The store refuses this service.
            ServiceUnavailableError: The store does not work.
        """
        seconds = size / LEAST_BYTES_PER_SECOND + (
            DEADLINE_SECONDS if deadline is None else deadline
        )
        for attempt in range(1, tries + 1):
            try:
                found = self._call_once(name, seconds, *arguments, **keywords)
                if whole is None or len(found) == whole:
                    return found
                error: Exception = OSError("its answer was cut off")
            except Exception as failed:  # its libraries raise anything
                if (refusal := describe_refusal(failed)) is not None:
                    raise StoreRefusedError(f"{_REFUSES}: {refusal}") from failed
                if isinstance(failed, FileNotFoundError) and not is_lost_upload(failed):
                    raise
                error = failed
            logger.info("the payload store: %s, try %d: %s", name, attempt, _say(error))
            if attempt < tries:
                time.sleep(PAUSE_SECONDS * 3 ** (attempt - 1))
        raise ServiceUnavailableError(
            f"the payload store does not work: {_say(error)}"
        ) from error

    def _call_once(
        self,
        name: str,
        seconds: float,
        *arguments: Any,  # noqa: ANN401 - fsspec's own
        **keywords: Any,  # noqa: ANN401 - fsspec's own
    ) -> Any:  # noqa: ANN401 - fsspec's own
        files = self._files
        if not isinstance(files, AsyncFileSystem) or name == "sign":
            return getattr(files, name)(*arguments, **keywords)

        async def bounded() -> Any:  # noqa: ANN401 - fsspec's own
            call = getattr(files, f"_{name}")(*arguments, **keywords)
            return await asyncio.wait_for(call, seconds)

        return sync(files.loop, bounded)

    @property
    def _stored_as(self) -> dict[str, Any]:
        return {} if self._options is None else dict(self._options.stored_as)

    @property
    def _files(self) -> Any:  # noqa: ANN401 - fsspec has no types
        """The file system of this process: one that was forked opens its own."""
        process = os.getpid()
        if self._opened is None or self._opened[0] != process:
            self._opened = process, self._open_files()
        return self._opened[1]

    def _open_files(self) -> Any:  # noqa: ANN401 - fsspec has no types
        options = self._options.for_fsspec if self._options is not None else {}
        chosen = {"skip_instance_cache": True, **options, **self._further}
        files = fsspec.core.url_to_fs(self._uri, **chosen)[0]
        if self._options is not None:
            files.retries = 1  # s3fs would try anew what `_call` tries anew
        return files

    def _path(self, folder: str, name: str = "") -> str:
        return "/".join(part for part in (self.name, folder, name) if part)


def _last(path: str) -> str:
    return str(path).rstrip("/").rsplit("/", 1)[-1]


def _written_at(entry: dict[str, Any]) -> float:
    """Return a list's time of a file; now, where it has none: it counts as young."""
    for key in ("LastModified", "mtime", "updated", "created", "last_modified"):
        found = entry.get(key)
        if isinstance(found, datetime):
            return found.timestamp()
        if isinstance(found, (int, float)):
            return float(found)
    return time.time()


def _say(error: Exception) -> str:
    """Return what went wrong, in one line and without addresses that are secrets."""
    if "Timeout" in type(error).__name__:
        return "no answer in time"
    text = str(error).partition("\n")[0].partition("?")[0]
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
