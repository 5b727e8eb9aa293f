"""The table of jobs, as callers of the service see it: made, found, counted, ended."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import sqlalchemy as sa

from hanseg_shared.documents import FINAL_STATES, JobState, Problem
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Job, NewJob, upload_owner
from hanseg_shared.jobs.schema import jobs, uploads
from hanseg_shared.jobs.tables.job_row import Ending, make_row, mark_change, read_row


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and where the next ones begin."""

    jobs: tuple[Job, ...]
    next_position: tuple[float, str] | None


@dataclass(frozen=True, slots=True)
class Owners:
    """Who has payloads in the store, by the name the store knows them by."""

    kept: frozenset[str]
    """Jobs and uploads whose files are in use."""
    expired: frozenset[str]
    """Jobs whose files were deleted; a late worker may have written some again."""


class JobsTable:
    """The jobs: each change is one conditional statement."""

    def __init__(self, database: Database, ending: Ending) -> None:
        self._database = database
        self._ending = ending

    def create(self, job: NewJob) -> Job:
        """Insert a queued job; publishing it is the caller's next step."""
        with self._database.write() as connection:
            row = make_row(job, self._database.time(connection))
            connection.execute(jobs.insert().values(row))
        return self.get(job.id)

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.read() as connection:
            row = connection.execute(
                sa.select(jobs).where(jobs.c.id == job_id)
            ).one_or_none()
        if row is None:
            raise JobNotFoundError(f"there is no job {job_id}")
        return read_row(row._mapping)

    def version(self, job_id: str) -> int | None:
        """Return a number that grows with every change of the job."""
        with self._database.read() as connection:
            return connection.execute(
                sa.select(jobs.c.version).where(jobs.c.id == job_id)
            ).scalar_one_or_none()

    def list_page(
        self,
        *,
        limit: int,
        before: tuple[float, str] | None = None,
        states: tuple[JobState, ...] = (),
        created_after: float | None = None,
        batch_id: str | None = None,
        case_name: str | None = None,
    ) -> JobPage:
        """Return jobs, newest first, that were created before a position."""
        query = sa.select(jobs).order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
        if before is not None:
            moment, job_id = before
            query = query.where(
                sa.or_(
                    jobs.c.created_at < moment,
                    sa.and_(jobs.c.created_at == moment, jobs.c.id < job_id),
                )
            )
        if states:
            query = query.where(jobs.c.state.in_(states))
        if created_after is not None:
            query = query.where(jobs.c.created_at > created_after)
        if batch_id is not None:
            query = query.where(jobs.c.batch_id == batch_id)
        if case_name is not None:
            query = query.where(jobs.c.case_name.in_(list_spellings(case_name)))
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
        found = tuple(read_row(row._mapping) for row in rows[:limit])
        more = len(rows) > limit
        return JobPage(found, (found[-1].created_at, found[-1].id) if more else None)

    def list_finished_after(self, moment: float) -> list[Job]:
        """Return jobs that ended after a time (seconds since 1970), oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs)
                .where(jobs.c.finished_at > moment)
                .order_by(jobs.c.finished_at)
            ).all()
        return [read_row(row._mapping) for row in rows]

    def list_expired(self) -> list[Job]:
        """Return finished jobs whose time to keep files is over."""
        with self._database.read() as connection:
            now = self._database.time(connection)
            rows = connection.execute(
                sa.select(jobs).where(
                    jobs.c.expires_at < now, jobs.c.state != JobState.EXPIRED
                )
            ).all()
        return [read_row(row._mapping) for row in rows]

    def count_unfinished(self) -> int:
        """Return how many jobs are not in a final state."""
        with self._database.read() as connection:
            return connection.execute(
                sa.select(sa.func.count())
                .select_from(jobs)
                .where(jobs.c.state.not_in(FINAL_STATES))
            ).scalar_one()

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs there are in each state; states without are 0."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
            ).all()
        counts = dict.fromkeys(JobState, 0)
        counts.update({JobState(state): count for state, count in rows})
        return counts

    def owners(self) -> Owners:
        """Return whose payloads must be kept, and whose must not."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(jobs.c.id, jobs.c.state)).all()
            upload_ids = connection.execute(sa.select(uploads.c.id)).scalars()
            kept = {upload_owner(upload_id) for upload_id in upload_ids}
        gone = {job_id for job_id, state in rows if state == JobState.EXPIRED}
        kept |= {job_id for job_id, state in rows if state != JobState.EXPIRED}
        return Owners(frozenset(kept), frozenset(gone))

    def request_cancel(self, job_id: str) -> Job:
        """Ask for a job to be cancelled; one that no worker has ends at once.

        Raises:
            JobNotFoundError: There is none of that id.
            JobStateError: It is in a final state already.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            changed = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state.not_in(FINAL_STATES))
                .values(cancel_requested=True, **mark_change(now))
            ).rowcount
            self._ending.end_unclaimed_cancelled(connection, now, job_id)
        job = self.get(job_id)
        if not changed:
            raise JobStateError(f"job {job_id} is {job.state} and cannot be cancelled")
        return job

    def expire(self, job_id: str, problem: Problem) -> Job:
        """Turn a job into a tombstone: what it was and when it went, no results.

        An unfinished job loses its worker: what that worker still writes is fenced
        off. Deleting the files is the caller's next step. A tombstone stays as it is.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state != JobState.EXPIRED)
                .values(
                    self._ending.values(JobState.EXPIRED, now)
                    | {
                        "expires_at": now,
                        "case_name": None,
                        "organs": [],
                        "files": [],
                        "intermediate": [],
                        "registration": None,
                        "error": problem.model_dump(mode="json", exclude_none=True),
                    }
                )
            )
        return self.get(job_id)


def list_spellings(name: str) -> tuple[str, ...]:
    """Return the Unicode forms that a name may have been kept in.

    The API keeps names composed (NFC); rows of earlier versions have what was sent.
    """
    return tuple({unicodedata.normalize(form, name) for form in ("NFC", "NFD")})
