"""The table of drains: hosts and workers that finish their job and take no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.pulse import ALIVE_SECONDS
from hanseg_shared.jobs.record import WorkerStatus
from hanseg_shared.jobs.schema import drains


@dataclass(frozen=True, slots=True)
class Drain:
    """A host or a worker that is drained, and since when, in seconds since 1970."""

    name: str
    since: float

    def concerns(self, worker: str) -> bool:
        """Whether a worker, named by its host and process, is drained by it."""
        return self.name in {worker, host_of(worker)}


def host_of(worker: str) -> str:
    """Return the host of a worker by its name, which ends with its process."""
    return worker.rpartition("-")[0]


def stand_of(status: WorkerStatus, drains: Sequence[Drain]) -> str:
    """Return how a worker stands: ready, loading, draining, or silent for too long."""
    if status.silent_seconds > ALIVE_SECONDS:
        return "silent"
    if any(drain.concerns(status.name) for drain in drains):
        return "draining"
    return status.state.value


class Drains:
    """What is drained now."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, name: str) -> bool:
        """Drain a host or a worker; False if it is drained already."""
        with self._database.write() as connection:
            known = sa.select(drains.c.name).where(drains.c.name == name)
            if connection.execute(known).first() is not None:
                return False
            now = self._database.time(connection)
            connection.execute(drains.insert().values(name=name, since=now))
        return True

    def end(self, name: str) -> bool:
        """Let a host or a worker take jobs again; False if it was not drained."""
        with self._database.write() as connection:
            ended = connection.execute(drains.delete().where(drains.c.name == name))
        return bool(ended.rowcount)

    def list(self) -> list[Drain]:
        """Return what is drained, by name."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(drains).order_by(drains.c.name)).all()
        return [Drain(row.name, row.since) for row in rows]

    def concern(self, worker: str) -> bool:
        """Whether a worker, or its host, is drained."""
        names = [worker, host_of(worker)]
        query = sa.select(drains.c.name).where(drains.c.name.in_(names)).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None
