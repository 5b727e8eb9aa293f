"""The tables of workers: which are alive, and how far each of them is."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import WorkerState, WorkerStatus
from hanseg_shared.jobs.schema import worker_states, workers

FUTURE_SECONDS = 5.0
"""A report may be so much younger than now: clocks of hosts differ a little."""


class WorkersTable:
    """What workers last reported of themselves."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def report_ready(
        self, name: str, *, queue: str, device: str, proven_seconds: float = 0.0
    ) -> None:
        """Note that a worker is alive and takes jobs.

        Args:
            name: Which worker.
            queue: Which it serves.
            device: What it computes on.
            proven_seconds: How long ago it proved that it can.
        """
        with self._database.write() as connection:
            values = {
                "queue": queue,
                "device": device,
                "seen_at": self._database.time(connection),
            }
            known = connection.execute(
                workers.update().where(workers.c.name == name).values(values)
            ).rowcount
            if not known:
                connection.execute(workers.insert().values(name=name, **values))
            self._note_state(
                connection, name, queue, WorkerState.READY, None, proven_seconds
            )

    def report_loading(self, name: str, *, queue: str, trouble: str | None) -> None:
        """Note that a worker lives but is not ready, and why if something is wrong."""
        with self._database.write() as connection:
            connection.execute(workers.delete().where(workers.c.name == name))
            self._note_state(connection, name, queue, WorkerState.LOADING, trouble)

    def _note_state(
        self,
        connection: Connection,
        name: str,
        queue: str,
        state: WorkerState,
        trouble: str | None,
        proven_seconds: float | None = None,
    ) -> None:
        table, now = worker_states, self._database.time(connection)
        values: dict[str, Any] = {
            "queue": queue,
            "state": state,
            "seen_at": now,
            "trouble": trouble,
        }
        if proven_seconds is not None:
            values["proven_at"] = now - proven_seconds
        since = sa.case((table.c.state == state, table.c.since), else_=now)
        known = connection.execute(
            table.update().where(table.c.name == name).values(since=since, **values)
        ).rowcount
        if not known:
            connection.execute(table.insert().values(name=name, since=now, **values))

    def statuses(self) -> list[WorkerStatus]:
        """Return the last report of every worker that has not left."""
        with self._database.read() as connection:
            now = self._database.time(connection)
            rows = connection.execute(
                sa.select(worker_states).order_by(worker_states.c.name)
            ).all()
        return [
            WorkerStatus(
                name=row.name,
                queue=row.queue,
                state=WorkerState(row.state),
                since=row.since,
                silent_seconds=_silence(row.seen_at, now),
                trouble=row.trouble,
                proven_seconds=(
                    None if row.proven_at is None else _silence(row.proven_at, now)
                ),
            )
            for row in rows
        ]

    def drop_dead(self, *, unseen_for_seconds: float) -> int:
        """Forget workers that died without a word; return how many."""
        with self._database.write() as connection:
            limit = self._database.time(connection) - unseen_for_seconds
            connection.execute(
                worker_states.delete().where(worker_states.c.seen_at < limit)
            )
            return connection.execute(
                workers.delete().where(workers.c.seen_at < limit)
            ).rowcount

    def forget(self, name: str) -> None:
        """Note that a worker has left."""
        with self._database.write() as connection:
            for table in (workers, worker_states):
                connection.execute(table.delete().where(table.c.name == name))


def _silence(seen_at: float, now: float) -> float:
    """Return how long ago a report was made; one from the future is no fresher."""
    return max(now - seen_at, seen_at - now - FUTURE_SECONDS, 0.0)
