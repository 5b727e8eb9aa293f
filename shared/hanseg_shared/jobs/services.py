"""The composition root: opens what the API and the workers work with."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from hanseg_shared.documents import JobState
from hanseg_shared.errors import (
    ServiceUnavailableError,
    StoreError,
    StoreRefusedError,
)
from hanseg_shared.jobs.audit import ANCHOR, Anchor
from hanseg_shared.jobs.database import Connections
from hanseg_shared.jobs.messages import BrokerPublisher, Publisher
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stopping import StopNotice
from hanseg_shared.jobs.store import PayloadStore, open_store
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.otlp import open_tracer
from hanseg_shared.settings import Settings
from hanseg_shared.traces import NO_TRACER, Tracer

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
        tracer: Where spans go.
    """

    tables: Tables
    store: PayloadStore
    publisher: Publisher
    settings: Settings
    stop: StopNotice = field(default_factory=StopNotice)
    tracer: Tracer = NO_TRACER

    def publish_due(self, job: Job) -> None:
        """Send the message of the job's due stage and note that it was sent.

        Raises:
            ServiceUnavailableError: The broker does not answer; the row stays due, and
                a reconciler will send the message later.
        """
        if self.publish(job.id, job.state):
            self.tables.outbox.mark_published(job.id, job.state)

    def publish(self, job_id: str, state: JobState) -> bool:
        """Send the message of the stage that is due in a state; False if none is.

        Raises:
            ServiceUnavailableError: The broker does not answer.
        """
        stage = Stage.due_in(state)
        if stage is None:
            return False
        self.publisher.publish(stage.task, stage.queue, job_id)
        return True


def open_services(settings: Settings, name: str) -> Services:
    """Connect to the database, the store and the broker.

    Args:
        settings: Those of this process.
        name: What this process is called in traces.

    Raises:
        OptionError: A collector of traces is named, and what it needs is missing; or
            settings of the store contradict each other.
        StoreRefusedError: The store does not let this service in.
        ServiceUnavailableError: The database cannot be opened, or is a new one beside
            a store of another.
    """
    tracer = open_tracer(settings, name)
    tables = open_tables(settings)
    try:
        store = open_store(settings)
        claim_store(store, tables)
    except BaseException:
        tables.close()
        raise
    return Services(
        tables=tables,
        store=store,
        publisher=BrokerPublisher(settings),
        settings=settings,
        tracer=tracer,
    )


def open_tables(settings: Settings) -> Tables:
    """Open the database that the settings name.

    Raises:
        ServiceUnavailableError: It cannot be opened.
    """
    return Tables.of(
        open_database(settings.database, connections=_connections(settings)),
        retention_seconds=settings.retention_hours * 3600.0,
        input_seconds=settings.input_hours * 3600.0,
        record_seconds=settings.record_days * 24 * 3600.0,
        anchor=Anchor(settings.data / ANCHOR),
    )


def _connections(settings: Settings) -> Connections:
    return Connections(
        kept=settings.database_connections,
        further=settings.database_further_connections,
        wait_seconds=settings.database_wait_seconds,
        connect_seconds=settings.database_connect_seconds,
        statement_seconds=settings.database_statement_seconds,
        recycle_seconds=settings.database_recycle_seconds,
    )


def claim_store(store: PayloadStore, tables: Tables) -> None:
    """Bind the store to the database.

    Raises:
        StoreRefusedError: The store does not let this service in: that will not pass.
        ServiceUnavailableError: The database is a new one, and the store has the files
            of another: that one was lost, most often.
    """
    identity = tables.installation.identity()
    try:
        ours = store.bind(identity)
    except StoreRefusedError:
        raise
    except (StoreError, ServiceUnavailableError) as error:  # maybe not for long
        logger.warning("%s", error)
        return
    if not ours and tables.jobs.is_empty():
        raise ServiceUnavailableError(
            f"the database is new and empty, but the payload store {store.name} "
            "belongs to another: restore the database from a backup; or, to begin "
            "anew, move the store away, whose files nothing would ever delete"
        )
    if not ours:
        logger.warning(
            "the payload store was begun by another database: nothing that this one "
            "does not know is ever deleted from it"
        )
