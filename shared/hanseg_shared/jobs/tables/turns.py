"""Whose turn it is: which due job a free worker takes.

Urgent jobs come before routine ones, and jobs that are all but done before others.
Beyond that, owners take turns: whoever's last turn is longest ago comes next, with
their oldest job, so that a batch of thousands keeps nobody waiting for longer than one
stage (round robin over owners; every stage is one turn). A worker prefers jobs of the
model that it has loaded, up to a bound; see `Wish.most_passes`.

A message only says that there is something to do; but a job that was put off, as the
store failed for instance, is taken once its own message has come again. Choosing costs
a few statements over one index, and happens in the transaction that claims the job.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import JobState, Priority
from hanseg_shared.jobs.database import Database, take_turns
from hanseg_shared.jobs.schema import api_keys, jobs, turns
from hanseg_shared.jobs.stages import Stage

LOCK_NUMBER = 0x7475726E
"""PostgreSQL's advisory lock under which workers choose, one after the other."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a worker can take.

    Attributes:
        stages: Those it does; all of one queue.
        models: What it has loaded, by name; empty if that does not matter to it.
        most_passes: How often one job may be passed over for others whose model is
            loaded: after that it is taken when its turn comes, whoever's turn it is.
        most_running: How many stages of one owner may be at work, unless a key of
            theirs says otherwise; None for any number.
    """

    stages: tuple[Stage, ...]
    models: frozenset[str] = frozenset()
    most_passes: int = 0
    most_running: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The job that a worker shall have, and the stage of it."""

    job_id: str
    stage: Stage


@dataclass(frozen=True, slots=True)
class _Group:
    """The due jobs of one owner, of one priority, in one stage."""

    stage: Stage
    priority: str
    owned_by: str
    first_at: float


_DUE = (
    jobs.c.token.is_(None),
    jobs.c.cancel_requested.is_(False),
    jobs.c.put_off.is_(False),
)


class Turns:
    """Chooses due jobs; every change is made in the caller's transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def choose(self, connection: Connection, wish: Wish) -> Choice | None:
        """Return what a worker shall do next; None if nothing is due that it may do.

        Until the transaction ends, no other worker chooses.
        """
        take_turns(connection, LOCK_NUMBER)
        groups = self._list_eligible(connection, wish)
        if not groups:
            return None
        group, job_id = groups[0], _find_oldest(connection, groups[0])
        if job_id is None:
            return None
        return self._prefer_loaded(connection, wish, groups, group, job_id)

    def call_back(self, connection: Connection, job_id: str) -> None:
        """Have a job that was put off be due again, as its message has come."""
        connection.execute(
            jobs.update()
            .where(jobs.c.id == job_id, jobs.c.put_off.is_(True))
            .values(put_off=False)
        )

    def note(self, connection: Connection, choice: Choice, owned_by: str) -> None:
        """Note that an owner had a turn; the last stage of a job, a short one, is none.

        Args:
            connection: That of the transaction.
            choice: What was claimed.
            owned_by: Whose job it is.
        """
        if choice.stage.following is None:
            return
        queue = choice.stage.queue.value
        latest = sa.select(sa.func.coalesce(sa.func.max(turns.c.turn), 0) + 1).where(
            turns.c.queue == queue
        )
        turn = connection.execute(latest).scalar_one()
        mine = (turns.c.queue == queue, turns.c.owned_by == owned_by)
        known = connection.execute(turns.update().where(*mine).values(turn=turn))
        if not known.rowcount:
            connection.execute(
                turns.insert().values(queue=queue, owned_by=owned_by, turn=turn)
            )

    def free_places(
        self, owners: Collection[str], most_running: int | None
    ) -> dict[str, int]:
        """Return how many more stages of owners may be at work; others have no limit.

        Args:
            owners: Whom it is asked of.
            most_running: See `Wish`.
        """
        with self._database.read() as connection:
            return _free_places(connection, owners, most_running)

    def list_first_due(self, owned_by: str) -> list[tuple[str, JobState]]:
        """Return an owner's oldest due job of each state: what would wake workers."""
        query = (
            sa.select(jobs.c.id, jobs.c.state)
            .where(*_DUE, jobs.c.owned_by == owned_by)
            .order_by(jobs.c.created_at)
            .limit(1)
        )
        found = []
        with self._database.read() as connection:
            for state in JobState:
                if Stage.due_in(state) is None:
                    continue
                row = connection.execute(
                    query.where(jobs.c.state == state)
                ).one_or_none()
                if row is not None:
                    found.append((str(row.id), state))
        return found

    def _list_eligible(self, connection: Connection, wish: Wish) -> list[_Group]:
        """Return the groups that a worker may choose from, the first in turn first."""
        found = list(_list_groups(connection, wish.stages))
        if not found:
            return []
        places = _free_places(
            connection, {each.owned_by for each in found}, wish.most_running
        )
        last = _read_turns(connection, wish.stages[0].queue.value)
        return sorted(
            (each for each in found if places.get(each.owned_by, 1) > 0),
            key=lambda each: (
                each.priority != Priority.URGENT,
                each.stage.following is not None,
                last.get(each.owned_by, 0),
                each.first_at,
            ),
        )

    def _prefer_loaded(
        self,
        connection: Connection,
        wish: Wish,
        groups: list[_Group],
        group: _Group,
        job_id: str,
    ) -> Choice:
        """Return the job whose turn it is, or one of a loaded model in its place."""
        fair = Choice(job_id, group.stage)
        if not wish.models or not _needs_model(group):
            return fair
        row = connection.execute(
            sa.select(jobs.c.model_name, jobs.c.passed_over).where(jobs.c.id == job_id)
        ).one()
        if row.model_name in wish.models or row.passed_over >= wish.most_passes:
            return fair
        for other in groups:
            if not _needs_model(other):
                continue
            found = _find_oldest(connection, other, models=wish.models)
            if found is not None:
                connection.execute(
                    jobs.update()
                    .where(jobs.c.id == job_id)
                    .values(passed_over=jobs.c.passed_over + 1)
                )
                return Choice(found, other.stage)
        return fair


def _needs_model(group: _Group) -> bool:
    """Whether which model is loaded matters; an urgent job waits for none."""
    return group.stage is Stage.SEGMENT and group.priority != Priority.URGENT


def _list_groups(connection: Connection, stages: Iterable[Stage]) -> Iterable[_Group]:
    states = {
        state.value: stage for stage in stages for state in stage.claimable_states
    }
    rows = connection.execute(
        sa.select(
            jobs.c.state,
            jobs.c.priority,
            jobs.c.owned_by,
            sa.func.min(jobs.c.created_at).label("first_at"),
        )
        .where(jobs.c.state.in_(list(states)), *_DUE)
        .group_by(jobs.c.state, jobs.c.priority, jobs.c.owned_by)
    )
    for row in rows:
        yield _Group(states[row.state], row.priority, row.owned_by, row.first_at)


def _find_oldest(
    connection: Connection, group: _Group, *, models: Collection[str] = ()
) -> str | None:
    query = (
        sa.select(jobs.c.id)
        .where(
            jobs.c.state.in_(group.stage.claimable_states),
            *_DUE,
            jobs.c.priority == group.priority,
            jobs.c.owned_by == group.owned_by,
        )
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(1)
    )
    if models:
        query = query.where(jobs.c.model_name.in_(models))
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found


def _read_turns(connection: Connection, queue: str) -> dict[str, int]:
    rows = connection.execute(
        sa.select(turns.c.owned_by, turns.c.turn).where(turns.c.queue == queue)
    )
    return {row.owned_by: row.turn for row in rows}


def _free_places(
    connection: Connection, owners: Collection[str], most_running: int | None
) -> dict[str, int]:
    limits = _read_limits(connection, owners)
    if most_running is not None:
        limits = {owner: limits.get(owner, most_running) for owner in owners}
    if not limits:
        return {}
    running = connection.execute(
        sa.select(jobs.c.owned_by, sa.func.count())
        .where(
            jobs.c.state.in_([state for state in JobState if Stage.due_in(state)]),
            jobs.c.token.is_not(None),
            jobs.c.owned_by.in_(list(limits)),
        )
        .group_by(jobs.c.owned_by)
    ).all()
    at_work: dict[str, int] = dict(map(tuple, running))
    return {owner: most - at_work.get(owner, 0) for owner, most in limits.items()}


def _read_limits(connection: Connection, owners: Collection[str]) -> dict[str, int]:
    """Return what keys say of owners; of several, the one that allows most counts."""
    rows = connection.execute(
        sa.select(api_keys.c.owner, sa.func.max(api_keys.c.max_running))
        .where(
            api_keys.c.owner.in_(list(owners)),
            api_keys.c.max_running.is_not(None),
            api_keys.c.revoked_at.is_(None),
        )
        .group_by(api_keys.c.owner)
    ).all()
    return dict(map(tuple, rows))
