"""The query parameters by which jobs are found, the same wherever they are listed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from hanseg_segmentation.api.http.schemas import Id, Label
from hanseg_shared.documents import JobState, MrVerdict, ReviewState
from hanseg_shared.flags import FlagCode
from hanseg_shared.jobs.tables.worklist import JobFilter


def _job_filter(
    search: Annotated[
        Label | None,
        Query(description="Only jobs with this in their case's name, in any case."),
    ] = None,
    verdict: Annotated[
        list[MrVerdict] | None,
        Query(description="Only jobs of whose MR this was found."),
    ] = None,
    flag: Annotated[
        FlagCode | None, Query(description="Only jobs with this flag at some organ.")
    ] = None,
    model: Annotated[
        str | None,
        Query(max_length=64, description="Only jobs for the model of this name."),
    ] = None,
    state: Annotated[
        list[JobState] | None, Query(description="Only jobs in one of these states.")
    ] = None,
    review: Annotated[
        list[ReviewState] | None,
        Query(description="Only jobs with results whose review is in such a state."),
    ] = None,
    batch: Annotated[
        Id | None, Query(description="Only the jobs of this batch.")
    ] = None,
) -> JobFilter:
    return JobFilter(
        search,
        tuple(verdict or ()),
        flag,
        model,
        states=tuple(state or ()),
        reviews=tuple(review or ()),
        batch_id=batch,
    )


JobFilterDep = Annotated[JobFilter, Depends(_job_filter)]
