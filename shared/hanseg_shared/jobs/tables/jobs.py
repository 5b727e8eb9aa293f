"""The table of jobs, as callers of the service see it: made, found, counted, ended."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import FINAL_STATES, JobState, Problem
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import (
    KEPT_WITH_RESULTS,
    STUDY,
    Job,
    NewJob,
    moment,
    study_owner,
    upload_owner,
)
from hanseg_shared.jobs.schema import (
    batches,
    dicom_instances,
    jobs,
    quarantine,
    uploads,
)
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.deliveries import forget_deliveries
from hanseg_shared.jobs.tables.job_row import (
    Ending,
    known_states,
    make_row,
    mark_change,
    read_row,
)
from hanseg_shared.jobs.tables.keys import KeyClaim, settle
from hanseg_shared.jobs.tables.quarantine import JobReader
from hanseg_shared.jobs.tables.queue_bounds import QueueBounds, require_room
from hanseg_shared.jobs.tables.reviews import forget_review
from hanseg_shared.jobs.tables.statistics import forget_facts, sum_jobs
from hanseg_shared.jobs.tables.tallies import count_jobs
from hanseg_shared.jobs.tables.worklist import JobFilter, newest_first

NO_FILTER = JobFilter()

Why = Literal["deleted", "expired"]
"""Why files go: on request, or because their time is over."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and where the next ones begin."""

    jobs: tuple[Job, ...]
    next_position: tuple[float, str] | None


@dataclass(frozen=True, slots=True)
class Owners:
    """Who has payloads in the store, by the name the store knows them by."""

    kept: frozenset[str]
    """Jobs, uploads and studies whose files are in use."""
    expired: frozenset[str]
    """Jobs whose files were deleted; a late worker may have written some again."""


class JobsTable:
    """The jobs: each change is one conditional statement."""

    def __init__(self, database: Database, ending: Ending, reader: JobReader) -> None:
        self._database = database
        self._ending = ending
        self._reader = reader

    def create(
        self,
        job: NewJob,
        *,
        key: KeyClaim | None = None,
        bounds: QueueBounds | None = None,
    ) -> Job:
        """Insert a job and return it as it was made; publishing it is the next step.

        Args:
            job: What it is made of.
            key: The idempotency key of its request, settled at the same moment.
            bounds: How many jobs may be unfinished then; None allows any number.

        Raises:
            LeaseLostError: Another request has taken the key over.
            ServiceUnavailableError: As `QueueBounds.require_room`.
        """
        with self._database.write() as connection:
            require_room(connection, bounds, job.owned_by, 1)
            row = make_row(job, self._database.time(connection))
            connection.execute(jobs.insert().values(row))
            settle(connection, key, job.id)
            made = connection.execute(sa.select(jobs).where(jobs.c.id == job.id)).one()
        return read_row(made._mapping)

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        found = self._reader.read(sa.select(jobs).where(jobs.c.id == job_id))
        if not found:
            raise JobNotFoundError(f"there is no job {job_id}")
        return found[0]

    def owner(self, job_id: str) -> str:
        """Return whose a job is, and nothing else of it.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.read() as connection:
            found = connection.execute(
                sa.select(jobs.c.owned_by).where(jobs.c.id == job_id)
            ).scalar_one_or_none()
        if found is None:
            raise JobNotFoundError(f"there is no job {job_id}")
        return str(found)

    def version(self, job_id: str) -> int | None:
        """Return a number that grows with every change of the job."""
        return self.versions([job_id]).get(job_id)

    def versions(self, job_ids: Collection[str]) -> dict[str, int]:
        """Return the versions of those jobs that there are, by id."""
        asked = sa.select(jobs.c.id, jobs.c.version).where(jobs.c.id.in_(job_ids))
        with self._database.read() as connection:
            return {row.id: row.version for row in connection.execute(asked)}

    def list_page(
        self,
        *,
        limit: int,
        before: tuple[float, str] | None = None,
        created_after: float | None = None,
        case_name: str | None = None,
        found_by: JobFilter = NO_FILTER,
    ) -> JobPage:
        """Return jobs, newest first, that were created before a position."""
        query = sa.select(jobs).where(*found_by.conditions())
        query = newest_first(query, before)
        if created_after is not None:
            query = query.where(jobs.c.created_at > created_after)
        if case_name is not None:
            query = query.where(jobs.c.case_name.in_(list_spellings(case_name)))
        rows = self._reader.read(query.limit(limit + 1))
        found, more = tuple(rows[:limit]), len(rows) > limit
        return JobPage(found, (found[-1].created_at, found[-1].id) if more else None)

    def list_expired(self) -> list[Job]:
        """Return finished jobs whose time to keep results is over."""
        now = self._database.now()
        return self._reader.read(
            sa.select(jobs).where(
                jobs.c.expires_at < now, jobs.c.state != JobState.EXPIRED
            )
        )

    def list_with_expired_inputs(self) -> list[Job]:
        """Return finished jobs that keep their results, but not their images."""
        now = self._database.now()
        return self._reader.read(
            sa.select(jobs).where(
                jobs.c.inputs_expire_at < now,
                jobs.c.expires_at >= now,
                jobs.c.state.in_(FINAL_STATES - {JobState.EXPIRED}),
                jobs.c.removed.is_(None),
            )
        )

    def is_empty(self) -> bool:
        """Whether there is no row, not even of a job that was deleted."""
        with self._database.read() as connection:
            return connection.execute(sa.select(jobs.c.id).limit(1)).first() is None

    def list_disturbed(self) -> list[Job]:
        """Return ended jobs some attempt of which may have come to nothing."""
        return self._reader.read(
            sa.select(jobs).where(
                sa.or_(
                    jobs.c.state.in_((JobState.FAILED, JobState.CANCELLED)),
                    sa.and_(
                        jobs.c.state == JobState.SUCCEEDED,
                        jobs.c.total_attempts > len(Stage),
                    ),
                ),
                jobs.c.removed.is_(None),
            )
        )

    def require_room(self, bounds: QueueBounds, owned_by: str, count: int) -> None:
        """Return if an owner may have so many jobs more; see `QueueBounds`."""
        with self._database.read() as connection:
            bounds.require_room(connection, owned_by, count)

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs there are in each state; states without are 0."""
        with self._database.read() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
            ).all()
        counts = dict.fromkeys(JobState, 0)
        counts.update(known_states(rows))
        return counts

    def owners(self) -> Owners:
        """Return whose payloads must be kept, and whose must not."""
        with self._database.read() as connection:
            rows = connection.execute(sa.select(jobs.c.id, jobs.c.state)).all()
            upload_ids = connection.execute(sa.select(uploads.c.id)).scalars()
            kept = {upload_owner(upload_id) for upload_id in upload_ids}
            studies = connection.execute(
                sa.select(
                    dicom_instances.c.study_uid, dicom_instances.c.owned_by
                ).distinct()
            )
            kept |= {study_owner(uid, owned_by) for uid, owned_by in studies}
        gone = {job_id for job_id, state in rows if state == JobState.EXPIRED}
        kept |= {job_id for job_id, state in rows if state != JobState.EXPIRED}
        return Owners(frozenset(kept), frozenset(gone))

    def forgotten(self, owners: Collection[str]) -> frozenset[str]:
        """Return of which jobs and uploads nothing is kept any more.

        Args:
            owners: By the names that the store knows them by; of studies nothing is
                told.
        """
        ids = {each.removeprefix(upload_owner("")): each for each in owners}
        with self._database.read() as connection:
            alive = sa.select(jobs.c.id).where(
                jobs.c.id.in_(ids), jobs.c.state != JobState.EXPIRED
            )
            kept = {*connection.execute(alive).scalars()}
            sent = sa.select(uploads.c.id).where(uploads.c.id.in_(ids))
            kept |= {upload_owner(each) for each in connection.execute(sent).scalars()}
        asked = (each for each in owners if not each.startswith(STUDY))
        return frozenset(asked) - kept

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

    def note_inputs_gone(self, job_id: str) -> bool:
        """Note that a job's images were deleted; False if that was known.

        Deleting them is the step before.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            kept = _list_kept(connection, job_id)
            removed = _list_removals(connection, job_id, now, "expired", kept)[:1]
            changed = connection.execute(
                jobs.update()
                .where(
                    jobs.c.id == job_id,
                    jobs.c.state != JobState.EXPIRED,
                    jobs.c.removed.is_(None),
                )
                .values(removed=removed, intermediate=kept, **mark_change(now))
            )
        return bool(changed.rowcount)

    def drop_records(self) -> list[str]:
        """Delete the rows of jobs whose record is kept no longer; return their ids."""
        with self._database.write() as connection:
            now = self._database.time(connection)
            dropped = connection.execute(
                jobs.delete()
                .where(jobs.c.record_expires_at < now, jobs.c.state == JobState.EXPIRED)
                .returning(jobs.c.id, jobs.c.batch_id)
            ).all()
            forget_facts(connection, [row.id for row in dropped])
            forget_deliveries(connection, [row.id for row in dropped])
            _drop_empty_batches(connection, {row.batch_id for row in dropped})
        return [row.id for row in dropped]

    def expire(self, job_id: str, problem: Problem) -> Job:
        """Turn a job into a tombstone on request; see `bury`.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        self.bury(job_id, problem, why="deleted")
        return self.get(job_id)

    def bury(self, job_id: str, problem: Problem, *, why: Why) -> bool:
        """Turn a job into a tombstone: what it was, what went and when, no results.

        An unfinished job loses its worker: what that worker still writes is fenced
        off. Deleting the files is the caller's next step. A tombstone stays as it is.

        Returns:
            Whether it was none before.
        """
        buried = False

        def bury(connection: Connection) -> None:
            nonlocal buried
            now = self._database.time(connection)
            count_jobs(connection, jobs.c.id == job_id)  # what is deleted now
            sum_jobs(connection, jobs.c.id == job_id)
            values = self._ending.values(JobState.EXPIRED, now) | {
                "expires_at": now,
                "inputs_expire_at": sa.case(
                    (jobs.c.inputs_expire_at < now, jobs.c.inputs_expire_at), else_=now
                ),
                "record_expires_at": sa.func.coalesce(
                    jobs.c.record_expires_at,
                    self._ending.clocks(now)["record_expires_at"],
                ),
                "removed": _list_removals(connection, job_id, now, why),
                "case_name": None,
                "remarks": [],
                "organs": [],
                "files": [],
                "intermediate": [],
                "registration": None,
                "mr_verdict": None,
                "flag_codes": None,
                "flag_count": None,
                "dicom": None,
                "error": problem.model_dump(mode="json", exclude_none=True),
                "announced": False,
            }
            changed = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state != JobState.EXPIRED)
                .values(values)
            )
            buried = bool(changed.rowcount)
            connection.execute(quarantine.delete().where(quarantine.c.job_id == job_id))
            forget_review(connection, job_id)
            if buried:  # else they tell of that alone
                forget_deliveries(connection, [job_id])
            _forget_batch_name(connection, job_id)

        self._database.write_at_need(bury)
        self._database.forget_deleted()
        return buried


def _list_kept(connection: Connection, job_id: str) -> list[dict[str, Any]]:
    """Return what goes with a job's images, but is kept as long as its results."""
    row = connection.execute(
        sa.select(sa.cast(jobs.c.intermediate, sa.Text).label("files")).where(
            jobs.c.id == job_id, jobs.c.state == JobState.SUCCEEDED
        )
    ).one_or_none()
    files = [] if row is None else _read_list(row.files)
    return [each for each in files if each.get("name") in KEPT_WITH_RESULTS]


def _list_removals(
    connection: Connection,
    job_id: str,
    now: float,
    why: Why,
    kept: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return what goes of a job's files, after what has gone: images, then results.

    Columns that cannot be read count as nothing.
    """
    row = connection.execute(
        sa.select(*(sa.cast(jobs.c[name], sa.Text).label(name) for name in _OF_FILES))
        .where(jobs.c.id == job_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        return []
    at = moment(now).isoformat()
    gone = _read_list(row.removed)
    carried = [each for each in _read_list(row.intermediate) if each not in kept]
    files = _read_list(row.files)
    if not gone:
        gone = [_removal("inputs", _read_list(row.inputs) + carried, at, why)]
    else:
        files += carried
    return [*gone, _removal("results", files, at, why)]


_OF_FILES = ("inputs", "intermediate", "files", "removed")


def _removal(
    what: str, files: list[dict[str, Any]], at: str, why: Why
) -> dict[str, Any]:
    size = sum(size for each in files if isinstance(size := each.get("bytes", 0), int))
    return {"what": what, "files": len(files), "bytes": size, "at": at, "why": why}


def _read_list(text: str | None) -> list[dict[str, Any]]:
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    members = found if isinstance(found, list) else []
    return [each for each in members if isinstance(each, dict)]


def _drop_empty_batches(connection: Connection, ids: set[str | None]) -> None:
    left = sa.exists().where(jobs.c.batch_id == batches.c.id)
    connection.execute(
        batches.delete().where(
            batches.c.id.in_([each for each in ids if each is not None]), ~left
        )
    )


def _forget_batch_name(connection: Connection, job_id: str) -> None:
    """Take its name, a folder's, from a batch whose last job has gone."""
    batch_id = sa.select(jobs.c.batch_id).where(jobs.c.id == job_id).scalar_subquery()
    left = sa.exists().where(
        jobs.c.batch_id == batches.c.id, jobs.c.state != JobState.EXPIRED
    )
    connection.execute(
        batches.update().where(batches.c.id == batch_id, ~left).values(name=None)
    )


def list_spellings(name: str) -> tuple[str, ...]:
    """Return the Unicode forms that a name may have been kept in.

    The API keeps names composed (NFC); rows of earlier versions have what was sent.
    """
    return tuple({unicodedata.normalize(form, name) for form in ("NFC", "NFD")})
