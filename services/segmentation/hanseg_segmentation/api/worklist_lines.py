"""Lines of the worklist as documents, with the time that is left, and as events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from anyio.to_thread import run_sync

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.schemas import WorklistLine
from hanseg_segmentation.api.principal import Principal
from hanseg_segmentation.api.watching import RECONNECT_MS, News, follow
from hanseg_shared.jobs.record import moment, moment_or_none
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.worklist import (
    SETTLING_SECONDS,
    Line,
    StageSeconds,
    seconds_left,
)


def to_documents(
    context: Context, principal: Principal, lines: Iterable[Line]
) -> tuple[WorklistLine, ...]:
    """Return lines as a caller sees them, with an estimate of the time that is left."""
    tables = context.services.tables
    found = tuple(lines)
    if all(line.state.is_final for line in found):
        return tuple(_document(line, principal, None) for line in found)
    now = tables.database.now()
    history = tables.worklist.recent_stage_seconds()
    ahead = tables.worklist.count_ahead()
    return tuple(
        _document(line, principal, _estimate(line, history, ahead, now))
        for line in found
    )


def _estimate(
    line: Line,
    history: StageSeconds,
    ahead: dict[str, int],
    now: float,
) -> float | None:
    takes = history.get((str(line.model), line.images > 1), {})
    left = seconds_left(line, takes, now=now, ahead=ahead.get(line.id, 0))
    return None if left is None else round(left, 1)


def _document(line: Line, principal: Principal, left: float | None) -> WorklistLine:
    return WorklistLine(
        id=line.id,
        version=line.version,
        state=line.state,
        cancelling=line.cancel_requested and not line.state.is_final,
        case=line.case_name,
        batch=line.batch_id,
        owner=line.owned_by if principal.sees_only is None else None,
        created_at=moment(line.created_at),
        finished_at=moment_or_none(line.finished_at),
        progress=line.progress,
        seconds_left=left,
        model=line.model,
        has_mr=line.images > 1,
        mr_verdict=line.mr_verdict,
        flags=line.flags,
        review=line.review,
        error=None if line.error is None else line.error.detail or line.error.title,
    )


@dataclass
class Changes:
    """What has changed since the last look, each change once.

    Attributes:
        tables: Where the jobs are.
        owned_by: Whose jobs alone are looked for; None for everybody's.
        since: The database's time of the last look.
    """

    tables: Tables
    owned_by: str | None
    since: float
    _told: dict[str, int] = field(default_factory=dict)

    def look(self) -> list[Line]:
        """Return the lines that are new since the last look, the first change first."""
        now = self.tables.database.now()
        conditions = [] if self.owned_by is None else [jobs.c.owned_by == self.owned_by]
        # a change may become visible after a later one has: look back a little
        found = self.tables.worklist.list_changes(
            conditions, since=self.since - SETTLING_SECONDS
        )
        new = [line for line in found if self._told.get(line.id) != line.version]
        self._told = {line.id: line.version for line in found}
        self.since = now
        return new


async def line_events(
    context: Context,
    principal: Principal,
    *,
    may_go_on: Callable[[], Awaitable[bool]],
) -> AsyncGenerator[bytes, None]:
    """Yield the changes of all jobs that a caller may see as server-sent events.

    Args:
        context: What the application works with.
        principal: Who asks.
        may_go_on: Whether the client may still be told anything; it is asked before
            each event and each comment.
    """
    tables = context.services.tables
    now = await run_sync(tables.database.now)
    changes = Changes(tables, principal.sees_only, since=now)

    async def look() -> News:
        lines = await run_sync(changes.look)
        if not lines:
            return (), False
        if not await may_go_on():
            return (), True
        documents = await run_sync(to_documents, context, principal, lines)
        return [_event(each) for each in documents], False

    yield f"retry: {RECONNECT_MS}\n\nevent: ready\ndata: {{}}\n\n".encode()
    async for event in follow(context, look, may_go_on=may_go_on):
        yield event


def _event(document: WorklistLine) -> bytes:
    return f"event: line\ndata: {document.model_dump_json()}\n\n".encode()
