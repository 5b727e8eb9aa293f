"""The route that Prometheus reads."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from hanseg_segmentation.api.http.access import GuardedRoute, needs_elsewhere
from hanseg_segmentation.api.http.prometheus import Metrics
from hanseg_segmentation.api.http.respond import Responses, describe_problems
from hanseg_shared.access import Scope

router = APIRouter(tags=["health"], route_class=GuardedRoute)

_TEXT: Responses = {
    200: {
        "description": "Prometheus's text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/metrics",
    summary="Metrics for Prometheus",
    operation_id="metrics",
    dependencies=[needs_elsewhere(Scope.READ_ALL)],
    response_class=Response,
    responses=_TEXT | describe_problems(),
)
def read_metrics(request: Request) -> Response:
    """Return counts and times of jobs, queues, workers and requests."""
    metrics: Metrics = request.app.state.metrics
    return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)
