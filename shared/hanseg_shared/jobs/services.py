"""The composition root: opens what the API and the workers work with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from hanseg_shared.errors import StoreError
from hanseg_shared.jobs.messages import BrokerPublisher, Publisher
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stopping import StopNotice
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Services:
    """What the API and the workers work with.

    Attributes:
        tables: The database.
        store: The images and results.
        publisher: The broker, to send messages.
        settings: Those of this process.
        stop: Whether this process must stop; workers ask it.
    """

    tables: Tables
    store: PayloadStore
    publisher: Publisher
    settings: Settings
    stop: StopNotice = field(default_factory=StopNotice)

    def publish_due(self, job: Job) -> None:
        """Send the message of the job's due stage and note that it was sent.

        Raises:
            ServiceUnavailableError: The broker does not answer; the row stays due, and
                a reconciler will send the message later.
        """
        stage = Stage.due_in(job.state)
        if stage is None:
            return
        self.publisher.publish(stage.task, stage.queue, job.id)
        self.tables.outbox.mark_published(job)


def open_services(settings: Settings) -> Services:
    """Connect to the database, the store and the broker.

    Raises:
        ServiceUnavailableError: The database cannot be opened.
    """
    tables, store = open_tables(settings), PayloadStore(settings.store)
    _claim_store(store, tables)
    return Services(
        tables=tables,
        store=store,
        publisher=BrokerPublisher(settings),
        settings=settings,
    )


def open_tables(settings: Settings) -> Tables:
    """Open the database that the settings name.

    Raises:
        ServiceUnavailableError: It cannot be opened.
    """
    return Tables.of(
        open_database(settings.database),
        retention_seconds=settings.retention_hours * 3600.0,
    )


def _claim_store(store: PayloadStore, tables: Tables) -> None:
    try:
        ours = store.bind(tables.installation.identity())
    except StoreError as error:  # a store that is away now may be back for the jobs
        logger.warning("%s", error)
        return
    if not ours:
        logger.warning(
            "the payload store was begun by another database: nothing that this one "
            "does not know is ever deleted from it"
        )
