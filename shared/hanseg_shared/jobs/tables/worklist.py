"""The jobs as a worklist shows them: one line each, found by what is shown there.

A line holds no organs, so that a thousand of them are read in little time. What lines
are found by stands in columns of its own: see `summary_values` of `job_row`.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Row

from hanseg_shared.documents import (
    FINAL_STATES,
    JobState,
    MrVerdict,
    Problem,
    Progress,
    ReviewState,
)
from hanseg_shared.flags import FlagCode
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.job_row import STAGES, UNREADABLE
from hanseg_shared.jobs.tables.quarantine import JobReader

HISTORY = 40
"""How many of the last jobs of a model say how long its stages take."""

HISTORY_SECONDS = 5.0
"""How long it is taken to be the same: every open worklist asks for it."""

SETTLING_SECONDS = 5.0
"""A change may become visible so much later than the time it bears."""

_NONE: sa.ColumnElement[int] = sa.literal_column("0")
"""No parameter, so that a partial index of the same condition is used."""

StageSeconds = dict[tuple[str, bool], dict[str, float]]
"""Seconds that each stage takes, for a model, with or without an MR."""

_COLUMNS = (
    jobs.c.id,
    jobs.c.version,
    jobs.c.state,
    jobs.c.case_name,
    jobs.c.batch_id,
    jobs.c.owned_by,
    jobs.c.cancel_requested,
    jobs.c.created_at,
    jobs.c.updated_at,
    jobs.c.stage_started_at,
    jobs.c.finished_at,
    jobs.c.progress,
    jobs.c.error,
    jobs.c.model_name,
    jobs.c.mr_verdict,
    jobs.c.flag_count,
    jobs.c.review,
    sa.func.json_array_length(jobs.c.inputs).label("images"),
)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are looked for; what is empty leaves out none.

    Attributes:
        search: A part of the case's name, in small or capital letters.
        verdicts: What was found about the MR.
        flag: A flag that some organ has.
        model: The model's name.
        states: In which the job is.
        reviews: States of review, of jobs that have results.
        batch_id: The batch of which it is.
        owned_by: Whose it is.
    """

    search: str | None = None
    verdicts: tuple[MrVerdict, ...] = ()
    flag: FlagCode | None = None
    model: str | None = None
    states: tuple[JobState, ...] = ()
    reviews: tuple[ReviewState, ...] = ()
    batch_id: str | None = None
    owned_by: str | None = None

    def conditions(self) -> list[sa.ColumnElement[bool]]:
        """Return what must hold of a row."""
        found: list[sa.ColumnElement[bool]] = []
        if self.search is not None:
            wanted = self.search.lower()
            found.append(
                sa.func.lower(jobs.c.case_name).contains(wanted, autoescape=True)
            )
        if self.verdicts:
            found.append(jobs.c.mr_verdict.in_(self.verdicts))
        if self.flag is not None:
            wanted_code = f" {self.flag} "
            found.append(jobs.c.flag_codes.contains(wanted_code, autoescape=True))
            found.append(jobs.c.flag_count > _NONE)
        if self.model is not None:
            found.append(jobs.c.model_name == self.model)
        if self.states:
            found.append(jobs.c.state.in_(self.states))
        if self.reviews:
            found.append(jobs.c.review.in_(self.reviews))
            found.append(jobs.c.state == JobState.SUCCEEDED)
        if self.batch_id is not None:
            found.append(jobs.c.batch_id == self.batch_id)
        if self.owned_by is not None:
            found.append(jobs.c.owned_by == self.owned_by)
        return found


@dataclass(frozen=True, slots=True)
class Line:
    """A job as one line; times are seconds since 1970.

    Attributes:
        images: How many images were sent: 1 for a CT alone, 2 with an MR.
        flags: How many findings there are about its organs; None before it is done.
    """

    id: str
    version: int
    state: JobState
    owned_by: str
    created_at: float
    updated_at: float
    case_name: str | None = None
    batch_id: str | None = None
    cancel_requested: bool = False
    stage_started_at: float | None = None
    finished_at: float | None = None
    progress: Progress | None = None
    error: Problem | None = None
    model: str | None = None
    mr_verdict: MrVerdict | None = None
    flags: int | None = None
    review: ReviewState | None = None
    images: int = 1


class Worklist:
    """Lines of jobs.

    Args:
        database: Where they are.
        reader: Puts those aside that cannot be read.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        database: Database,
        reader: JobReader,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._reader = reader
        self._clock = clock
        self._history: StageSeconds = {}
        self._history_until = -math.inf

    def list_page(
        self,
        conditions: Iterable[sa.ColumnElement[bool]],
        *,
        limit: int,
        before: tuple[float, str] | None = None,
    ) -> tuple[tuple[Line, ...], tuple[float, str] | None]:
        """Return lines, newest first, and where the next page begins if there is one.

        Args:
            conditions: What must hold of each row.
            limit: How many lines a page has.
            before: The last line of the page before: when it was created, and its id.
        """
        query = newest_first(sa.select(*_COLUMNS).where(*conditions), before)
        lines = self._read(query.limit(limit + 1))
        shown = tuple(lines[:limit])
        more = len(lines) > limit
        return shown, (shown[-1].created_at, shown[-1].id) if more else None

    def list_changes(
        self, conditions: Iterable[sa.ColumnElement[bool]], *, since: float
    ) -> list[Line]:
        """Return lines that have changed after a time, the first to change first."""
        query = (
            sa.select(*_COLUMNS)
            .where(jobs.c.updated_at > since, *conditions)
            .order_by(jobs.c.updated_at)
        )
        return self._read(query)

    def recent_stage_seconds(self) -> StageSeconds:
        """Return `stage_seconds` as they were at most `HISTORY_SECONDS` ago."""
        now = self._clock()
        if now >= self._history_until:
            self._history = self.stage_seconds()
            self._history_until = now + HISTORY_SECONDS
        return self._history

    def stage_seconds(self) -> StageSeconds:
        """Return how long each stage takes: for a model, with or without an MR.

        It is the median over the last jobs that have succeeded.
        """
        query = (
            sa.select(
                jobs.c.model_name,
                sa.func.json_array_length(jobs.c.inputs),
                jobs.c.stages,
            )
            .where(jobs.c.state == JobState.SUCCEEDED)
            .order_by(jobs.c.created_at.desc())
            .limit(5 * HISTORY)
        )
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        seconds: dict[tuple[str, bool], dict[str, list[float]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for model, images, stages in rows:
            for stage in _stages_of(stages):
                known = seconds[str(model), images > 1][stage.name]
                if len(known) < HISTORY:
                    known.append(stage.seconds)
        return {
            kind: {name: median(values) for name, values in stages.items()}
            for kind, stages in seconds.items()
        }

    def count_ahead(self) -> dict[str, int]:
        """Return the place in the queue of each job that waits for its first stage."""
        query = (
            sa.select(jobs.c.id)
            .where(jobs.c.state.not_in(FINAL_STATES))
            .order_by(jobs.c.created_at, jobs.c.id)
        )
        with self._database.read() as connection:
            ids = connection.execute(query).scalars().all()
        return {job_id: place for place, job_id in enumerate(ids)}

    def _read(self, query: sa.Select[Any]) -> list[Line]:
        rows = self._rows(query)
        try:
            return [_line(row) for row in rows]
        except UNREADABLE:
            for row in rows:
                self._reader.put_aside(row.id)
        return [_line(row) for row in self._rows(query)]

    def _rows(self, query: sa.Select[Any]) -> list[Row[Any]]:
        with self._database.read() as connection:
            return list(connection.execute(query).all())


def newest_first(
    query: sa.Select[Any], before: tuple[float, str] | None
) -> sa.Select[Any]:
    """Return a query for its rows in order, those before a position if there is one."""
    query = query.order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    if before is None:
        return query
    return query.where(sa.tuple_(jobs.c.created_at, jobs.c.id) < before)


def seconds_left(
    line: Line,
    takes: Mapping[str, float],
    *,
    now: float,
    ahead: int = 0,
) -> float | None:
    """Return how long a job will take from now on; None if nobody can tell.

    Args:
        line: The job.
        takes: How long each stage takes, from `Worklist.stage_seconds`.
        now: The database's time.
        ahead: How many unfinished jobs came before it; of a queued job each of them
            takes as long as the longest stage, as the others run meanwhile.
    """
    names = [stage.state.value for stage in Stage]
    if line.state.is_final or any(name not in takes for name in names):
        return None
    if line.state is JobState.QUEUED:
        return ahead * max(takes.values()) + sum(takes[name] for name in names)
    index = names.index(line.state.value)
    return _current_stage(line, takes[names[index]], now) + sum(
        takes[name] for name in names[index + 1 :]
    )


def _current_stage(line: Line, usual: float, now: float) -> float:
    if line.stage_started_at is None:
        return usual
    elapsed = max(0.0, now - line.stage_started_at)
    done = line.progress.done if line.progress else 0.0
    by_progress = elapsed * (1 - done) / done if done > 0 else usual
    by_history = max(0.0, usual - elapsed)
    return done * by_progress + (1 - done) * by_history


def _stages_of(value: Any) -> Iterable[Any]:  # noqa: ANN401 - whatever the row holds
    try:
        return STAGES.validate_python(value)
    except UNREADABLE:
        return ()


def _line(row: Row[Any]) -> Line:
    state = JobState(row.state)
    return Line(
        id=row.id,
        version=row.version,
        state=state,
        owned_by=row.owned_by,
        created_at=row.created_at,
        updated_at=row.updated_at,
        case_name=row.case_name,
        batch_id=row.batch_id,
        cancel_requested=row.cancel_requested,
        stage_started_at=row.stage_started_at,
        finished_at=row.finished_at,
        progress=row.progress and Progress.model_validate(row.progress),
        error=row.error and Problem.model_validate(row.error),
        model=row.model_name,
        mr_verdict=None if row.mr_verdict is None else MrVerdict(row.mr_verdict),
        flags=row.flag_count,
        review=ReviewState(row.review) if state is JobState.SUCCEEDED else None,
        images=row.images,
    )
