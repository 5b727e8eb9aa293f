"""Deletes what has been kept for its time, and what belongs to nobody.

A job has three clocks, which start when it ends: its images go first, then its results
with all that it says of the patient, and its row last. Every step may be repeated, and
any number of sweepers may run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

from hanseg_shared.errors import ServiceUnavailableError, StoreError
from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.cache_tidying import CacheTidying
from hanseg_shared.jobs.passes import do_all
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.wall_clock import WallClock, steady_time
from hanseg_shared.problems import EXPIRED
from hanseg_shared.settings import Settings
from hanseg_shared.webhooks.schedule import KEPT_SECONDS

logger = logging.getLogger(__name__)

UPLOAD_SECONDS = 24 * 3600.0
"""How long an upload is kept, and a study after its newest instance."""

ANNOUNCED_SECONDS = 2 * 3600.0
"""How long an upload is waited for whose content does not come: it reserves room."""

ORPHAN_SECONDS = 24 * 3600.0
"""How long payloads without an owner are kept: a request may be about to own them."""

KEY_SECONDS = 7 * 24 * 3600.0
"""How long an idempotency key is remembered."""

DEAD_WORKER_SECONDS = 24 * 3600.0
"""How long a worker that died without reporting it stays in the table."""

LETTER_SECONDS = 30 * 24 * 3600.0
"""How long it is known which messages the broker gave up."""

CHUNKS_A_PASS = 10
"""How many hundreds of ended jobs a pass sums up: after an upgrade there are many."""

CLOCK = "clock"
"""File of the data folder with the time of day that was last believed."""

ORPHANS_EVERY_SECONDS = 600.0
"""How often the store is searched for what nobody needs."""


class Sweeper:
    """Deletes by three clocks; see `run_once`.

    Args:
        tables: The database.
        store: The images and results.
        settings: Where this machine's scratch folder is.
        steady: Seconds that only ever grow; by default those of this machine.
    """

    def __init__(
        self,
        tables: Tables,
        store: PayloadStore,
        settings: Settings,
        *,
        steady: Callable[[], float] | None = None,
    ) -> None:
        self._tables = tables
        self._store = store
        self._scratch = Scratch(settings.scratch)
        self._tidying = CacheTidying(store, tables, steady=steady or steady_time)
        self._steady = steady or steady_time
        self._wall_clock = WallClock(
            tables.database.now, steady=self._steady, memory=settings.data / CLOCK
        )
        self._orphans_at = self._steady()

    def run_once(self) -> None:
        """Delete what has expired and, now and then, what belongs to nobody.

        Nothing is deleted while the time of day cannot be believed.

        Raises:
            HansegError: What the first failing step raised, after all were tried.
        """
        do_all(
            self.expire,
            self._forget_deleted,
            self._sum_up,
            self._tidying.run_if_due,
            self._sweep_if_due,
        )

    def _sweep_if_due(self) -> None:
        if self._steady() >= self._orphans_at:
            self._orphans_at = self._steady() + ORPHANS_EVERY_SECONDS
            self.sweep()

    def expire(self) -> None:
        """Delete images, results, records, uploads and studies whose time is over."""
        if self._wall_clock.is_trusted():
            do_all(
                self._expire_inputs,
                self._expire_results,
                self._expire_records,
                self._expire_uploads,
                self._expire_studies,
            )

    def sweep(self) -> None:
        """Delete what nobody needs: orphaned payloads, old keys, dead workers.

        Payloads lose their owner when a process dies between two steps, or when a
        worker still writes while its job is being deleted. Those of a worker that
        died before its stage was published have an owner, and no row names them.

        Raises:
            HansegError: What the first failing step raised, after all were tried.
        """
        if self._wall_clock.is_trusted():
            do_all(
                self._purge_orphans,
                self._purge_unnamed,
                self._abandon_uploads,
                self._forget_the_past,
            )

    def _expire_inputs(self) -> None:
        for job in self._tables.jobs.list_with_expired_inputs():
            self._attempt(self._purge_inputs, job)

    def _purge_inputs(self, job: Job) -> None:
        # the files first: a row that says they are gone is not looked at again
        self._scratch.purge(job.id)
        kept = {file.sha256 for file in (*job.files, *job.kept_with_results)}
        kept |= self._tables.reviews.payloads(job.id)
        self._store.purge_except(job.id, kept)
        if self._tables.jobs.note_inputs_gone(job.id):
            logger.info("job %s: its images are deleted, their time is over", job.id)
            self._record("expire_inputs", job.id)

    def _expire_results(self) -> None:
        problem = EXPIRED.problem("the job's files were kept for their time")
        for job in self._tables.jobs.list_expired():
            named = self._tables.named_payloads(job)
            buried = self._tables.jobs.bury(job.id, problem, why="expired")
            self._purge(job.id, named)
            if buried:
                logger.info("job %s expired, its files are deleted", job.id)
                self._record("expire_job", job.id)

    def _expire_records(self) -> None:
        for job_id in self._tables.jobs.drop_records():
            logger.info("job %s: its record is deleted", job_id)
            self._purge(job_id)
            self._record("expire_record", job_id)

    def _expire_uploads(self) -> None:
        for upload in self._tables.uploads.drop_old(
            older_than_seconds=UPLOAD_SECONDS, announced_seconds=ANNOUNCED_SECONDS
        ):
            self._purge(upload.owner)
            self._record("expire_upload", upload.id)

    def _expire_studies(self) -> None:
        for owner in self._tables.dicom_instances.drop_old(
            older_than_seconds=UPLOAD_SECONDS
        ):
            self._purge(owner)
            self._record("expire_study", owner)

    def _record(self, what: str, subject: str) -> None:
        self._tables.audit.record(Event(what, subject=subject))

    def _forget_deleted(self) -> None:
        if self._tables.database.owes_forgetting:
            self._tables.database.forget_deleted()

    def _sum_up(self) -> None:
        self._tables.statistics.take_ended(most=CHUNKS_A_PASS)

    def _purge(self, owner: str, named: Collection[str] = ()) -> None:
        self._scratch.purge(owner)
        self._attempt(self._store.purge, owner, named)

    @staticmethod
    def _attempt(step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except (StoreError, ServiceUnavailableError) as error:
            logger.error("%s; the next sweep will try again", error)  # noqa: TRY400

    def _purge_orphans(self) -> None:
        # listed before the rows: what is stored later is young
        stored = self._store.owners()
        known = self._tables.jobs.owners()
        limit = time.time() - ORPHAN_SECONDS
        ours = self._store.bind(self._tables.installation.identity())
        for owner in stored:
            if owner in known.expired:
                logger.warning("job %s has expired, its late files are deleted", owner)
                self._purge(owner)
                self._record("sweep_late_files", owner)
            elif owner not in known.kept and self._store.last_written(owner) < limit:
                self._purge_unknown(owner, ours=ours)

    def _purge_unknown(self, owner: str, *, ours: bool) -> None:
        if not ours:
            # another database may know it: deleting would lose that one's patients
            logger.warning("%s is unknown, but the store is not ours: kept", owner)
            return
        logger.warning("what %s has in the store is nobody's: deleted", owner)
        self._purge(owner)
        self._record("sweep_orphan", owner)

    def _purge_unnamed(self) -> None:
        """Delete what attempts that came to nothing left among the files of jobs."""
        limit = time.time() - ORPHAN_SECONDS  # younger: a row may be about to name it
        for job in self._tables.jobs.list_disturbed():
            named = self._tables.named_payloads(job)
            if self._store.purge_except(job.id, named, written_before=limit):
                logger.info("job %s: what no result names is deleted", job.id)
                self._record("sweep_late_files", job.id)

    def _abandon_uploads(self) -> None:
        count = self._store.abandon_uploads(begun_before=time.time() - ORPHAN_SECONDS)
        if count:
            logger.info("parts of %d uploads that dead processes left are gone", count)

    def _forget_the_past(self) -> None:
        self._tables.keys.drop_old(older_than_seconds=KEY_SECONDS)
        self._tables.workers.drop_dead(unseen_for_seconds=DEAD_WORKER_SECONDS)
        self._tables.dead_letters.drop_old(older_than_seconds=LETTER_SECONDS)
        self._tables.deliveries.drop_old(older_than_seconds=KEPT_SECONDS)
