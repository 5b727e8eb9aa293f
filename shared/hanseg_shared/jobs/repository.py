"""Reading and changing the rows: each change is one conditional statement.

A claim gives a worker a random token. Everything the worker writes afterwards names
the token, so that a worker that lost its lease writes nothing (fencing).
"""

from __future__ import annotations

import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Connection, Engine, RowMapping
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hanseg_shared.documents import (
    FINAL_STATES,
    InferenceReport,
    InputSummary,
    JobOptions,
    JobState,
    ModelSummary,
    OrganResult,
    Problem,
    Progress,
    RegistrationReport,
    ResultFile,
    StageTime,
)
from hanseg_shared.errors import (
    JobNotFoundError,
    JobStateError,
    ServiceUnavailableError,
)
from hanseg_shared.jobs import schema
from hanseg_shared.jobs.record import (
    Batch,
    Job,
    NewJob,
    Upload,
    WorkerState,
    WorkerStatus,
    upload_owner,
)
from hanseg_shared.jobs.stages import Stage

BUSY_TIMEOUT_SECONDS = 15.0
"""How long SQLite waits for another writer before it gives up."""

CONNECT_SECONDS = 5
"""How long PostgreSQL may take to accept a connection."""

ABANDONED_KEY_SECONDS = 900.0
"""An idempotency key still being processed after so long belongs to a dead request."""

ORDER_SECONDS = 2e-6
"""By how much the jobs of a batch differ in age, so that they are done in order."""

Clock = Callable[[Connection], float]

_INPUTS = TypeAdapter(tuple[InputSummary, ...])
_STAGES = TypeAdapter(tuple[StageTime, ...])
_ORGANS = TypeAdapter(tuple[OrganResult, ...])
_FILES = TypeAdapter(tuple[ResultFile, ...])

jobs = schema.jobs


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a worker publishes with a finished stage; None leaves a field as it is."""

    registration: RegistrationReport | None = None
    intermediate: tuple[ResultFile, ...] = ()
    """Files for the next stages, added to those of the stages before."""
    model: ModelSummary | None = None
    inference: InferenceReport | None = None
    organs: tuple[OrganResult, ...] | None = None
    files: tuple[ResultFile, ...] | None = None
    """The job's result files, set by the last stage."""
    versions: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, newest first, and where the next ones begin."""

    jobs: tuple[Job, ...]
    next_position: tuple[float, str] | None


@dataclass(frozen=True, slots=True)
class KeyState:
    """What is known of an idempotency key that was used before."""

    fingerprint: str
    resource: str | None
    """The id of what was made; None while the first request is being processed."""


@dataclass(frozen=True, slots=True)
class Owners:
    """Who has payloads in the store, by the name the store knows them by."""

    kept: frozenset[str]
    """Jobs and uploads whose files are in use."""
    expired: frozenset[str]
    """Jobs whose files were deleted; a late worker may have written some again."""


class JobRepository:
    """The tables behind an SQLAlchemy engine.

    Args:
        engine: See `open_database`.
        retention_seconds: How long a job keeps its files once it has ended.
        clock: Returns the time; the database's own by default, so that several hosts
            agree about leases.
    """

    def __init__(
        self, engine: Engine, *, retention_seconds: float, clock: Clock | None = None
    ) -> None:
        self._engine = engine
        self._retention_seconds = retention_seconds
        self._clock = clock or _database_time

    # -- jobs ------------------------------------------------------------------

    def create(self, job: NewJob) -> Job:
        """Insert a queued job; publishing it is the caller's next step."""
        with self._writing() as connection:
            connection.execute(jobs.insert().values(_row(job, self._clock(connection))))
        return self.get(job.id)

    def get(self, job_id: str) -> Job:
        """Return a job.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._reading() as connection:
            row = connection.execute(
                sa.select(jobs).where(jobs.c.id == job_id)
            ).one_or_none()
        if row is None:
            raise JobNotFoundError(f"there is no job {job_id}")
        return _job(row._mapping)

    def version(self, job_id: str) -> int | None:
        """Return a number that grows with every change of the job."""
        with self._reading() as connection:
            return connection.execute(
                sa.select(jobs.c.version).where(jobs.c.id == job_id)
            ).scalar_one_or_none()

    def page(
        self,
        *,
        limit: int,
        before: tuple[float, str] | None = None,
        states: tuple[JobState, ...] = (),
        created_after: float | None = None,
        batch_id: str | None = None,
        case_name: str | None = None,
    ) -> Page:
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
            query = query.where(jobs.c.case_name.in_(spellings(case_name)))
        with self._reading() as connection:
            rows = connection.execute(query.limit(limit + 1)).all()
        found = tuple(_job(row._mapping) for row in rows[:limit])
        more = len(rows) > limit
        return Page(found, (found[-1].created_at, found[-1].id) if more else None)

    def count_unfinished(self) -> int:
        """Return how many jobs are not in a final state."""
        with self._reading() as connection:
            return connection.execute(
                sa.select(sa.func.count())
                .select_from(jobs)
                .where(jobs.c.state.not_in(FINAL_STATES))
            ).scalar_one()

    def count_by_state(self) -> dict[JobState, int]:
        """Return how many jobs there are in each state; states without are 0."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
            ).all()
        counts = dict.fromkeys(JobState, 0)
        counts.update({JobState(state): count for state, count in rows})
        return counts

    def oldest_waiting_seconds(self) -> float:
        """Return how long the oldest unclaimed job has been waiting, 0 if none."""
        with self._reading() as connection:
            oldest = connection.execute(
                sa.select(sa.func.min(jobs.c.updated_at)).where(
                    jobs.c.state.not_in(FINAL_STATES), jobs.c.token.is_(None)
                )
            ).scalar_one()
            return 0.0 if oldest is None else max(0.0, self._clock(connection) - oldest)

    def finished_after(self, moment: float) -> list[Job]:
        """Return jobs that ended after a time (seconds since 1970), oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(jobs)
                .where(jobs.c.finished_at > moment)
                .order_by(jobs.c.finished_at)
            ).all()
        return [_job(row._mapping) for row in rows]

    def request_cancel(self, job_id: str) -> Job:
        """Ask for a job to be cancelled; one that nobody works on ends at once.

        Raises:
            JobNotFoundError: There is none of that id.
            JobStateError: It is in a final state already.
        """
        with self._writing() as connection:
            now = self._clock(connection)
            changed = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state.not_in(FINAL_STATES))
                .values(cancel_requested=True, **self._touched(now))
            ).rowcount
            self._end_unclaimed_cancelled(connection, now, job_id)
        job = self.get(job_id)
        if not changed:
            raise JobStateError(f"job {job_id} is {job.state} and cannot be cancelled")
        return job

    # -- what workers do -------------------------------------------------------

    def claim(self, job_id: str, stage: Stage, *, lease_seconds: float) -> Job | None:
        """Give the stage to the caller, under a new token.

        Returns:
            The job with its token, or None when there is nothing to do: another
            worker has it, the stage is over, or the job was cancelled.
        """
        token = uuid.uuid4().hex
        with self._writing() as connection:
            now = self._clock(connection)
            claimed = connection.execute(
                jobs.update()
                .where(
                    jobs.c.id == job_id,
                    jobs.c.state.in_(stage.claimable_states),
                    jobs.c.token.is_(None),
                    jobs.c.cancel_requested.is_(False),
                )
                .values(
                    state=stage.state,
                    token=token,
                    lease_until=now + lease_seconds,
                    attempts=jobs.c.attempts + 1,
                    total_attempts=jobs.c.total_attempts + 1,
                    started_at=sa.func.coalesce(jobs.c.started_at, now),
                    stage_started_at=sa.func.coalesce(jobs.c.stage_started_at, now),
                    progress=Progress(stage=stage.state).model_dump(mode="json"),
                    **self._touched(now),
                )
                .returning(*jobs.c)
            ).one_or_none()
        # Read in the same statement: a later read could show the token of another
        # worker, and two would work under one.
        return None if claimed is None else _job(claimed._mapping)

    def renew(
        self,
        job_id: str,
        token: str,
        *,
        lease_seconds: float,
        progress: Progress | None = None,
    ) -> bool | None:
        """Prolong a lease and note the progress.

        Returns:
            True to go on, False when a cancel was requested, None when the job
            belongs to another worker.
        """
        with self._writing() as connection:
            now = self._clock(connection)
            values: dict[str, Any] = {"lease_until": now + lease_seconds}
            if progress is not None:
                values |= self._touched(now)
                values["progress"] = progress.model_dump(mode="json")
            cancelled = connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.token == token)
                .values(values)
                .returning(jobs.c.cancel_requested)
            ).scalar_one_or_none()
        return None if cancelled is None else not cancelled

    def finish_stage(self, job: Job, stage: Stage, result: StageResult) -> bool:
        """Publish a stage's result and make the next stage due.

        Returns:
            False when the token is no longer valid, or a cancel was requested:
            nothing was published then.
        """
        following = stage.following
        with self._writing() as connection:
            now = self._clock(connection)
            values = self._touched(now) | self._result_values(job, result)
            values |= {
                "stages": _STAGES.dump_python(
                    (*job.stages, self._stage_time(job, stage, now)), mode="json"
                ),
                "token": None,
                "lease_until": None,
                "published_at": None,
                "attempts": 0,
                "stage_started_at": None,
                "progress": None,
            }
            if following is None:
                values |= self._final(JobState.SUCCEEDED, now)
            else:
                values["state"] = following.state
            return bool(
                connection.execute(
                    jobs.update()
                    .where(
                        *_claimed_by(job),
                        jobs.c.state == stage.state,
                        jobs.c.cancel_requested.is_(False),
                    )
                    .values(values)
                ).rowcount
            )

    def fail(self, job: Job, problem: Problem) -> bool:
        """End a claimed job as failed; False when the token is no longer valid."""
        with self._writing() as connection:
            now = self._clock(connection)
            values = self._touched(now) | self._final(JobState.FAILED, now)
            values["error"] = problem.model_dump(mode="json", exclude_none=True)
            return self._update_claimed(connection, job, values)

    def end_cancelled(self, job: Job) -> bool:
        """End a claimed job as cancelled; False when the token is no longer valid."""
        with self._writing() as connection:
            now = self._clock(connection)
            values = self._touched(now) | self._final(JobState.CANCELLED, now)
            return self._update_claimed(connection, job, values)

    def release(self, job: Job, *, later: bool = False, counted: bool = True) -> bool:
        """Give a claimed stage back, to be tried again; a cancelled job ends.

        Its message is sent with the reconciler's next pass.

        Args:
            job: As it was claimed.
            later: Treats the message as sent just now, so that it is sent when a lost
                one would be: an outage gets time to pass.
            counted: Whether this was one of the stage's attempts. It always is one of
                `total_attempts`, which tell how often the job was begun.

        Returns:
            False when the token is no longer valid.
        """
        with self._writing() as connection:
            now = self._clock(connection)
            values = self._touched(now) | _UNCLAIMED
            values["published_at"] = now if later else None
            if not counted:
                values["attempts"] = jobs.c.attempts - 1
            released = self._update_claimed(connection, job, values)
            if released:
                self._end_unclaimed_cancelled(connection, now, job.id)
        return released

    # -- what the reconciler does ----------------------------------------------

    def release_lost_leases(
        self, *, attempts: int, problem: Problem
    ) -> tuple[list[str], list[str]]:
        """Take jobs away from workers that stopped renewing.

        Returns:
            The ids made due again, and the ids that failed for good after
            `attempts` tries of one stage.
        """
        with self._writing() as connection:
            now = self._clock(connection)
            lost = sa.and_(jobs.c.token.is_not(None), jobs.c.lease_until < now)
            cancelled = self._touched(now) | self._final(JobState.CANCELLED, now)
            connection.execute(
                jobs.update()
                .where(lost, jobs.c.cancel_requested.is_(True))
                .values(cancelled)
            )
            poisoned = self._touched(now) | self._final(JobState.FAILED, now)
            poisoned["error"] = problem.model_dump(mode="json", exclude_none=True)
            failed = connection.execute(
                jobs.update()
                .where(lost, jobs.c.attempts >= attempts)
                .values(poisoned)
                .returning(jobs.c.id)
            ).all()
            released = connection.execute(
                jobs.update()
                .where(lost)
                .values(self._touched(now) | _UNCLAIMED)
                .returning(jobs.c.id)
            ).all()
            self._end_unclaimed_cancelled(connection, now, None)
        return [row.id for row in released], [row.id for row in failed]

    def due(self, *, published_before_seconds: float | None) -> list[Job]:
        """Return unclaimed jobs whose message was never sent.

        With `published_before_seconds`, also those whose message was sent so many
        seconds ago or earlier and may have been lost.
        """
        unsent: sa.ColumnElement[bool] = jobs.c.published_at.is_(None)
        with self._reading() as connection:
            if published_before_seconds is not None:
                limit = self._clock(connection) - published_before_seconds
                unsent = sa.or_(unsent, jobs.c.published_at < limit)
            rows = connection.execute(
                sa.select(jobs)
                .where(
                    jobs.c.token.is_(None),
                    jobs.c.state.not_in(FINAL_STATES),
                    jobs.c.cancel_requested.is_(False),
                    unsent,
                )
                .order_by(jobs.c.created_at)
            ).all()
        return [_job(row._mapping) for row in rows]

    def mark_published(self, job: Job) -> None:
        """Note that the message of the job's due stage was sent."""
        with self._writing() as connection:
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job.id, jobs.c.state == job.state)
                .where(jobs.c.token.is_(None))
                .values(published_at=self._clock(connection))
            )

    def expired(self) -> list[Job]:
        """Return finished jobs whose time to keep files is over."""
        with self._reading() as connection:
            now = self._clock(connection)
            rows = connection.execute(
                sa.select(jobs).where(
                    jobs.c.expires_at < now, jobs.c.state != JobState.EXPIRED
                )
            ).all()
        return [_job(row._mapping) for row in rows]

    def mark_expired(self, job_id: str, problem: Problem) -> Job:
        """Turn a job into a tombstone: what it was and when it went, no results.

        An unfinished job loses its worker: what that worker still writes is fenced
        off. Deleting the files is the caller's next step. A tombstone stays as it is.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._writing() as connection:
            now = self._clock(connection)
            connection.execute(
                jobs.update()
                .where(jobs.c.id == job_id, jobs.c.state != JobState.EXPIRED)
                .values(
                    self._touched(now)
                    | self._final(JobState.EXPIRED, now)
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

    def count_unclaimed(self) -> dict[JobState, int]:
        """Return how many jobs wait for a worker in each state that has some."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.select(jobs.c.state, sa.func.count())
                .where(
                    jobs.c.token.is_(None),
                    jobs.c.state.not_in(FINAL_STATES),
                    jobs.c.cancel_requested.is_(False),
                )
                .group_by(jobs.c.state)
            ).all()
        return {JobState(state): count for state, count in rows}

    def owners(self) -> Owners:
        """Return whose payloads must be kept, and whose must not."""
        with self._reading() as connection:
            rows = connection.execute(sa.select(jobs.c.id, jobs.c.state)).all()
            uploads = connection.execute(sa.select(schema.uploads.c.id)).scalars()
            kept = {upload_owner(upload_id) for upload_id in uploads}
        gone = {job_id for job_id, state in rows if state == JobState.EXPIRED}
        kept |= {job_id for job_id, state in rows if state != JobState.EXPIRED}
        return Owners(frozenset(kept), frozenset(gone))

    # -- workers ---------------------------------------------------------------

    def report_worker(self, name: str, *, queue: str, device: str) -> None:
        """Note that a worker is alive and takes jobs."""
        with self._writing() as connection:
            values = {
                "queue": queue,
                "device": device,
                "seen_at": self._clock(connection),
            }
            known = connection.execute(
                schema.workers.update()
                .where(schema.workers.c.name == name)
                .values(values)
            ).rowcount
            if not known:
                connection.execute(schema.workers.insert().values(name=name, **values))
            self._note_state(connection, name, queue, WorkerState.READY, None)

    def report_loading(self, name: str, *, queue: str, trouble: str | None) -> None:
        """Note that a worker lives but is not ready, and why if something is wrong."""
        with self._writing() as connection:
            self._note_state(connection, name, queue, WorkerState.LOADING, trouble)

    def _note_state(
        self,
        connection: Connection,
        name: str,
        queue: str,
        state: WorkerState,
        trouble: str | None,
    ) -> None:
        table, now = schema.worker_states, self._clock(connection)
        values = {"queue": queue, "state": state, "seen_at": now, "trouble": trouble}
        since = sa.case((table.c.state == state, table.c.since), else_=now)
        known = connection.execute(
            table.update().where(table.c.name == name).values(since=since, **values)
        ).rowcount
        if not known:
            connection.execute(table.insert().values(name=name, since=now, **values))

    def worker_statuses(self) -> list[WorkerStatus]:
        """Return what every worker last said that has not said good-bye."""
        table = schema.worker_states
        with self._reading() as connection:
            now = self._clock(connection)
            rows = connection.execute(sa.select(table).order_by(table.c.name)).all()
        return [
            WorkerStatus(
                name=row.name,
                queue=row.queue,
                state=WorkerState(row.state),
                since=row.since,
                silent_seconds=max(0.0, now - row.seen_at),
                trouble=row.trouble,
            )
            for row in rows
        ]

    def live_workers(self, *, seen_within_seconds: float) -> dict[str, list[str]]:
        """Return the names of live workers by queue."""
        table = schema.workers
        with self._reading() as connection:
            since = self._clock(connection) - seen_within_seconds
            rows = connection.execute(
                sa.select(table.c.queue, table.c.name).where(table.c.seen_at >= since)
            ).all()
        found: dict[str, list[str]] = {}
        for queue, name in rows:
            found.setdefault(queue, []).append(name)
        return found

    def drop_dead_workers(self, *, unseen_for_seconds: float) -> int:
        """Forget workers that died without a word; return how many."""
        table = schema.workers
        with self._writing() as connection:
            limit = self._clock(connection) - unseen_for_seconds
            states = schema.worker_states
            connection.execute(states.delete().where(states.c.seen_at < limit))
            return connection.execute(
                table.delete().where(table.c.seen_at < limit)
            ).rowcount

    def forget_worker(self, name: str) -> None:
        """Note that a worker has left."""
        with self._writing() as connection:
            for table in (schema.workers, schema.worker_states):
                connection.execute(table.delete().where(table.c.name == name))

    # -- uploads, batches, idempotency keys ------------------------------------

    def create_upload(self, *, size: int, sha256: str) -> Upload:
        """Announce a file."""
        upload_id = uuid.uuid4().hex
        with self._writing() as connection:
            connection.execute(
                schema.uploads.insert().values(
                    id=upload_id,
                    created_at=self._clock(connection),
                    bytes=size,
                    sha256=sha256,
                    received=False,
                )
            )
        return self.get_upload(upload_id)

    def get_upload(self, upload_id: str) -> Upload:
        """Return an announced file.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        table = schema.uploads
        with self._reading() as connection:
            row = connection.execute(
                sa.select(table).where(table.c.id == upload_id)
            ).one_or_none()
        if row is None:
            raise JobNotFoundError(f"there is no upload {upload_id}")
        return Upload(**row._mapping)

    def mark_received(self, upload_id: str) -> None:
        """Note that the file is in the store."""
        with self._writing() as connection:
            connection.execute(
                schema.uploads.update()
                .where(schema.uploads.c.id == upload_id)
                .values(received=True)
            )

    def delete_upload(self, upload_id: str) -> None:
        """Forget an upload; deleting its file is the caller's part."""
        with self._writing() as connection:
            connection.execute(
                schema.uploads.delete().where(schema.uploads.c.id == upload_id)
            )

    def drop_old_uploads(self, *, older_than_seconds: float) -> list[Upload]:
        """Forget uploads of that age; deleting their files is the caller's part."""
        table = schema.uploads
        with self._writing() as connection:
            limit = self._clock(connection) - older_than_seconds
            rows = connection.execute(
                table.delete().where(table.c.created_at < limit).returning(*table.c)
            ).all()
        return [Upload(**row._mapping) for row in rows]

    def create_batch(self, name: str | None, members: Sequence[NewJob] = ()) -> Batch:
        """Insert a batch and its queued jobs: all of them, or nothing at all."""
        batch_id = uuid.uuid4().hex
        with self._writing() as connection:
            now = self._clock(connection)
            connection.execute(
                schema.batches.insert().values(id=batch_id, created_at=now, name=name)
            )
            for position, job in enumerate(members):
                member = replace(job, batch_id=batch_id)
                moment = now + position * ORDER_SECONDS
                connection.execute(jobs.insert().values(_row(member, moment)))
        return self.get_batch(batch_id)

    def get_batch(self, batch_id: str) -> Batch:
        """Return a batch with its jobs counted by state.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        table = schema.batches
        with self._reading() as connection:
            row = connection.execute(
                sa.select(table).where(table.c.id == batch_id)
            ).one_or_none()
            counted = connection.execute(
                sa.select(jobs.c.state, sa.func.count())
                .where(jobs.c.batch_id == batch_id)
                .group_by(jobs.c.state)
            ).all()
        if row is None:
            raise JobNotFoundError(f"there is no batch {batch_id}")
        counts = {JobState(state): count for state, count in counted}
        return Batch(row.id, row.name, row.created_at, counts)

    def reserve_key(self, key: str, fingerprint: str) -> KeyState | None:
        """Take an idempotency key; what is known of it if it was taken before.

        A key whose first request is still being processed after
        `ABANDONED_KEY_SECONDS` is taken over: that request is dead.
        """
        table = schema.idempotency_keys
        with self._writing() as connection:
            now = self._clock(connection)
            connection.execute(
                table.delete().where(
                    table.c.key == key,
                    table.c.resource.is_(None),
                    table.c.created_at < now - ABANDONED_KEY_SECONDS,
                )
            )
            try:
                with connection.begin_nested():
                    connection.execute(
                        table.insert().values(
                            key=key, fingerprint=fingerprint, created_at=now
                        )
                    )
            except IntegrityError:  # taken before, or at this very moment
                row = connection.execute(
                    sa.select(table).where(table.c.key == key)
                ).one_or_none()
                if row is None:  # and given back since: the caller may try again
                    return KeyState(fingerprint, None)
                return KeyState(row.fingerprint, row.resource)
        return None

    def settle_key(self, key: str, resource: str) -> None:
        """Note what the first request with a key has made; the first one counts."""
        table = schema.idempotency_keys
        with self._writing() as connection:
            connection.execute(
                table.update()
                .where(table.c.key == key, table.c.resource.is_(None))
                .values(resource=resource)
            )

    def release_unsettled_keys(self) -> int:
        """Give back the keys of all requests that made nothing yet; return how many.

        Only for who knows that no such request can still be running.
        """
        table = schema.idempotency_keys
        with self._writing() as connection:
            return connection.execute(
                table.delete().where(table.c.resource.is_(None))
            ).rowcount

    def drop_old_keys(self, *, older_than_seconds: float) -> int:
        """Forget idempotency keys of that age; return how many."""
        table = schema.idempotency_keys
        with self._writing() as connection:
            limit = self._clock(connection) - older_than_seconds
            return connection.execute(
                table.delete().where(table.c.created_at < limit)
            ).rowcount

    def release_key(self, key: str) -> None:
        """Give a key back whose request made nothing."""
        table = schema.idempotency_keys
        with self._writing() as connection:
            connection.execute(
                table.delete().where(table.c.key == key, table.c.resource.is_(None))
            )

    # -- the rest --------------------------------------------------------------

    def identity(self) -> str:
        """Return what tells this database from every other, made at the first call."""
        table = schema.installations
        query = sa.select(table.c.identity).where(table.c.slot == 1)
        with self._writing() as connection:
            known = connection.execute(query).scalar_one_or_none()
            if known is not None:
                return str(known)
            made = uuid.uuid4().hex
            try:
                with connection.begin_nested():
                    connection.execute(table.insert().values(slot=1, identity=made))
            except IntegrityError:  # made by another process at this very moment
                return str(connection.execute(query).scalar_one())
        return made

    def ping(self) -> None:
        """Raise `ServiceUnavailableError` unless the database answers."""
        with self._reading() as connection:
            connection.execute(sa.select(sa.literal(1)))

    def now(self) -> float:
        """Return the time that leases are measured in."""
        with self._reading() as connection:
            return self._clock(connection)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        engine = self._engine.execution_options(writing=False)
        with _translated(), engine.connect() as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with _translated(), self._engine.begin() as connection:
            yield connection

    @staticmethod
    def _touched(now: float) -> dict[str, Any]:
        return {"updated_at": now, "version": jobs.c.version + 1}

    def _final(self, state: JobState, now: float) -> dict[str, Any]:
        return {
            "state": state,
            "token": None,
            "lease_until": None,
            "progress": None,
            "finished_at": sa.func.coalesce(jobs.c.finished_at, now),
            "expires_at": now + self._retention_seconds,
        }

    @staticmethod
    def _stage_time(job: Job, stage: Stage, now: float) -> StageTime:
        started = job.stage_started_at if job.stage_started_at is not None else now
        return StageTime(
            name=stage.state,
            seconds=round(max(0.0, now - started), 3),
            attempts=job.attempts,
        )

    @staticmethod
    def _result_values(job: Job, result: StageResult) -> dict[str, Any]:
        values: dict[str, Any] = {
            "intermediate": _FILES.dump_python(
                (*job.intermediate, *result.intermediate), mode="json"
            )
        }
        if result.registration is not None:
            values["registration"] = result.registration.model_dump(mode="json")
        if result.model is not None:
            values["model"] = result.model.model_dump(mode="json")
        if result.inference is not None:
            values["inference"] = result.inference.model_dump(mode="json")
        if result.organs is not None:
            values["organs"] = _ORGANS.dump_python(result.organs, mode="json")
        if result.files is not None:
            values["files"] = _FILES.dump_python(result.files, mode="json")
        if result.versions is not None:
            values["versions"] = job.versions | result.versions
        return values

    @staticmethod
    def _update_claimed(
        connection: Connection, job: Job, values: dict[str, Any]
    ) -> bool:
        return bool(
            connection.execute(
                jobs.update().where(*_claimed_by(job)).values(values)
            ).rowcount
        )

    def _end_unclaimed_cancelled(
        self, connection: Connection, now: float, job_id: str | None
    ) -> None:
        statement = jobs.update().where(
            jobs.c.cancel_requested.is_(True),
            jobs.c.token.is_(None),
            jobs.c.state.not_in(FINAL_STATES),
        )
        if job_id is not None:
            statement = statement.where(jobs.c.id == job_id)
        values = self._touched(now) | self._final(JobState.CANCELLED, now)
        connection.execute(statement.values(values))


def spellings(name: str) -> tuple[str, ...]:
    """Return the Unicode forms that a name may have been kept in.

    The API keeps names composed (NFC); rows of earlier versions have what was sent.
    """
    return tuple({unicodedata.normalize(form, name) for form in ("NFC", "NFD")})


def _row(job: NewJob, now: float) -> dict[str, Any]:
    return {
        "id": job.id,
        "state": JobState.QUEUED,
        "created_at": now,
        "updated_at": now,
        "attempts": 0,
        "total_attempts": 0,
        "cancel_requested": False,
        "version": 1,
        "case_name": job.case_name,
        "batch_id": job.batch_id,
        "options": job.options.model_dump(mode="json"),
        "inputs": _INPUTS.dump_python(job.inputs, mode="json"),
        "remarks": list(job.remarks),
        "stages": [],
        "intermediate": [],
        "organs": [],
        "files": [],
        "versions": {},
    }


def _claimed_by(job: Job) -> tuple[sa.ColumnElement[bool], ...]:
    if job.token is None:
        raise JobStateError(f"job {job.id} was never claimed by this worker")
    return (jobs.c.id == job.id, jobs.c.token == job.token)


_UNCLAIMED: dict[str, Any] = {
    "token": None,
    "lease_until": None,
    "published_at": None,
    "progress": None,
}


def open_database(url: str) -> Engine:
    """Open the database of a URL and create its tables where they are missing.

    SQLite is put into WAL mode, so that readers never wait for a writer.

    Raises:
        ServiceUnavailableError: The database cannot be opened, or another version of
            the service made it.
    """
    with _translated():
        engine = _make_engine(url)
        _create_tables(engine)
        _require_own_columns(engine)
        _create_indexes(engine)
    return engine


_POOL: dict[str, Any] = {"pool_size": 10, "max_overflow": 30}
"""Connections kept open, and how many more a crowd of requests may open."""


def _make_engine(url: str) -> Engine:
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _make_sqlite_engine(parsed)
        return sa.create_engine(_with_driver(parsed), pool_pre_ping=True, **_POOL)
    except (ArgumentError, ModuleNotFoundError) as error:
        # the URL may hold a password, so it is not repeated
        raise ServiceUnavailableError(
            f"the database's URL cannot be used ({type(error).__name__}): it must be "
            "sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME with psycopg "
            "installed"
        ) from error


def _make_sqlite_engine(url: sa.URL) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ServiceUnavailableError(
            "jobs must outlive a process: the database's URL needs a file, such as "
            "sqlite:////var/lib/hanseg/jobs.sqlite"
        )
    try:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ServiceUnavailableError(
            f"the folder of the database cannot be made: {error}"
        ) from error
    engine = sa.create_engine(
        url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, **_POOL
    )
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", _begin_immediately)
    return engine


def _with_driver(url: sa.URL) -> sa.URL:
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "postgresql" and "connect_timeout" not in url.query:
        url = url.update_query_dict({"connect_timeout": str(CONNECT_SECONDS)})
    return url


def _create_tables(engine: Engine) -> None:
    try:
        schema.metadata.create_all(engine)
    except (OperationalError, IntegrityError, ProgrammingError):
        # another process may be creating them at this very moment
        schema.metadata.create_all(engine)


def _create_indexes(engine: Engine) -> None:
    """Create the indexes that an earlier version's tables lack."""
    for table in schema.metadata.sorted_tables:
        for index in table.indexes:
            try:
                index.create(engine, checkfirst=True)
            except (OperationalError, ProgrammingError):
                # another process may be creating it at this very moment
                index.create(engine, checkfirst=True)


def _require_own_columns(engine: Engine) -> None:
    inspector = sa.inspect(engine)
    for table in schema.metadata.sorted_tables:
        present = {column["name"] for column in inspector.get_columns(table.name)}
        missing = [name for name in table.columns.keys() if name not in present]  # noqa: SIM118 - a collection of columns, not of names
        if missing:
            engine.dispose()
            raise ServiceUnavailableError(
                f"the database {engine.url.render_as_string(hide_password=True)} was "
                f"made by another version of the service (the table {table.name} lacks "
                f"{', '.join(missing)}); use that version, or move the data folder away"
            )


def _prepare_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - sqlite3's own
    connection.isolation_level = None  # SQLAlchemy's BEGIN, not the driver's
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _begin_immediately(connection: Connection) -> None:
    # A reader that turns into a writer cannot wait for another writer; one that
    # begins as a writer can.
    writing = connection.get_execution_options().get("writing", True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _database_time(connection: Connection) -> float:
    if connection.dialect.name == "postgresql":
        return float(
            connection.execute(
                sa.select(sa.extract("epoch", sa.func.clock_timestamp()))
            ).scalar_one()
        )
    return time.time()  # SQLite serves one host


_BUGS = (IntegrityError, ProgrammingError, DataError, NotSupportedError)
"""What the database raises when a statement is wrong, rather than the database."""


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _BUGS:
        raise
    except (DBAPIError, PoolTimeoutError) as error:
        raise ServiceUnavailableError(
            f"the database does not work: {_cause(error)}"
        ) from error


def _cause(error: DBAPIError | PoolTimeoutError) -> str:
    original = error.orig if isinstance(error, DBAPIError) else error
    lines = str(original).splitlines()
    return lines[0] if lines else "no answer"


def _job(row: RowMapping) -> Job:
    values = dict(row)
    values["state"] = JobState(values["state"])
    values["options"] = JobOptions.model_validate(values["options"])
    values["inputs"] = _INPUTS.validate_python(values["inputs"])
    values["remarks"] = tuple(values["remarks"])
    values["stages"] = _STAGES.validate_python(values["stages"])
    values["intermediate"] = _FILES.validate_python(values["intermediate"])
    values["files"] = _FILES.validate_python(values["files"])
    values["organs"] = _ORGANS.validate_python(values["organs"])
    optional: dict[str, type[BaseModel]] = {
        "progress": Progress,
        "registration": RegistrationReport,
        "model": ModelSummary,
        "inference": InferenceReport,
        "error": Problem,
    }
    for name, document in optional.items():
        if values[name] is not None:
            values[name] = document.model_validate(values[name])
    return Job(**values)
