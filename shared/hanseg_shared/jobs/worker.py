"""A Celery worker that does stages of jobs: what both workers have in common.

A keeper loads the libraries and forks the worker; see `hanseg_shared.jobs.keeper`.
One prefork child does the work, so that time limits and cancels can kill it; see
`hanseg_shared.jobs.worker_child`.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import billiard.common
from celery import Celery
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.held_folder import remove_abandoned
from hanseg_shared.jobs.brokers.rabbitmq import describe_short_timeout
from hanseg_shared.jobs.keeper import STOP_SIGNALS, Keeper
from hanseg_shared.jobs.machine_faults import is_machine_fault
from hanseg_shared.jobs.messages import (
    BrokerPublisher,
    QueueName,
    is_rabbitmq,
    make_celery,
)
from hanseg_shared.jobs.pulse import ALIVE_SECONDS, give_pulse
from hanseg_shared.jobs.record import WorkerState, WorkerStatus
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.upgrade import SchemaVersionError
from hanseg_shared.jobs.worker_child import (
    HEARTBEAT_SECONDS,
    STALE_SECONDS,
    WAITS,
    PreforkChild,
    Wires,
    WorkerPlan,
    describe_error,
    refusal,
    refuse,
    worker_name,
)
from hanseg_shared.logs import configure_logging
from hanseg_shared.privacy import keep_private
from hanseg_shared.settings import Settings, settings_of_process

logger = logging.getLogger(__name__)

SHUTDOWN_SECONDS = 8.0
"""How long a worker may take to stop, beyond its grace time, before it just ends."""

LEFTOVERS = ("attempt-*", "hanseg-*", "tmp*")
"""What nobody holds and killed processes leave where the scratch folder is also the one
for temporary files (``TMPDIR``)."""

REMAPPED_SIGTERM = "SIGQUIT"
"""The signal that Celery treats SIGTERM as: the stop that waits for the grace time."""


def start_worker(queue: QueueName, make_plan: Callable[[], WorkerPlan]) -> None:
    """Read the settings and serve a queue until told to stop.

    If it cannot, the last line on standard error says why, and the exit status is
    `CANNOT_START`, or that of bad settings.
    """
    settings = settings_of_process()
    configure_logging(settings.log)
    keep_private(settings.data)
    with _refusing(queue):
        _remap_sigterm()
        _wait_while_drained(queue, settings)
        _announce(queue, settings)
        plan = make_plan()
    sys.exit(Keeper(lambda: _work(plan, settings)).run())


def _work(plan: WorkerPlan, settings: Settings) -> int | None:
    """Be the worker, in the process that its keeper forked."""
    with _refusing(plan.queue):
        app = _set_up(plan, settings)
    # what goes wrong from here on may go well at the next start
    return _serve(app, plan.queue)


@contextmanager
def _refusing(queue: QueueName) -> Iterator[None]:
    """End this process, with the reason, if the body finds that it cannot start."""
    try:
        yield
    except HansegError as error:
        refuse(refusal(queue, error.message))
    except Exception as error:
        if is_machine_fault(error):
            logger.warning("the %s worker waits: %s", queue, error)
            sys.exit(os.EX_TEMPFAIL)
        logger.exception("the %s worker cannot start", queue)
        refuse(refusal(queue, describe_error(error)))


def _wait_while_drained(queue: QueueName, settings: Settings) -> None:
    """Wait, before anything is loaded, while this host is drained."""
    if not _is_drained(queue, settings):
        return
    logger.warning("the %s worker %s", queue, WAITS)
    before = {
        number: signal.signal(number, lambda *_: sys.exit(os.EX_OK))
        for number in STOP_SIGNALS
    }
    while _is_drained(queue, settings):
        give_pulse(queue)  # it does what it was told
        time.sleep(HEARTBEAT_SECONDS)
    for number, handler in before.items():
        signal.signal(number, handler)


def _is_drained(queue: QueueName, settings: Settings) -> bool:
    name = worker_name(os.getpid())
    try:
        with contextlib.closing(open_tables(settings)) as tables:
            if not tables.drains.concern(name):
                return False
            tables.workers.report_loading(name, queue=queue, trouble=WAITS)
            return True
    except SchemaVersionError:
        raise
    except ServiceUnavailableError:  # who is ready later waits for the database
        return False


def _announce(queue: QueueName, settings: Settings) -> None:
    """Report that this worker is loading: its libraries alone take seconds."""
    try:
        tables = open_tables(settings)
        tables.workers.report_loading(
            worker_name(os.getpid()), queue=queue, trouble=None
        )
        tables.close()
    except SchemaVersionError:
        raise
    except ServiceUnavailableError as error:  # its child waits for the database
        logger.warning("%s", error)


def _set_up(plan: WorkerPlan, settings: Settings) -> Celery:
    """Return the application of this process, which becomes a worker by it.

    Raises:
        OptionError: The broker's URL cannot be used.
        OSError: The scratch folder cannot be used.
    """
    BrokerPublisher(settings).close()
    _warn_of_short_timeout(settings)
    clean_scratch(settings)
    return make_worker_app(plan, settings, Wires.between_parent_and_child())


def _warn_of_short_timeout(settings: Settings) -> None:
    if is_rabbitmq(settings.broker_url.get_secret_value()):
        warning = describe_short_timeout(settings.stage_seconds)
        if warning is not None:
            logger.warning("%s", warning)


def _serve(app: Celery, queue: QueueName) -> int | None:
    """Serve a queue until told to stop; returns Celery's exit status."""
    status: int | None = app.worker_main(
        [
            "--quiet",  # no banner: what it says is no line of a log
            "worker",
            f"--queues={queue}",
            "--pool=prefork",
            "--concurrency=1",
            f"--hostname={queue}@{socket.gethostname()}-{os.getpid()}",
            "--without-gossip",
            "--without-mingle",
            # a heartbeat to a broker that is gone would keep a stopping worker for ever
            "--without-heartbeat",
        ]
    )
    return status


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
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - no shell is wanted


def make_worker_app(
    plan: WorkerPlan, settings: Settings, wires: Wires | None = None
) -> Celery:
    """Return a Celery application whose tasks do the plan's stages.

    Args:
        plan: The queue and what is done for its stages.
        settings: The worker's.
        wires: The pipes to the parent process; None where there is none.
    """
    app = make_celery(settings)
    child = PreforkChild(plan, settings, wires)
    for stage in plan.bodies:
        # shared tasks would reach every other application of this process
        app.task(name=stage.task, shared=False)(child.task(stage))
    worker_process_init.connect(child.start, weak=False)
    worker_process_shutdown.connect(child.stop, weak=False)
    worker_shutting_down.connect(_bound_shutdown(settings), weak=False)
    setup_logging.connect(_prepare_logging(settings), weak=False)
    return app


def clean_scratch(settings: Settings) -> None:
    """Remove what killed processes left: at once what says so, by its age the rest."""
    Scratch(settings.scratch).sweep()
    limit = time.time() - 2 * settings.stage_seconds
    found = [settings.scratch.glob(pattern) for pattern in LEFTOVERS]
    for folder in itertools.chain.from_iterable(found):
        try:
            written = folder.stat().st_mtime
        except FileNotFoundError:  # its worker has just finished
            continue
        if written < limit:  # or the clock was set: what is held stays in any case
            remove_abandoned(folder)


def _prepare_logging(settings: Settings) -> Callable[..., None]:
    """Return what Celery calls instead of configuring the logs its own way."""

    def configure(**_: object) -> None:
        configure_logging(settings.log)
        logging.getLogger("celery.redirected").setLevel(logging.WARNING)

    return configure


def is_ready(worker: WorkerStatus) -> bool:
    """Whether a worker lives, takes jobs, and has proven of late that it can."""
    return (
        worker.state is WorkerState.READY
        and worker.silent_seconds <= ALIVE_SECONDS
        and worker.proven_seconds is not None
        and worker.proven_seconds <= STALE_SECONDS
    )
