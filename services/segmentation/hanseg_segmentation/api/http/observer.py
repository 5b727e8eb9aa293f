"""What is done for every request: an id, safe headers, a count, and a last resort.

The last resort turns an error that nobody expected into a problem document; what it
was is in the log, under the request's id.
"""

from __future__ import annotations

import logging
import time
import uuid

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hanseg_segmentation.api.http.problem_responses import (
    internal_problem,
    problem_response,
)
from hanseg_segmentation.api.http.prometheus import Metrics

logger = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"

UNMATCHED = "unmatched"
"""The route of requests that no route answers: their paths are not counted apart."""

CLIENT_CLOSED = 499
"""The status that is counted when the client went away before the answer."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE"}

_SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Observer:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, observed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(send)
        scope.setdefault("state", {})["request_id"] = exchange.id
        started = time.perf_counter()
        try:
            await self._app(scope, receive, exchange.send)
        except ClientDisconnect:
            logger.info("request %s: the client went away", exchange.id)
        except Exception:
            logger.exception("request %s: an unexpected error", exchange.id)
            if exchange.status is not None:
                raise
            problem = internal_problem(scope["path"], exchange.id)
            await problem_response(problem)(scope, receive, exchange.send)
        finally:
            self._metrics.observe(
                method=scope["method"] if scope["method"] in _METHODS else "other",
                route=_route(scope),
                status=exchange.status or CLIENT_CLOSED,
                seconds=time.perf_counter() - started,
            )


class _Exchange:
    """One request's id and answer."""

    def __init__(self, send: Send) -> None:
        self.id = uuid.uuid4().hex
        self.status: int | None = None
        self._send = send

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[REQUEST_ID] = self.id
            for name, value in _SAFE_HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path_format", None) or UNMATCHED
