"""What is done for every request: an id, safe headers, a count, and a last resort.

The last resort turns an error that nobody expected into a problem document; what it
was is in the log, under the request's id.
"""

from __future__ import annotations

import logging
import time

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from hanseg_segmentation.api.http.exchange import Exchange
from hanseg_segmentation.api.http.problem_responses import (
    internal_problem,
    problem_response,
)
from hanseg_segmentation.api.http.prometheus import Metrics
from hanseg_shared.logs import log_fields
from hanseg_shared.traces import (
    Span,
    Tracer,
    Value,
    parse_traceparent,
    submission_id,
    trace_id_of,
)

logger = logging.getLogger(__name__)

UNMATCHED = "unmatched"
"""The route of requests that no route answers: their paths are not counted apart."""

CLIENT_CLOSED = 499
"""The status that is counted when the client went away before the answer."""

_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE"}


class Observer:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, tracer: Tracer) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, observed."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, send)
        scope.setdefault("state", {})["request_id"] = exchange.id
        with exchange.going_on(), log_fields(request=exchange.id):
            await self._serve(scope, receive, exchange)

    async def _serve(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
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
            self._note(scope, exchange, time.perf_counter() - started)

    def _note(self, scope: Scope, exchange: Exchange, seconds: float) -> None:
        """Count a request and log it, by its route: a URL may name a patient."""
        method = scope["method"] if scope["method"] in _METHODS else "other"
        route, status = _route(scope), exchange.status or CLIENT_CLOSED
        self._metrics.observe(
            method=method,
            route=route,
            status=status,
            seconds=seconds,
            problem=exchange.problem,
        )
        if exchange.jobs:
            self._trace(scope, exchange, method=method, route=route, status=status)
        logger.info(
            "request %s: %s %s %d in %.3f s",
            exchange.id,
            method,
            route,
            status,
            seconds,
        )

    def _trace(
        self, scope: Scope, exchange: Exchange, *, method: str, route: str, status: int
    ) -> None:
        """Write down a submission: the root of the trace of each of its jobs."""
        callers = parse_traceparent(Headers(scope=scope).get("traceparent"))
        told: dict[str, Value] = {
            "http.request.method": method,
            "http.route": route,
            "http.response.status_code": status,
            "hanseg.request": exchange.id,
        }
        if exchange.problem is not None:
            told["hanseg.problem"] = exchange.problem
        for job_id in exchange.jobs:
            span = Span(
                "submission",
                trace_id_of(job_id),
                submission_id(job_id),
                None,
                exchange.began,
                time.time(),
                told | {"hanseg.job": job_id},
                links=() if callers is None else (callers,),
                failed=exchange.problem is not None,
            )
            self._tracer.take(span)


def _route(scope: Scope) -> str:
    return getattr(scope.get("route"), "path_format", None) or UNMATCHED
