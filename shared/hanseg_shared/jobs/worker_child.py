"""The prefork child of a worker: it does the stages, and tells that it lives.

It opens its own connections after the fork, and reports to the database. Pipes connect
it with its parent, which is Celery's; see `hanseg_shared.jobs.worker`.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

from celery.worker import state as celery_state

from hanseg_shared.cli import CANNOT_START
from hanseg_shared.errors import (
    HansegError,
    ServiceUnavailableError,
    StoreRefusedError,
)
from hanseg_shared.jobs.cache_tidying import CacheTidying
from hanseg_shared.jobs.fitness import wait_until_fit
from hanseg_shared.jobs.keeper import STOP_SIGNALS
from hanseg_shared.jobs.leash import die_with_parent
from hanseg_shared.jobs.machine_faults import is_machine_fault
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.passes import do_all
from hanseg_shared.jobs.pulse import give_pulse
from hanseg_shared.jobs.scratch import Scratch
from hanseg_shared.jobs.services import Services, open_services
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.stopping import StopNotice
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.turns import Wish
from hanseg_shared.jobs.upgrade import SchemaVersionError
from hanseg_shared.jobs.work import Body, work_on_next
from hanseg_shared.logs import name_process
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 2.0
"""How often a worker's child reports to the database that it lives."""

PROOF_SECONDS = 30.0
"""How often a worker's child that has nothing to do proves that it could work."""

STALE_SECONDS = 150.0
"""A worker that has not proven it for so long is not ready."""

DRAINED = "is drained: it finishes its job and takes no other"
"""What a worker reports that was told to drain."""

WAITS = "waits: its host is drained"
"""What a worker reports that was started on a host that is drained."""

RETRY_SECONDS = 5.0
"""How long a worker's child that could not start waits before it tries again."""


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """What a worker does.

    Attributes:
        queue: Where its messages come from.
        bodies: What it does for each stage.
        prepare: Called once in the child, before the first message; loads models and
            returns the device it computes on.
        prove: Called in the child, between stages: does a little of the work, and
            raises what keeps it from being done.
        loaded: Returns the models that are loaded in the child, by name; empty where
            which one does not matter.
    """

    queue: QueueName
    bodies: Mapping[Stage, Body]
    prepare: Callable[[Settings], str]
    prove: Callable[[], None]
    loaded: Callable[[], frozenset[str]] = frozenset


def worker_name(process: int) -> str:
    """Return what a worker on this host is called, by its process."""
    return f"{socket.gethostname()}-{process}"


def refusal(queue: QueueName, reason: str) -> str:
    """Return the line that says why a worker cannot start."""
    return f"the {queue} worker cannot start: {' '.join(reason.split())[:1000]}"


def describe_error(error: Exception) -> str:
    """Return an error of another library in one line."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error}"


def refuse(refusal: str) -> NoReturn:
    """End this process at once; nothing has been begun that could be lost."""
    sys.stderr.write(f"hanseg: {refusal}\n")
    sys.stderr.flush()
    os._exit(CANNOT_START)


@dataclass(frozen=True, slots=True)
class Wires:
    """Pipes between a worker's own process and the child that does its work.

    Attributes:
        signals: The child reads here the number of each signal that it or its parent
            got, even while their main threads wait or compute.
        refusal: The child writes here why it can never start, and its parent ends.
        drained: The child writes here that the worker is drained: its parent takes no
            message more, and ends with the child's last job.
        announced: Under which name the worker has reported that it is loading.
    """

    signals: int
    refusal: int
    drained: int
    announced: str

    @classmethod
    def between_parent_and_child(cls) -> Wires:
        """Make the pipes in the parent; the child inherits them."""
        signals, notify = os.pipe()
        os.set_blocking(notify, False)
        signal.set_wakeup_fd(notify, warn_on_full_buffer=False)
        heard, refusal = os.pipe()
        _start_thread("refusal", lambda: refuse(os.read(heard, 4096).decode()))
        told, drained = os.pipe()
        _start_thread("drain", _end_with_last_job, told)
        keeper = worker_name(os.getppid())
        return cls(signals, refusal, drained, keeper)


def _end_with_last_job(told: int) -> None:
    """Have Celery, in the parent, take no more messages once a pipe says so, and end.

    It is how Celery itself ends "warmly": what is being done has all its time.
    """
    if os.read(told, 1):
        celery_state.should_stop = os.EX_OK  # type: ignore[assignment]


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
        self._at_work = threading.Lock()
        self._proven = -math.inf
        self._doubt: str | None = None
        self._is_busy = False
        self._is_drained = False

    def task(self, stage: Stage) -> Callable[..., None]:
        """Return the function that Celery calls with what a message carries.

        The message says that the queue has something to do, and the database what:
        the job that it names is but one that was due when it was sent. A later version
        may send more than the job's id.
        """

        def do(job_id: str, *_: object, **__: object) -> None:
            if self._services is None:
                raise ServiceUnavailableError("the worker's child has not started")
            if self._finds_itself_drained(self._services.tables):
                # what was taken from the queue goes back to those who are not
                self._services.publisher.publish(stage.task, stage.queue, job_id)
            elif not wait_until_fit(self._services, self._tell):
                # the row stays due, and the message is sent again
                logger.warning("job %s: not begun: %s", job_id, self._trouble)
            elif not self._at_work.acquire(timeout=STALE_SECONDS):
                logger.error("job %s: not begun: the self-check hangs", job_id)
            else:
                try:
                    if self._doubt is None or self._try_to_prove():
                        self._is_busy = True
                        work_on_next(
                            self._plan.bodies,
                            self._wish(),
                            self._services,
                            named=job_id,
                        )
                    else:
                        logger.warning("job %s: not begun: %s", job_id, self._doubt)
                finally:
                    self._is_busy = False
                    self._at_work.release()

        return do

    def _wish(self) -> Wish:
        return Wish(
            stages=tuple(self._plan.bodies),
            models=self._plan.loaded(),
            most_passes=self._settings.model_passes,
            most_running=self._settings.max_running_jobs_a_caller or None,
        )

    def _finds_itself_drained(self, tables: Tables) -> bool:
        if not self._is_drained and tables.drains.concern(self._name):
            logger.warning("worker %s %s", self._name, DRAINED)
            self._is_drained = True
            if self._wires is not None:
                os.write(self._wires.drained, b"\n")
        return self._is_drained

    def _tell(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self._news.set()
            logger.warning(
                "the worker %s", f"waits: {trouble}" if trouble else "goes on"
            )

    def start(self, **_: object) -> None:
        """Connect, prepare and begin to send heartbeats.

        Celery would swallow an exception here and send jobs to a child that cannot do
        them. A database that starts later than its workers is waited for; what would
        be wrong again, such as a missing model, ends the worker.
        """
        die_with_parent(signal.SIGKILL)
        self._name = worker_name(os.getpid())
        name_process(worker=self._name)
        while not self._begin():
            if self._stopping.wait(RETRY_SECONDS):
                return

    def _begin(self) -> bool:
        started = time.monotonic()
        try:
            services = self._opened = self._opened or self._open()
            self._device = self._plan.prepare(self._settings)
            if not self._try_to_prove():
                self._put_off(self._doubt or "")
                return False
        except (SchemaVersionError, StoreRefusedError) as error:
            self._give_up(error.message)
        except ServiceUnavailableError as error:
            self._put_off(error.message)
            return False
        except HansegError as error:
            self._give_up(error.message)
        except Exception as error:
            if is_machine_fault(error):
                self._put_off(describe_error(error))
                return False
            logger.exception("the %s worker cannot start", self._plan.queue)
            self._give_up(describe_error(error))
        self._services, self._trouble = services, None
        self._news.set()
        _start_thread("proof", self._keep_proving)
        logger.info(
            "%s worker is ready on %s after %.1f s",
            self._plan.queue,
            self._device,
            time.monotonic() - started,
        )
        return True

    def _keep_proving(self) -> None:
        """Prove between stages that this child could do one."""
        while not self._stopping.wait(PROOF_SECONDS):
            if self._at_work.acquire(blocking=False):
                try:
                    self._try_to_prove()
                finally:
                    self._at_work.release()

    def _try_to_prove(self) -> bool:
        """Do a little of the work; return whether it could be done."""
        try:
            self._plan.prove()
        except Exception as error:
            logger.exception("the %s worker's self-check failed", self._plan.queue)
            said = (
                error.message
                if isinstance(error, HansegError)
                else describe_error(error)
            )
            self._doubt = f"its self-check failed: {said}"
        else:
            self._doubt, self._proven = None, time.monotonic()
        self._news.set()
        return self._doubt is None

    def _proven_seconds(self) -> float:
        """Return how long ago this child proved that it can work.

        A stage that is being done has limits of its own, and is proof meanwhile.
        """
        if self._is_busy:
            return 0.0
        return time.monotonic() - self._proven

    def _put_off(self, trouble: str) -> None:
        self._trouble = trouble
        self._news.set()
        logger.warning(
            "the %s worker cannot start yet and tries again: %s",
            self._plan.queue,
            trouble,
        )

    def _open(self) -> Services:
        services = open_services(self._settings, f"hanseg-{self._plan.queue}")
        if self._wires is not None:  # it speaks now
            services.tables.workers.forget(self._wires.announced)
        _start_thread("heartbeat", self._beat, services)
        if self._wires is not None:
            grace = self._settings.grace_seconds
            signals = self._wires.signals
            _start_thread("signals", listen_for_stop, signals, services.stop, grace)
        return services

    def _give_up(self, reason: str) -> NoReturn:
        line = refusal(self._plan.queue, reason)
        if self._wires is None:
            raise ServiceUnavailableError(line)
        os.write(self._wires.refusal, line.encode())
        while True:
            signal.pause()  # the parent ends, and this process with it

    def stop(self, **_: object) -> None:
        """Report that this worker has left."""
        self._stopping.set()
        self._news.set()
        if self._opened is not None:
            self._opened.tables.workers.forget(self._name)
            self._opened.tracer.close()

    def _beat(self, services: Services) -> None:
        tidying = CacheTidying(services.store, services.tables)
        scratch = Scratch(self._settings.scratch)
        tell = partial(self._tell_the_database, services.tables, tidying)
        while not self._stopping.is_set():
            self._news.clear()
            try:
                do_all(tell, scratch.sweep)  # another host's is nobody else's
            except Exception as error:  # noqa: BLE001 - whatever it is, try again
                logger.warning("the heartbeat met this: %s", error)
            self._news.wait(HEARTBEAT_SECONDS)

    def _tell_the_database(self, tables: Tables, tidying: CacheTidying) -> None:
        self._finds_itself_drained(tables)
        self._report(tables)
        tidying.run_if_due()

    def _report(self, tables: Tables) -> None:
        queue = self._plan.queue
        trouble = self._trouble or self._doubt
        if self._is_drained:
            trouble = DRAINED
            give_pulse(queue)  # it does what it was told
        if self._services is None or self._device is None or trouble:
            tables.workers.report_loading(self._name, queue=queue, trouble=trouble)
        else:
            proven_seconds = self._proven_seconds()
            tables.workers.report_ready(
                self._name,
                queue=queue,
                device=self._device,
                proven_seconds=proven_seconds,
            )
            if proven_seconds <= STALE_SECONDS:
                give_pulse(queue)


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
