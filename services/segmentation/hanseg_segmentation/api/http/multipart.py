"""Multipart bodies as they arrive: a part's head, its bytes, its end (RFC 2046)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from hanseg_segmentation.api.http.problem_responses import BAD_REQUEST, RefusedError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

LARGEST_HEAD_BYTES = 8 * 1024
"""Limit of the header fields of one part."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A part begins.

    Attributes:
        name: Of a form's field; "" in other bodies.
        has_file_name: Whether a form says that it is a file.
        content_type: Its media type, without parameters; "" if it names none.
    """

    name: str
    has_file_name: bool
    content_type: str


class End:
    """A part is over."""


Event = Begin | bytes | End


async def read_parts(request: Request) -> AsyncIterator[Event]:
    """Yield what a multipart body holds, piece by piece.

    Raises:
        RefusedError: It is malformed, or ends before its closing boundary.
    """
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
        self._events: list[Event] = []
        self._name = bytearray()
        self._value = bytearray()
        self._fields: dict[bytes, bytes] = {}

    def drain(self) -> Iterator[Event]:
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
        self._fields = {}

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._refuse_long()

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._refuse_long()

    def _refuse_long(self) -> None:
        if len(self._name) + len(self._value) > LARGEST_HEAD_BYTES:
            raise RefusedError(
                BAD_REQUEST,
                f"a header field of a part is longer than {LARGEST_HEAD_BYTES} bytes",
            )

    def _on_header_end(self) -> None:
        name = bytes(self._name).lower()
        if name in {b"content-disposition", b"content-type"}:
            self._fields[name] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._fields.get(b"content-disposition", b""))
        kind, _ = parse_options_header(self._fields.get(b"content-type", b""))
        self._events.append(
            Begin(
                name=options.get(b"name", b"").decode("utf-8", errors="replace"),
                has_file_name=bool(options.get(b"filename")),
                content_type=kind.decode("latin-1").strip().lower(),
            )
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._events.append(data[start:end])

    def _on_part_end(self) -> None:
        self._events.append(End())

    def _on_end(self) -> None:
        self.complete = True
