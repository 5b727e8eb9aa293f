"""How large a request's body may be, counted as it arrives.

A declared length beyond the limit is refused unread; a chunked body is cut off at the
limit. The server closes the connection then, as HTTP has no other way to say stop.
"""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanseg_segmentation.api.http.problem_responses import TOO_LARGE, problem_response

LARGEST_JSON_BYTES = 1 << 20
"""Limit of every body without an image."""

_MOST_DIGITS = 18

_JOBS = "/v1/jobs"
_CONTENT = re.compile(r"/v1/uploads/[^/]+/content")


class BodyLimit:
    """Counts request bodies and answers those beyond the limit with 413.

    Args:
        app: The application behind it.
        max_upload_bytes: Limit where images are sent; elsewhere `LARGEST_JSON_BYTES`.
    """

    def __init__(self, app: ASGIApp, *, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, its body counted."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope)
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and _is_beyond(declared, limit):
            problem = TOO_LARGE.problem(_detail(limit), instance=scope["path"])
            await problem_response(problem)(scope, receive, send)
            return
        await self._app(scope, _count_bytes(receive, limit), send)

    def _limit(self, scope: Scope) -> int:
        return self._max_upload_bytes if _holds_images(scope) else LARGEST_JSON_BYTES


def _holds_images(scope: Scope) -> bool:
    method, path = scope["method"], scope["path"]
    if method == "PUT":
        return _CONTENT.fullmatch(path) is not None
    content_type = Headers(scope=scope).get("content-type", "").lower()
    is_form = content_type.startswith("multipart/form-data")
    return method == "POST" and path == _JOBS and is_form


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
