"""The query parameters by which jobs are found, the same wherever they are listed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Query

from hanseg_segmentation.api.http.schemas import Id, Label
from hanseg_shared.documents import JobState, MrVerdict, ReviewState
from hanseg_shared.flags import FlagCode
from hanseg_shared.jobs.schema import jobs
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
) -> JobFilter:
    return JobFilter(search, tuple(verdict or ()), flag, model)


JobFilterDep = Annotated[JobFilter, Depends(_job_filter)]


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines of the worklist are asked for."""

    found_by: JobFilter
    states: tuple[JobState, ...]
    reviews: tuple[ReviewState, ...]
    batch: str | None

    def conditions(self, *, owned_by: str | None) -> list[sa.ColumnElement[bool]]:
        """Return what must hold of a row, for a caller who sees an owner's jobs only.

        Args:
            owned_by: The owner; None for a caller who sees everybody's.
        """
        found = self.found_by.conditions()
        if owned_by is not None:
            found.append(jobs.c.owned_by == owned_by)
        if self.states:
            found.append(jobs.c.state.in_(self.states))
        if self.reviews:
            found.append(jobs.c.review.in_(self.reviews))
            found.append(jobs.c.state == JobState.SUCCEEDED)
        if self.batch is not None:
            found.append(jobs.c.batch_id == self.batch)
        return found


def _line_filter(
    found_by: JobFilterDep,
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
) -> LineFilter:
    return LineFilter(found_by, tuple(state or ()), tuple(review or ()), batch)


LineFilterDep = Annotated[LineFilter, Depends(_line_filter)]
