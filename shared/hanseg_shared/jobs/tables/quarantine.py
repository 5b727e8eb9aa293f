"""Reads jobs; a row that cannot be read is put aside, so that it hides no other.

Rows become unreadable by a damaged disk, by hand, or by a program that knew more. The
job fails with the names of its unreadable columns, what they held is kept in the table
`quarantine` for a person to look at, and goes with the job's files.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Text

from hanseg_shared.documents import JobState
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.schema import jobs, quarantine
from hanseg_shared.jobs.tables.job_row import (
    UNREADABLE,
    Ending,
    empty_value,
    read_column,
    read_row,
)
from hanseg_shared.problems import DAMAGED

logger = logging.getLogger(__name__)


class JobReader:
    """Reads rows as jobs, however damaged single rows are."""

    def __init__(self, database: Database, ending: Ending) -> None:
        self._database = database
        self._ending = ending

    def read(self, query: sa.Select[Any]) -> list[Job]:
        """Return the jobs that a query of all columns finds.

        An unreadable row is put aside first, and then found as the failed job that it
        has become, if the query still asks for it.
        """
        try:
            return self._read(query)
        except UNREADABLE:
            for job_id in self._list_ids(query):
                self._check(job_id)
        return self._read(query)

    def put_aside_unknown_states(self) -> None:
        """Put rows aside whose state no query asks for."""
        query = sa.select(jobs.c.id).where(jobs.c.state.not_in(list(JobState)))
        for job_id in self._list_ids(query):
            self.put_aside(job_id)

    def put_aside(self, job_id: str) -> None:
        """Keep what an unreadable row holds, and make it a failed job.

        A tombstone stays one. Nothing happens to a row that can be read.
        """
        with self._database.write() as connection:
            faulty = _find_faulty(connection, job_id)
            if not faulty:
                return
            now = self._database.time(connection)
            _keep(connection, job_id, faulty, now)
            problem = DAMAGED.problem(
                f"the job's record in the database is damaged ({', '.join(faulty)}); "
                "send the case again"
            )
            ended = self._ending.failure_values(problem, now)
            values = {name: empty_value(name, now) for name in faulty} | ended
            if "finished_at" in faulty:
                values["finished_at"] = now
            values["state"] = sa.case(
                (jobs.c.state == JobState.EXPIRED, JobState.EXPIRED),
                else_=JobState.FAILED,
            )
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(values))
        logger.error(
            "job %s: its row cannot be read (%s); the job has failed, and the row is "
            "kept in the table quarantine",
            job_id,
            ", ".join(faulty),
        )

    def _read(self, query: sa.Select[Any]) -> list[Job]:
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        return [read_row(row._mapping) for row in rows]

    def _list_ids(self, query: sa.Select[Any]) -> list[str]:
        with self._database.read() as connection:
            only_ids = query.with_only_columns(jobs.c.id)
            return list(connection.execute(only_ids).scalars())

    def _check(self, job_id: str) -> None:
        try:
            self._read(sa.select(jobs).where(jobs.c.id == job_id))
        except UNREADABLE:
            self.put_aside(job_id)


def _find_faulty(connection: Connection, job_id: str) -> list[str]:
    """Return the names of the columns that cannot be read; none if there is no row."""
    faulty = []
    for column in jobs.c:
        query = sa.select(column).where(jobs.c.id == job_id)
        try:
            found = connection.execute(query).one_or_none()
            if found is not None:
                read_column(column.name, found[0])
        except UNREADABLE:
            faulty.append(column.name)
    return faulty


def _keep(connection: Connection, job_id: str, faulty: list[str], now: float) -> None:
    columns = [sa.cast(column, Text).label(column.name) for column in jobs.c]
    row = connection.execute(sa.select(*columns).where(jobs.c.id == job_id)).one()
    connection.execute(quarantine.delete().where(quarantine.c.job_id == job_id))
    connection.execute(
        quarantine.insert().values(
            job_id=job_id,
            found_at=now,
            columns=", ".join(faulty),
            row=json.dumps(dict(row._mapping)),
        )
    )
