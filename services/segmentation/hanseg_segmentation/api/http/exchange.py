"""A request and its answer, as whoever serves it may find them: an id, a status."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Message, Scope, Send

REQUEST_ID = "X-Request-Id"

_SANE_ID = re.compile(r"[0-9a-fA-F-]{32,64}")
"""An id that a caller or a proxy may choose: a UUID, or random hexadecimal digits, as
nginx, Caddy and Envoy make them. Others may be anything, also a patient's number."""

_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}

_CURRENT: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class Exchange:
    """One request's id and answer.

    Attributes:
        id: The caller's, if it sent a sane one.
        status: That of the answer, once it has begun.
        problem: The type of the problem that it was answered with.
        began: When it came, in seconds since 1970.
        jobs: The jobs, made or refused, whose images were looked at for it.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        sent = Headers(scope=scope).get(REQUEST_ID, "")
        self.id = sent if _SANE_ID.fullmatch(sent) else uuid.uuid4().hex
        self.status: int | None = None
        self.problem: str | None = None
        self.began = time.time()
        self.jobs: list[str] = []
        self._send = send

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.id
            for name, value in _SAFE_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)

    @contextmanager
    def going_on(self) -> Iterator[None]:
        """Be what `current_exchange` returns to whoever serves this request."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)


def current_exchange() -> Exchange | None:
    """Return the exchange that is being served; None outside of a request."""
    return _CURRENT.get()
