"""The routes of statistics: what became of organs over time, for who looks after it."""

from __future__ import annotations

import csv
import io
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response

from hanseg_segmentation.api.context import Context, ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.problem_responses import INVALID, RefusedError
from hanseg_segmentation.api.http.respond import (
    Responses,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import Day, Label
from hanseg_segmentation.api.http.statistics import (
    Interval,
    StatisticsDocument,
    correction_of,
    csv_rows,
    day_of,
    first_days,
    make_document,
)
from hanseg_segmentation.api.principal import PrincipalDep
from hanseg_shared.access import Scope
from hanseg_shared.jobs.tables.statistics import Which
from hanseg_shared.review.documents import CorrectionList

router = APIRouter(tags=["statistics"], route_class=StrictRoute)

STATISTICS = "/v1/statistics"

MOST_PERIODS = 120
"""A time of more is not answered: 120 months are ten years."""

Since = Annotated[Day | None, Query(description="First day (UTC) on which jobs ended.")]
Until = Annotated[Day | None, Query(description="Last day.")]
Model = Annotated[
    Label | None,
    Query(description="Name and version, as in `models`.", examples=["default 1.0"]),
]
Step = Annotated[Interval, Query(description="How long each period is.")]


async def _which(
    principal: PrincipalDep,
    since: Since = None,
    until: Until = None,
    model: Model = None,
) -> Which:
    """Return which jobs are asked for, of those that the caller may see."""
    return Which(
        since=None if since is None else day_of(since),
        until=None if until is None else day_of(until),
        model=model,
        owned_by=principal.sees_only,
    )


WhichDep = Annotated[Which, Depends(_which)]

_TABLE: Responses = {
    200: {
        "description": "A row for each organ and period.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


@router.get(
    STATISTICS,
    summary="Read the statistics",
    operation_id="get_statistics",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(200, "Counts and means.", model=StatisticsDocument)
    | describe_problems(422),
)
def get_statistics(
    context: ContextDep, which: WhichDep, interval: Step = Interval.MONTH
) -> Response:
    """Return per organ and over time: volumes, flags, verdicts and corrections.

    Of one's own jobs, or of everybody's with the scope `read_all`. No job is named.
    """
    return answer(_read(context, which, interval))


@router.get(
    STATISTICS + "/csv",
    summary="Export the statistics",
    operation_id="export_statistics",
    dependencies=[needs(Scope.READ)],
    response_class=Response,
    responses=_TABLE | describe_problems(422),
)
def export_statistics(
    context: ContextDep, which: WhichDep, interval: Step = Interval.MONTH
) -> Response:
    """Return the same as a table; cells are no formulas."""
    document = _read(context, which, interval)
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(csv_rows(document))
    return Response(
        text.getvalue(),
        headers={
            "Cache-Control": "no-store",
            "Content-Disposition": 'attachment; filename="statistics.csv"',
        },
        media_type="text/csv",
    )


@router.get(
    STATISTICS + "/corrections",
    summary="List corrections",
    operation_id="list_corrections",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(200, "The newest first.", model=CorrectionList)
    | describe_problems(422),
)
def list_corrections(
    context: ContextDep,
    which: WhichDep,
    limit: Annotated[int, Query(ge=1, le=5000, description="How many.")] = 1000,
) -> Response:
    """Return every organ that was corrected and how far, for as long as its job is."""
    rows = context.services.tables.statistics.corrections(which, limit=limit)
    return answer(CorrectionList(corrections=tuple(map(correction_of, rows))))


def _read(context: Context, which: Which, interval: Interval) -> StatisticsDocument:
    statistics = context.services.tables.statistics
    statistics.take_ended(most=1)
    days = statistics.days(which)
    starts = first_days(days, interval) if days else []
    if len(starts) > MOST_PERIODS:
        raise RefusedError(
            INVALID,
            f"{len(starts)} periods are too many to be told one by one; ask for "
            f"{MOST_PERIODS} at most, by since and until, or for longer ones",
        )
    return make_document(
        statistics.sums(which, starts) if starts else {},
        days=days,
        models=statistics.models(which.owned_by),
        model=which.model,
        interval=interval,
    )
