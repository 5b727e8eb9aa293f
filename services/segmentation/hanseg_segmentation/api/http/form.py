"""A multipart request, streamed part by part to files (RFC 7578).

Only named parts are accepted, each once: files go to a scratch folder, fields into
memory up to a small limit. A body without its closing boundary is refused, as it may
hold half an image.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hanseg_segmentation.api.http.incoming import FileSink
from hanseg_segmentation.api.http.problem_responses import (
    BAD_REQUEST,
    INVALID,
    RefusedError,
)
from hanseg_shared.jobs.store import Payload

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LARGEST_FIELD_BYTES = 64 * 1024
"""Limit of a part that is not a file."""

_SHOWN = 40
"""How much of a part's name an answer repeats."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a multipart request held."""

    files: dict[str, tuple[Path, Payload]] = field(default_factory=dict)
    fields: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Begin:
    name: str
    has_file_name: bool


class _End:
    """A part is over."""


_Event = _Begin | bytes | _End


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
        async for event in _events(request):
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
        self._part: _Begin | None = None
        self._sink: FileSink | None = None
        self._field = bytearray()

    async def take(self, event: _Event) -> None:
        if isinstance(event, _Begin):
            self._begin(event)
        elif isinstance(event, bytes):
            await self._add(event)
        else:
            await self._end()

    def close(self) -> None:
        if self._sink is not None:
            self._sink.close()

    def _begin(self, part: _Begin) -> None:
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


async def _events(request: Request) -> AsyncIterator[_Event]:
    parts = _Parts()
    try:
        parser = _parser(request, parts)
        async for chunk in request.stream():
            parser.write(chunk)
            for event in parts.drain():
                yield event
        parser.finalize()
    except FormParserError as error:
        raise RefusedError(
            BAD_REQUEST, f"the multipart body is malformed: {error}"
        ) from None
    if not parts.complete:
        raise RefusedError(
            BAD_REQUEST, "the multipart body ends before its closing boundary"
        )


def _parser(request: Request, parts: _Parts) -> MultipartParser:
    _, options = parse_options_header(request.headers.get("content-type"))
    boundary = options.get(b"boundary")
    if not boundary:
        raise RefusedError(BAD_REQUEST, "the multipart content type has no boundary")
    return MultipartParser(boundary, parts.callbacks())


class _Parts:
    """Gathers what the parser calls out."""

    def __init__(self) -> None:
        self.complete = False
        self._events: list[_Event] = []
        self._name = bytearray()
        self._value = bytearray()
        self._disposition = b""

    def drain(self) -> Iterator[_Event]:
        """Yield the events since the last call."""
        events, self._events = self._events, []
        yield from events

    def callbacks(self) -> MultipartCallbacks:
        """Return what the parser calls."""
        return {
            "on_part_begin": self._on_part_begin,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_part_begin(self) -> None:
        self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", errors="replace")
        self._events.append(_Begin(name, bool(options.get(b"filename"))))

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(_End())

    def _on_end(self) -> None:
        self.complete = True
