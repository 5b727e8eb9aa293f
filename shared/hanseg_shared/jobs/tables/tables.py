"""All tables of one database as one value."""

from __future__ import annotations

from dataclasses import dataclass

from hanseg_shared.jobs.audit import Anchor
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.tables.api_keys import ApiKeysTable
from hanseg_shared.jobs.tables.audit import AuditTable
from hanseg_shared.jobs.tables.batches import BatchesTable
from hanseg_shared.jobs.tables.claims import Claims
from hanseg_shared.jobs.tables.commissioning import CommissioningSheets
from hanseg_shared.jobs.tables.dead_letters import DeadLetters
from hanseg_shared.jobs.tables.deliveries import Deliveries
from hanseg_shared.jobs.tables.dicom_instances import DicomInstancesTable
from hanseg_shared.jobs.tables.drains import Drains
from hanseg_shared.jobs.tables.installation import Installation
from hanseg_shared.jobs.tables.job_row import Ending
from hanseg_shared.jobs.tables.jobs import JobsTable
from hanseg_shared.jobs.tables.keys import IdempotencyKeys
from hanseg_shared.jobs.tables.outbox import Outbox
from hanseg_shared.jobs.tables.quarantine import JobReader
from hanseg_shared.jobs.tables.reviews import ReviewsTable
from hanseg_shared.jobs.tables.sessions import SessionsTable
from hanseg_shared.jobs.tables.signing_keys import SigningKeys
from hanseg_shared.jobs.tables.statistics import Statistics, note_review
from hanseg_shared.jobs.tables.tallies import Tallies
from hanseg_shared.jobs.tables.templates import TemplatesTable
from hanseg_shared.jobs.tables.turns import Turns
from hanseg_shared.jobs.tables.uploads import UploadsTable
from hanseg_shared.jobs.tables.webhooks import WebhooksTable
from hanseg_shared.jobs.tables.workers import WorkersTable
from hanseg_shared.jobs.tables.worklist import Worklist


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of a database.

    Attributes:
        database: Its transactions and its time.
        jobs: Jobs as callers see them: made, found, counted, ended.
        worklist: Jobs as single lines.
        reader: Puts rows aside that cannot be read.
        claims: Which worker has a job, until when, and what it made of it.
        outbox: Jobs that wait for a worker, and their messages.
        uploads: Files announced for a job to come.
        dicom_instances: Instances stored by STOW-RS, for a job to come.
        templates: The site's own templates.
        batches: Jobs that were queued together.
        keys: Idempotency keys.
        api_keys: What opens the API.
        sessions: Who is signed in with a key in a browser.
        audit: Who did what.
        tallies: What ended jobs took, and what became of them.
        workers: What workers last reported.
        installation: The identity of this database.
        signing_keys: The public keys that results were signed with.
        commissioning: The sheets of commissionings.
        reviews: What people said of results.
        statistics: What ended jobs and reviews were summed up to.
        turns: Whose turn it is.
        drains: Hosts and workers that are to take no new job.
        dead_letters: Messages that the broker gave up.
        webhooks: Where owners are told what became of their jobs.
        deliveries: Messages to webhooks.
    """

    database: Database
    jobs: JobsTable
    worklist: Worklist
    claims: Claims
    reader: JobReader
    outbox: Outbox
    uploads: UploadsTable
    dicom_instances: DicomInstancesTable
    templates: TemplatesTable
    batches: BatchesTable
    keys: IdempotencyKeys
    api_keys: ApiKeysTable
    sessions: SessionsTable
    audit: AuditTable
    tallies: Tallies
    workers: WorkersTable
    installation: Installation
    signing_keys: SigningKeys
    commissioning: CommissioningSheets
    reviews: ReviewsTable
    statistics: Statistics
    turns: Turns
    drains: Drains
    dead_letters: DeadLetters
    webhooks: WebhooksTable
    deliveries: Deliveries

    @classmethod
    def of(
        cls,
        database: Database,
        *,
        retention_seconds: float,
        input_seconds: float | None = None,
        record_seconds: float | None = None,
        anchor: Anchor | None = None,
    ) -> Tables:
        """Return the tables of an open database.

        Args:
            database: See `open_database`.
            retention_seconds: How long a job keeps its results once it has ended.
            input_seconds: How long it keeps its images; as long by default.
            record_seconds: How long its row is kept; a year longer by default.
            anchor: Where this machine notes how far the audit log is.
        """
        ending = Ending(retention_seconds, input_seconds, record_seconds)
        reader = JobReader(database, ending)
        audit = AuditTable(database, anchor)
        turns, deliveries = Turns(database), Deliveries(database)
        return cls(
            database=database,
            jobs=JobsTable(database, ending, reader),
            worklist=Worklist(database, reader),
            claims=Claims(database, ending, reader, turns),
            reader=reader,
            outbox=Outbox(database),
            uploads=UploadsTable(database),
            dicom_instances=DicomInstancesTable(database),
            templates=TemplatesTable(database),
            batches=BatchesTable(database),
            keys=IdempotencyKeys(database),
            api_keys=ApiKeysTable(database, audit),
            sessions=SessionsTable(database),
            audit=audit,
            tallies=Tallies(database),
            workers=WorkersTable(database),
            installation=Installation(database),
            signing_keys=SigningKeys(database),
            commissioning=CommissioningSheets(database),
            reviews=ReviewsTable(
                database, on_change=(note_review, deliveries.note_review)
            ),
            statistics=Statistics(database),
            turns=turns,
            drains=Drains(database),
            dead_letters=DeadLetters(database),
            webhooks=WebhooksTable(database),
            deliveries=deliveries,
        )

    def named_payloads(self, job: Job) -> set[str]:
        """Return the SHA-256 of every payload that a job's row or review names."""
        named = {file.sha256 for file in (*job.files, *job.intermediate)}
        named |= {image.sha256 for image in job.inputs}
        return named | self.reviews.payloads(job.id)

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()
