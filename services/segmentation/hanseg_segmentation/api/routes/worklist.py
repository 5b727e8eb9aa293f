"""The routes of the worklist: jobs as single lines, and their changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import GateDep, GuardedRoute, needs
from hanseg_segmentation.api.http.cursor import next_page, position_of
from hanseg_segmentation.api.http.filters import JobFilterDep
from hanseg_segmentation.api.http.links import WORKLIST
from hanseg_segmentation.api.http.respond import (
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import WorklistPage
from hanseg_segmentation.api.principal import PrincipalDep
from hanseg_segmentation.api.watching import EventStream
from hanseg_segmentation.api.worklist_lines import line_events, to_documents
from hanseg_shared.access import Scope

router = APIRouter(tags=["jobs"], route_class=GuardedRoute)

_LINE: dict[str, Any] = {
    "type": "string",
    "contentMediaType": "application/json",
    "contentSchema": {"$ref": "#/components/schemas/WorklistLine"},
}

_EVENT: dict[str, Any] = {
    "oneOf": [
        {
            "type": "object",
            "required": ["event", "data"],
            "properties": {"event": {"const": event}, "data": data},
        }
        for event, data in (("ready", {"const": "{}"}), ("line", _LINE))
    ]
}


@router.get(
    WORKLIST,
    summary="List jobs as lines",
    operation_id="list_lines",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(
        200, "A page of lines, the newest job first.", model=WorklistPage
    )
    | describe_problems(422),
)
def list_lines(
    request: Request,
    context: ContextDep,
    principal: PrincipalDep,
    found_by: JobFilterDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Lines a page.")] = 100,
    cursor: Annotated[
        str | None,
        Query(max_length=200, description="From the `next` of the page before."),
    ] = None,
) -> Response:
    """List jobs as a worklist shows them: a line each, without their organs."""
    lines, position = context.services.tables.worklist.list_page(
        replace(found_by, owned_by=principal.sees_only).conditions(),
        limit=limit,
        before=position_of(cursor),
    )
    found = to_documents(context, principal, lines)
    url = None if position is None else next_page(request.url, position)
    return answer(WorklistPage(jobs=found, next=url))


@router.get(
    WORKLIST + "/events",
    summary="Follow the worklist",
    operation_id="follow_lines",
    dependencies=[needs(Scope.READ)],
    response_class=StreamingResponse,
    responses=describe_problems(429)
    | {
        200: {
            "description": (
                "Server-sent events: `ready` once, from when on nothing is missed; "
                "then `line` for each change of a job, its data the job's line."
            ),
            "content": {
                "text/event-stream": {
                    "schema": _EVENT,
                    "example": 'event: line\ndata: {"id": "...", ...}\n\n',
                }
            },
        }
    },
)
async def follow_lines(
    gate: GateDep, context: ContextDep, principal: PrincipalDep
) -> Response:
    """Stream the changes of all jobs that the caller may see, until it goes away."""
    events = line_events(
        context, principal, may_go_on=partial(gate.is_still_valid, principal)
    )
    return EventStream(events, context.streams, principal.share)
