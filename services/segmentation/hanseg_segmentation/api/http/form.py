"""A multipart request, streamed part by part to files (RFC 7578).

Only named parts are accepted, each once: files go to a scratch folder, fields into
memory up to a small limit. A body without its closing boundary is refused, as it may
hold half an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fastapi import Request

from hanseg_segmentation.api.http.incoming import FileSink
from hanseg_segmentation.api.http.multipart import Begin, Event, read_parts
from hanseg_segmentation.api.http.problem_responses import (
    INVALID,
    RefusedError,
)
from hanseg_shared.jobs.stores.files import Payload

LARGEST_FIELD_BYTES = 64 * 1024
"""Limit of a part that is not a file."""

_SHOWN = 40
"""How much of a part's name an answer repeats."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a multipart request held."""

    files: dict[str, tuple[Path, Payload]] = field(default_factory=dict)
    fields: dict[str, bytes] = field(default_factory=dict)


async def read_form(
    request: Request, folder: Path, *, files: frozenset[str], fields: frozenset[str]
) -> Form:
    """Receive a form, its files as ``folder/<part name>``.

    A file part that is empty and has no file name is what a browser sends for a
    field left out, and is left out here.

    Raises:
        RefusedError: The body is not such a form.
    """
    collector = _Collector(folder, files=files, fields=fields)
    try:
        async for event in read_parts(request):
            await collector.take(event)
    finally:
        collector.close()
    return collector.form


class _Collector:
    """Turns the events of a form into files and fields."""

    def __init__(
        self, folder: Path, *, files: frozenset[str], fields: frozenset[str]
    ) -> None:
        self.form = Form()
        self._folder = folder
        self._file_names = files
        self._field_names = fields
        self._part: Begin | None = None
        self._sink: FileSink | None = None
        self._field = bytearray()

    async def take(self, event: Event) -> None:
        if isinstance(event, Begin):
            self._begin(event)
        elif isinstance(event, bytes):
            await self._add(event)
        else:
            await self._end()

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def _begin(self, part: Begin) -> None:
        known = self._file_names | self._field_names
        if part.name not in known:
            expected = ", ".join(sorted(known))
            raise RefusedError(
                INVALID,
                f"a part is called {part.name[:_SHOWN]!r}; expected are: {expected}",
            )
        if part.name in self.form.files or part.name in self.form.fields:
            raise RefusedError(INVALID, f"the part {part.name!r} was sent twice")
        self._part = part
        if part.name in self._file_names:
            self._sink = FileSink(self._folder / part.name)

    async def _add(self, data: bytes) -> None:
        if self._sink is not None:
            await self._sink.write(data)
            return
        self._field += data
        if len(self._field) > LARGEST_FIELD_BYTES:
            name = self._part.name if self._part else ""
            raise RefusedError(
                INVALID,
                f"the part {name!r} is longer than {LARGEST_FIELD_BYTES} bytes",
            )

    async def _end(self) -> None:
        assert self._part is not None
        name = self._part.name
        if self._sink is None:
            self.form.fields[name] = bytes(self._field)
            self._field.clear()
            return
        sink = self._sink
        payload = await sink.finish()
        self._sink = None
        if payload.bytes or self._part.has_file_name:
            self.form.files[name] = (sink.path, payload)
        else:
            sink.path.unlink()
