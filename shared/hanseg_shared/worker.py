"""A Celery worker that does stages of jobs: what both workers have in common.

One prefork child does the work, so that time limits and cancels can kill it. The child
opens its own connections after the fork, and tells the database that it is alive.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import billiard.common
from celery import Celery
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from hanseg_shared.errors import HansegError, ServiceUnavailableError, StoreError
from hanseg_shared.jobs.repository import JobRepository, open_database
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Body, Services, StopNotice, work_on
from hanseg_shared.leash import die_with_parent
from hanseg_shared.messages import BrokerPublisher, QueueName, make_celery
from hanseg_shared.settings import Settings
from hanseg_shared.store import PayloadStore

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
"""How often a worker's child tells the database that it is alive."""

SHUTDOWN_SECONDS = 8.0
"""How long a worker may take to stop, beyond its grace time, before it just ends."""

ALIVE_SECONDS = 15.0
"""A worker not heard of for so long is taken for dead."""

LEFTOVERS = ("attempt-*", "hanseg-*")
"""What killed workers leave in the scratch folder: attempts and, where it is also the
folder for temporary files (``TMPDIR``), what the checks and elastix were given."""

RETRY_SECONDS = 5.0
"""How long a worker's child that could not start waits before it tries again."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""What tells a worker, or its child, to stop."""

REMAPPED_SIGTERM = "SIGQUIT"
"""What Celery takes SIGTERM for: the stop that waits for the grace time."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker does.

    Attributes:
        queue: Where its messages come from.
        bodies: What it does for each stage.
        prepare: Called once in the child, before the first message; loads models and
            returns the device it computes on.
    """

    queue: QueueName
    bodies: Mapping[Stage, Body]
    prepare: Callable[[Settings], str]


def open_services(settings: Settings) -> Services:
    """Connect to the database, the store and the broker.

    Raises:
        ServiceUnavailableError: The database cannot be opened.
    """
    repository, store = open_repository(settings), PayloadStore(settings.store)
    _claim_store(store, repository)
    return Services(
        repository=repository,
        store=store,
        publisher=BrokerPublisher(settings),
        settings=settings,
    )


def _claim_store(store: PayloadStore, repository: JobRepository) -> None:
    try:
        ours = store.bind(repository.identity())
    except StoreError as error:  # a store that is away now may be back for the jobs
        logger.warning("%s", error)
        return
    if not ours:
        logger.warning(
            "the payload store was begun by another database: nothing that this one "
            "does not know is ever deleted from it"
        )


def open_repository(settings: Settings) -> JobRepository:
    """Open the database that the settings name."""
    return JobRepository(
        open_database(settings.database),
        retention_seconds=settings.retention_hours * 3600.0,
    )


def run_worker(plan: WorkerPlan, settings: Settings) -> None:
    """Serve the plan's queue until told to stop; does not return before."""
    _remap_sigterm()
    clean_scratch(settings)
    app = make_worker_app(plan, settings, signalled=_write_signals_to_pipe())
    app.worker_main(
        [
            "worker",
            f"--queues={plan.queue}",
            "--pool=prefork",
            "--concurrency=1",
            f"--hostname={plan.queue}@{socket.gethostname()}-{os.getpid()}",
            "--without-gossip",
            "--without-mingle",
            # a heartbeat to a broker that is gone would keep a stopping worker for ever
            "--without-heartbeat",
        ]
    )


def _bound_shutdown(settings: Settings) -> Callable[..., None]:
    """Return what ends the process should Celery's own way of stopping hang.

    It does when the broker goes first: the rows have the truth, so nothing is lost.
    """

    def watch(how: str = "Cold", **_: object) -> None:
        if how == "Warm":  # Ctrl-C: there is a limit to what is waited for, as always
            os.kill(os.getpid(), signal.SIGQUIT)
        limit = settings.grace_seconds + SHUTDOWN_SECONDS
        timer = threading.Timer(limit, os._exit, args=(os.EX_TEMPFAIL,))
        timer.daemon = True
        timer.start()

    return watch


def _remap_sigterm() -> None:
    # On SIGTERM: stop taking messages, go on for the grace time, give back the rest.
    # Celery's pool reads the variable when it is imported, which has happened by now.
    if billiard.common.REMAP_SIGTERM == REMAPPED_SIGTERM:
        return
    os.environ["REMAP_SIGTERM"] = REMAPPED_SIGTERM
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _write_signals_to_pipe() -> int:
    """Have the numbers of signals written to a pipe; return where they are read.

    The child of this process inherits both ends. It learns at once what either of the
    two was told, even while their main threads wait or compute.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell, warn_on_full_buffer=False)
    return told


def make_worker_app(
    plan: WorkerPlan, settings: Settings, *, signalled: int | None = None
) -> Celery:
    """Return a Celery application whose tasks do the plan's stages.

    Args:
        plan: The queue and what is done for its stages.
        settings: The worker's.
        signalled: Where the child reads the numbers of signals that it or its parent
            got; None where nobody stops it by signals.
    """
    app = make_celery(settings)
    child = _Child(plan, settings, signalled)
    for stage, body in plan.bodies.items():
        # shared tasks would reach every other application of this process
        app.task(name=stage.task, shared=False)(child.task(stage, body))
    worker_process_init.connect(child.start, weak=False)
    worker_process_shutdown.connect(child.stop, weak=False)
    worker_shutting_down.connect(_bound_shutdown(settings), weak=False)
    setup_logging.connect(_configure_logging, weak=False)
    return app


def clean_scratch(settings: Settings) -> None:
    """Remove scratch folders whose worker was killed, older than any attempt."""
    limit = time.time() - 2 * settings.stage_seconds
    found = [settings.scratch.glob(pattern) for pattern in LEFTOVERS]
    for folder in itertools.chain.from_iterable(found):
        try:
            written = folder.stat().st_mtime
        except FileNotFoundError:  # its worker has just finished
            continue
        if written < limit:
            shutil.rmtree(folder, ignore_errors=True)


class _Child:
    """What lives in the prefork child, and only there."""

    def __init__(
        self, plan: WorkerPlan, settings: Settings, signalled: int | None
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._signalled = signalled
        self._services: Services | None = None
        self._stopping = threading.Event()
        self._name = ""

    def task(self, stage: Stage, body: Body) -> Callable[[str], None]:
        """Return the function that Celery calls with a job's id."""

        def do(job_id: str) -> None:
            if self._services is None:
                raise ServiceUnavailableError("the worker's child has not started")
            work_on(stage, job_id, body, self._services)

        return do

    def start(self, **_: object) -> None:
        """Connect, prepare and begin to send heartbeats; try until it works.

        Celery would swallow an exception here and send jobs to a child that cannot do
        them. A database that starts later than its workers is no reason to die, and
        without a heartbeat no health check takes this worker for a live one.
        """
        die_with_parent(signal.SIGKILL)
        while not self._begin():
            if self._stopping.wait(RETRY_SECONDS):
                return

    def _begin(self) -> bool:
        started = time.monotonic()
        try:
            services = open_services(self._settings)
            device = self._plan.prepare(self._settings)
        except HansegError as error:
            logger.error("%s worker cannot start: %s", self._plan.queue, error)  # noqa: TRY400
            return False
        except Exception:
            logger.exception("%s worker cannot start", self._plan.queue)
            return False
        self._name = f"{socket.gethostname()}-{os.getpid()}"
        self._services = services
        if self._signalled is not None:
            threading.Thread(
                target=listen_for_stop,
                args=(self._signalled, services.stop, self._settings.grace_seconds),
                name="signals",
                daemon=True,
            ).start()
        logger.info(
            "%s worker is ready on %s after %.1f s",
            self._plan.queue,
            device,
            time.monotonic() - started,
        )
        threading.Thread(
            target=self._beat,
            args=(services.repository, device),
            name="heartbeat",
            daemon=True,
        ).start()
        return True

    def stop(self, **_: object) -> None:
        """Say good-bye."""
        self._stopping.set()
        if self._services is not None:
            self._services.repository.forget_worker(self._name)

    def _beat(self, repository: JobRepository, device: str) -> None:
        while True:
            try:
                repository.report_worker(
                    self._name, queue=self._plan.queue, device=device
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, try again
                logger.warning("no heartbeat: %s", error)
            if self._stopping.wait(HEARTBEAT_SECONDS):
                return


def listen_for_stop(signalled: int, stop: StopNotice, grace_seconds: float) -> None:
    """Give notice when a signal to stop is read from a pipe, until the pipe ends.

    The first is followed by the time of grace. The second ends it: someone is in a
    hurry, or Celery, which waits as long, ends its child.
    """
    while numbers := os.read(signalled, 64):
        for number in numbers:
            if number in STOP_SIGNALS:
                stop.give(grace_seconds=0.0 if stop.is_given() else grace_seconds)


def _configure_logging(**_: object) -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    logging.getLogger("celery.redirected").setLevel(logging.WARNING)


def healthy(settings: Settings, queue: QueueName) -> bool:
    """Whether a worker of this host serves the queue; for container health checks."""
    host = socket.gethostname()
    repository = open_repository(settings)
    try:
        live = repository.live_workers(seen_within_seconds=ALIVE_SECONDS)
    finally:
        repository.close()
    return any(name.rpartition("-")[0] == host for name in live.get(queue, []))
