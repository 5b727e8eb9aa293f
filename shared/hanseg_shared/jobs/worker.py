"""A Celery worker that does stages of jobs: what both workers have in common.

One prefork child does the work, so that time limits and cancels can kill it. The child
opens its own connections after the fork, and reports to the database that it lives.
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
from typing import NoReturn

import billiard.common
from celery import Celery
from celery.signals import (
    setup_logging,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from hanseg_shared.cli import CANNOT_START
from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.jobs.leash import die_with_parent
from hanseg_shared.jobs.messages import BrokerPublisher, QueueName, make_celery
from hanseg_shared.jobs.services import Services, open_services, open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stopping import StopNotice
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import SchemaVersionError
from hanseg_shared.jobs.work import Body, work_on
from hanseg_shared.settings import Settings, settings_of_process

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
"""How often a worker's child reports to the database that it lives."""

SHUTDOWN_SECONDS = 8.0
"""How long a worker may take to stop, beyond its grace time, before it just ends."""

ALIVE_SECONDS = 15.0
"""A worker that has not reported for so long is taken for dead."""

LEFTOVERS = ("attempt-*", "hanseg-*")
"""What killed workers leave in the scratch folder: attempts and, where it is also the
folder for temporary files (``TMPDIR``), what the checks and elastix were given."""

RETRY_SECONDS = 5.0
"""How long a worker's child that could not start waits before it tries again."""

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""The signals that ask a worker, or its child, to stop."""

REMAPPED_SIGTERM = "SIGQUIT"
"""The signal that Celery treats SIGTERM as: the stop that waits for the grace time."""


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


def start_worker(queue: QueueName, make_plan: Callable[[], WorkerPlan]) -> None:
    """Read the settings and serve a queue until told to stop.

    If it cannot, the last line on standard error says why, and the exit status is
    `CANNOT_START`, or that of bad settings.
    """
    settings = settings_of_process()
    try:
        _announce(queue, settings)
        app = _set_up(make_plan(), settings)
    except HansegError as error:
        _refuse(_refusal(queue, error.message))
    except Exception as error:
        logger.exception("the %s worker cannot start", queue)
        _refuse(_refusal(queue, _describe_error(error)))
    _serve(app, queue)  # what goes wrong from here on may go well at the next start


def _announce(queue: QueueName, settings: Settings) -> None:
    """Report that this worker is loading: its libraries alone take seconds."""
    try:
        tables = open_tables(settings)
        tables.workers.report_loading(
            _worker_name(os.getpid()), queue=queue, trouble=None
        )
        tables.close()
    except SchemaVersionError:
        raise
    except ServiceUnavailableError as error:  # its child waits for the database
        logger.warning("%s", error)


def _worker_name(process: int) -> str:
    return f"{socket.gethostname()}-{process}"


def _refusal(queue: QueueName, reason: str) -> str:
    return f"the {queue} worker cannot start: {' '.join(reason.split())[:1000]}"


def _describe_error(error: Exception) -> str:
    """Return an error of another library in one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def _refuse(refusal: str) -> NoReturn:
    """End this process at once; nothing has been begun that could be lost."""
    sys.stderr.write(f"hanseg: {refusal}\n")
    sys.stderr.flush()
    os._exit(CANNOT_START)


def _set_up(plan: WorkerPlan, settings: Settings) -> Celery:
    """Return the application of this process, which becomes a worker by it.

    Raises:
        OptionError: The broker's URL cannot be used.
        OSError: The scratch folder cannot be used.
    """
    _remap_sigterm()
    BrokerPublisher(settings).close()
    clean_scratch(settings)
    return make_worker_app(plan, settings, Wires.between_parent_and_child())


def _serve(app: Celery, queue: QueueName) -> None:
    """Serve a queue until told to stop; does not return before."""
    app.worker_main(
        [
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


@dataclass(frozen=True, slots=True)
class Wires:
    """Pipes between a worker's own process and the child that does its work.

    Attributes:
        signals: The child reads here the number of each signal that it or its parent
            got, even while their main threads wait or compute.
        refusal: The child writes here why it can never start, and its parent ends.
    """

    signals: int
    refusal: int

    @classmethod
    def between_parent_and_child(cls) -> Wires:
        """Make the pipes in the parent; the child inherits them."""
        signals, notify = os.pipe()
        os.set_blocking(notify, False)
        signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
        heard, refusal = os.pipe()
        threading.Thread(
            target=lambda: _refuse(os.read(heard, 4096).decode()),
            name="refusal",
            daemon=True,
        ).start()
        return cls(signals, refusal)


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


class PreforkChild:
    """What lives in the prefork child, and only there."""

    def __init__(
        self, plan: WorkerPlan, settings: Settings, wires: Wires | None
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._wires = wires
        self._opened: Services | None = None
        self._services: Services | None = None
        """Those that were opened, once the worker is ready."""
        self._stopping = threading.Event()
        self._name = ""
        self._device: str | None = None
        self._trouble: str | None = None
        self._news = threading.Event()

    def task(self, stage: Stage, body: Body) -> Callable[[str], None]:
        """Return the function that Celery calls with a job's id."""

        def do(job_id: str) -> None:
            if self._services is None:
                raise ServiceUnavailableError("the worker's child has not started")
            work_on(stage, job_id, body, self._services)

        return do

    def start(self, **_: object) -> None:
        """Connect, prepare and begin to send heartbeats.

        Celery would swallow an exception here and send jobs to a child that cannot do
        them. A database that starts later than its workers is waited for; what would
        be wrong again, such as a missing model, ends the worker.
        """
        die_with_parent(signal.SIGKILL)
        self._name = _worker_name(os.getpid())
        while not self._begin():
            if self._stopping.wait(RETRY_SECONDS):
                return

    def _begin(self) -> bool:
        started = time.monotonic()
        try:
            services = self._opened = self._opened or self._open()
            self._device = self._plan.prepare(self._settings)
        except SchemaVersionError as error:
            self._give_up(error.message)
        except ServiceUnavailableError as error:
            self._trouble = error.message
            self._news.set()
            logger.warning(
                "the %s worker cannot start yet and tries again: %s",
                self._plan.queue,
                error,
            )
            return False
        except HansegError as error:
            self._give_up(error.message)
        except Exception as error:
            logger.exception("the %s worker cannot start", self._plan.queue)
            self._give_up(_describe_error(error))
        self._services = services
        self._news.set()
        logger.info(
            "%s worker is ready on %s after %.1f s",
            self._plan.queue,
            self._device,
            time.monotonic() - started,
        )
        return True

    def _open(self) -> Services:
        services = open_services(self._settings)
        services.tables.workers.forget(_worker_name(os.getppid()))  # it speaks now
        _start_thread("heartbeat", self._beat, services.tables)
        if self._wires is not None:
            grace = self._settings.grace_seconds
            signals = self._wires.signals
            _start_thread("signals", listen_for_stop, signals, services.stop, grace)
        return services

    def _give_up(self, reason: str) -> NoReturn:
        refusal = _refusal(self._plan.queue, reason)
        if self._wires is None:
            raise ServiceUnavailableError(refusal)
        os.write(self._wires.refusal, refusal.encode())
        while True:
            signal.pause()  # the parent ends, and this process with it

    def stop(self, **_: object) -> None:
        """Report that this worker has left."""
        self._stopping.set()
        self._news.set()
        if self._opened is not None:
            self._opened.tables.workers.forget(self._name)

    def _beat(self, tables: Tables) -> None:
        while not self._stopping.is_set():
            self._news.clear()
            try:
                self._report(tables)
            except Exception as error:  # noqa: BLE001 - whatever it is, try again
                logger.warning("no heartbeat: %s", error)
            self._news.wait(HEARTBEAT_SECONDS)

    def _report(self, tables: Tables) -> None:
        queue = self._plan.queue
        if self._services is None or self._device is None:
            tables.workers.report_loading(
                self._name, queue=queue, trouble=self._trouble
            )
        else:
            tables.workers.report_ready(self._name, queue=queue, device=self._device)


def _start_thread(name: str, work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, name=name, daemon=True).start()


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


def has_live_worker(settings: Settings, queue: QueueName) -> bool:
    """Whether a worker of this host serves the queue; for container health checks."""
    host = socket.gethostname()
    tables = open_tables(settings)
    try:
        live = tables.workers.list_live(seen_within_seconds=ALIVE_SECONDS)
    finally:
        tables.close()
    return any(name.rpartition("-")[0] == host for name in live.get(queue, []))
