"""Files on their way in: streamed to a scratch folder, hashed and counted.

The client's file names are never used. A request's folder is removed when the request
ends, however it ends.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_shared.jobs.store import CHUNK_BYTES, Payload
from hanseg_shared.settings import Settings

_PREFIX = "request-"

ABANDONED_SECONDS = 6 * 3600.0
"""A request's folder untouched for so long belongs to a server that was killed."""


@asynccontextmanager
async def request_folder(settings: Settings) -> AsyncIterator[Path]:
    """Yield a folder that lives as long as the request."""
    with translate_disk_faults():
        settings.scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=settings.scratch))
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))


def remove_abandoned_folders(settings: Settings) -> None:
    """Remove what requests of a killed server left behind."""
    limit = time.time() - ABANDONED_SECONDS
    for folder in settings.scratch.glob(f"{_PREFIX}*"):
        with suppress(FileNotFoundError):  # another API has just finished with it
            if _last_change(folder) < limit:
                shutil.rmtree(folder, ignore_errors=True)


def _last_change(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


class FileSink:
    """A file that is being received.

    Bytes are gathered and written in pieces by a thread, so that a slow disk does not
    hold up the other requests.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.received = 0
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._file = path.open("xb", buffering=0)

    async def write(self, data: bytes) -> None:
        """Write some more bytes.

        Raises:
            ServiceUnavailableError: The disk is full.
        """
        self.received += len(data)
        self._buffer += data
        if len(self._buffer) >= CHUNK_BYTES:
            await run_sync(self._flush)

    async def finish(self) -> Payload:
        """Write the rest, close the file and return its hash and size.

        Raises:
            ServiceUnavailableError: The disk is full.
        """
        await run_sync(self._flush)
        self.close()
        return Payload(self._digest.hexdigest(), self.received)

    def close(self) -> None:
        """Close the file, whole or not."""
        self._file.close()

    def _flush(self) -> None:
        self._digest.update(self._buffer)
        with translate_disk_faults():
            self._write_out()
        self._buffer.clear()

    def _write_out(self) -> None:
        left = memoryview(self._buffer)
        while left:
            left = left[self._file.write(left) :]
        left.release()
