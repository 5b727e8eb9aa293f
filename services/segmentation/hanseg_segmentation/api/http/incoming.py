"""Files on their way in: streamed to a scratch folder, hashed and counted.

The client's file names are never used. A request's folder is removed when the request
ends, however it ends; that of a killed server by whoever sweeps the scratch folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.stores.files import CHUNK_BYTES, Payload


@asynccontextmanager
async def request_folder(context: Context) -> AsyncIterator[Path]:
    """Yield a folder that lives as long as the request.

    Room that is reserved for what comes into it is given back with it.
    """
    held = ExitStack()
    scratch = Scratch(context.services.settings.scratch)
    with translate_disk_faults():
        folder = held.enter_context(scratch.hold_request())
    held.callback(context.room.give_back, folder)
    try:
        yield folder
    finally:
        with anyio.CancelScope(shield=True):
            await run_sync(held.close)


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
        with translate_disk_faults():
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
