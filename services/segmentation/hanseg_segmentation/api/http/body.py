"""How large a request's body may be, counted as it arrives.

A route asks for it once it knows who sends the request. A declared length beyond the
limit is refused unread; a chunked body is cut off at the limit. The server closes the
connection then, as HTTP has no other way to say stop.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio.to_thread import run_sync
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive

from hanseg_segmentation.api.http.problem_responses import TOO_LARGE, RefusedError
from hanseg_segmentation.api.reservations import COPIES, Reservations

LARGEST_JSON_BYTES = 1 << 20
"""Limit of every body without an image."""

LARGEST_SHEET_FILE_BYTES = 32 << 20
"""Limit of a file beside the sheet of a commissioning, which the database keeps."""

_MOST_DIGITS = 18

_JOBS = "/v1/jobs"
_STUDIES = "/v1/dicom-web/studies"
_CONTENT = re.compile(
    r"/v1/uploads/[^/]+/content|/v1/jobs/[^/]+/review/organs/[^/]+/mask"
)
_SHEET_FILE = re.compile(r"/v1/commissioning/[^/]+/files/[^/]+")
_CORRECTIONS = re.compile(r"/v1/jobs/[^/]+/review/corrections")


class BodyLimits:
    """Counts request bodies and refuses those beyond the limit with 413.

    Args:
        max_upload_bytes: Limit where images are sent; elsewhere `LARGEST_JSON_BYTES`.
        room: Where the bytes of images are reserved until their request is over: as
            many as are declared, and without a declaration the limit.
    """

    def __init__(self, *, max_upload_bytes: int, room: Reservations) -> None:
        self._max_upload_bytes = max_upload_bytes
        self._room = room

    @asynccontextmanager
    async def hold(self, request: Request) -> AsyncIterator[Receive]:
        """Yield what the body is received by, its room reserved.

        Raises:
            RefusedError: It is declared to be too large.
            DiskFullError: There is no room for it.
        """
        copies = _copies_of(request)
        limit = self._max_upload_bytes if copies else _limit_without_images(request)
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and _is_beyond(declared, limit):
            raise RefusedError(TOO_LARGE, _detail(limit))
        received = _count_bytes(request.receive, limit)
        if not copies:
            yield received
            return
        size = int(declared) if declared.isdecimal() else limit
        holder = object()
        await run_sync(lambda: self._room.take(size, by=holder, copies=copies))
        try:
            yield received
        finally:
            self._room.give_back(holder)


def _copies_of(request: Request) -> int:
    """Return how often what a request brings needs room; 0 if it brings no image.

    One copy of an upload's content is reserved since it was announced.
    """
    method, path = request.method, request.url.path
    if method == "PUT":
        return COPIES - 1 if _CONTENT.fullmatch(path) else 0
    content_type = request.headers.get("content-type", "").lower()
    if method != "POST":
        return 0
    if path == _STUDIES or path.startswith(f"{_STUDIES}/"):
        return COPIES if content_type.startswith("multipart/related") else 0
    if _CORRECTIONS.fullmatch(path) is not None:
        return COPIES
    is_form = path == _JOBS and content_type.startswith("multipart/form-data")
    return COPIES if is_form else 0


def _limit_without_images(request: Request) -> int:
    if request.method == "PUT" and _SHEET_FILE.fullmatch(request.url.path):
        return LARGEST_SHEET_FILE_BYTES
    return LARGEST_JSON_BYTES


def _count_bytes(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_and_count() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise HTTPException(413, _detail(limit))
        return message

    return receive_and_count


def _is_beyond(declared: str, limit: int) -> bool:
    return len(declared) > _MOST_DIGITS or int(declared) > limit


def _detail(limit: int) -> str:
    return f"the body is larger than the {limit} bytes that are accepted here"
