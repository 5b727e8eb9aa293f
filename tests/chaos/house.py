"""The whole service as real processes that may be killed: the house of the chaos suite.

A `House` runs Redis, the API, the sweep, several workers of each kind and, if it is
asked for, a PostgreSQL of its own. What dies is started again, as `hanseg serve`,
a container engine or systemd would. A scenario is written like this::

    with House(folder, workers=2) as house:             # all of it is ready
        callers = Callers(house, cases, jobs=20, seed=seed).start()
        house.await_stage(JobState.SEGMENTING)           # something is being worked on
        house.kill("segmentation-1")                     # a blow
        callers.finish()                                 # all jobs are final
        verdict = judge(house.settings, house.tables, callers.sent, references)
        verdict.require_good()

Processes go by name: ``api``, ``sweep``, ``redis``, ``postgres``, ``registration-1``,
``segmentation-1`` and so on. Blows: `kill` (the whole family, by SIGKILL),
`kill_worker` (not its keeper), `kill_child` (only what a worker forked), `kill_alone`,
`frozen` (SIGSTOP and SIGCONT), `flush_redis`, `send_again` (a message delivered twice).
`keep_down` leaves a process dead for a while. Settings are keyword arguments:
``House(folder, lease_seconds=3.0)``; `environment` holds further variables for its
processes. Nothing waits for longer than `PATIENCE_SECONDS`. See
`tests/chaos/conftest.py` for the fixtures: cases, references, and `settle`, which
finishes, judges and notes a scenario's row.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import redis
import sqlalchemy as sa
from pydantic import SecretStr

from hanseg_registration import worker as registration_worker
from hanseg_segmentation import worker as segmentation_worker
from hanseg_segmentation.api import server
from hanseg_shared.client import Client
from hanseg_shared.documents import JobState
from hanseg_shared.jobs import sweep_process
from hanseg_shared.jobs.messages import BrokerPublisher, QueueName
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.worker import is_ready
from hanseg_shared.settings import Settings
from hanseg_shared.stack.children import Child
from hanseg_shared.stack.redis_server import RedisServer, free_port
from tests.chaos.postgres import Postgres
from tests.freezing import frozen

PATIENCE_SECONDS = 1800.0
"""What has not happened by then will not happen, on a busy machine either."""

WATCH_SECONDS = 0.1
"""How often dead processes are looked for."""

KINDS = ("registration", "segmentation")
"""The kinds of workers."""


class House:
    """The service in a folder, with several workers of each kind; a context manager.

    Args:
        folder: Its data folder is made in it.
        workers: How many there are of each kind.
        postgres: Whether its database is PostgreSQL, in place of SQLite.
        append_only: Whether Redis keeps its queue in a file.
        apart: Whether every worker has a data folder of its own, as on a host of its
            own: then database and store must be such as hosts share.
        environment: Further variables of its processes.
        settings: Fields of `Settings` that are not the defaults.

    Attributes:
        sent: What callers sent that was judged before.
        deaths: What its processes died of.
    """

    def __init__(
        self,
        folder: Path,
        *,
        workers: int = 2,
        postgres: bool = False,
        append_only: bool = True,
        apart: bool = False,
        environment: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self._down: set[str] = set()
        self._over = threading.Event()
        self._guard = threading.Lock()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._environment = dict(environment or {})
        self._apart = apart
        self.deaths: list[str] = []
        self.blows: list[str] = []
        self.sent: list[Any] = []
        self.postgres = Postgres.make() if postgres else None
        self.redis = RedisServer.in_folder(folder / "data" / "redis")
        self.settings = self._make_settings(folder / "data", settings)
        self.children = self._make_children(workers, append_only=append_only)
        self._tables: Tables | None = None

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def logs(self) -> Path:
        """Folder of its processes' logs."""
        return self.settings.data / "logs"

    @property
    def tables(self) -> Tables:
        """Its database, opened in this process."""
        if self._tables is None:
            self._tables = open_tables(self.settings)
        return self._tables

    @property
    def workers(self) -> list[str]:
        """The workers' names."""
        return [name for name in self.children if name.rpartition("-")[0] in KINDS]

    def client(self) -> Client:
        """Return a client of its own; the caller closes it."""
        return Client(self.url, retry=None)

    def __enter__(self) -> Self:
        try:
            for child in self.children.values():
                child.start()
            self._watcher.start()
            self.await_ready()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all processes; what the house had on disk stays, but for PostgreSQL."""
        self._over.set()
        if self._watcher.is_alive():
            self._watcher.join()
        if self._tables is not None:
            self._tables.close()  # PostgreSQL waits for its clients
        servers = ("redis", "postgres")  # last: the others need them to stop
        deadline = time.monotonic() + 15.0
        for names in (set(self.children) - set(servers), servers):
            ending = [self.children[name] for name in names if name in self.children]
            for child in ending:
                child.terminate()
            for child in ending:
                child.wait(deadline)
        if self.postgres is not None:
            self.postgres.remove()

    # --- blows ---

    def family(self, name: str) -> list[psutil.Process]:
        """Return a process and all that it started; none while it is down."""
        try:
            parent = psutil.Process(self.children[name].pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self, name: str) -> None:
        """Kill a process and everything it started, as a power cut would."""
        self._note(f"kill {name}")
        _kill(self.family(name))

    def kill_alone(self, name: str) -> None:
        """Kill a process and nothing that it started."""
        self._note(f"kill {name} alone")
        _kill(self.family(name)[:1])

    def kill_worker(self, name: str) -> None:
        """Kill a worker with what it forked, and spare its keeper."""
        self._note(f"kill {name}, not its keeper")
        _kill(self.family(name)[1:])

    def kill_child(self, name: str) -> None:
        """Kill what a worker forked, and not the worker itself."""
        self._note(f"kill the child of {name}")
        _kill(self.family(name)[2:])

    @contextmanager
    def keep_down(self, *names: str) -> Iterator[None]:
        """Kill processes and start them again only at the end of the body."""
        with self._guard:
            self._down |= set(names)
        for name in names:
            self.kill(name)
        try:
            yield
        finally:
            with self._guard:
                self._down -= set(names)

    @contextmanager
    def frozen(self, *names: str) -> Iterator[None]:
        """Let processes and all that they started hang while the body runs."""
        self._note(f"freeze {', '.join(names)}")
        held = [process for name in names for process in self.family(name)]
        with frozen(*(process.pid for process in held)):
            yield

    def flush_redis(self) -> None:
        """Delete all that Redis has."""
        self._note("flush Redis")
        with redis.Redis.from_url(self.redis.url, socket_timeout=5) as client:
            client.flushall()

    def send_again(self, job_id: str, stage: Stage) -> None:
        """Deliver the message of a job's stage once more."""
        self._note("send a message again")
        publisher = BrokerPublisher(self.settings)
        try:
            publisher.publish(stage.task, stage.queue, job_id)
        finally:
            publisher.close()

    # --- waiting ---

    def await_ready(self) -> None:
        """Return when the API answers and every worker can work."""
        with self.client() as client:
            self.wait_for(client.is_ready, "the API to be ready")
        self.wait_for(self._are_workers_ready, "all workers to be ready")

    def await_stage(self, *states: JobState) -> str:
        """Return the id of a job that a worker has in one of some states."""

        def find() -> str | None:
            with self.tables.database.read() as connection:
                return connection.execute(
                    sa.select(jobs.c.id)
                    .where(jobs.c.token.is_not(None), jobs.c.state.in_(states))
                    .limit(1)
                ).scalar_one_or_none()

        return self.wait_for(find, f"a job to be worked on in {states}")

    def count_ended(self) -> int:
        """Return how many jobs are final; 0 while the database is down."""
        final = [state for state in JobState if state.is_final]
        query = sa.select(sa.func.count()).where(jobs.c.state.in_(final))
        try:
            with self.tables.database.read() as connection:
                return connection.execute(query).scalar_one()
        except Exception:  # noqa: BLE001 - it is being killed
            return 0

    def worker_of(self, job_id: str) -> str:
        """Return the name of the worker that has a job now."""
        number = self.tables.jobs.get(job_id).total_attempts
        attempt = self.settings.scratch / f"attempt-{job_id}-{number}"
        for name in self.workers:
            for process in self.family(name):
                try:
                    descriptors = Path(f"/proc/{process.pid}/fd").iterdir()
                    if attempt in [each.readlink() for each in descriptors]:
                        return name
                except OSError:
                    continue
        raise LookupError(f"no worker has {job_id}")

    def wait_for(
        self, what: Callable[[], Any], said: str, *, seconds: float = PATIENCE_SECONDS
    ) -> Any:
        """Return what a function returns once that is true.

        A process that is down may make it raise meanwhile.
        """
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                if found := what():
                    return found
            except Exception as error:  # noqa: BLE001 - the service is being killed
                last = error
            self._over.wait(0.02)
        raise TimeoutError(f"waited {seconds:.0f} s for {said}; last: {last!r}")

    def rest(self, seconds: float) -> None:
        """Let the house be for a while."""
        self._over.wait(seconds)

    # --- inside ---

    def take_blows(self) -> int:
        """Return how many blows there were since this was last asked."""
        count = len(self.blows)
        self.blows.clear()
        return count

    def _note(self, blow: str) -> None:
        self.blows.append(blow)

    def _are_workers_ready(self) -> bool:
        ready = [each for each in self.tables.workers.statuses() if is_ready(each)]
        return all(
            sum(each.queue == QueueName(kind) for each in ready)
            >= sum(name.startswith(kind) for name in self.workers)
            for kind in KINDS
        )

    def _make_settings(self, data: Path, given: dict[str, Any]) -> Settings:
        chosen: dict[str, Any] = {
            "data": data,
            "port": free_port(),
            "broker_url": SecretStr(self.redis.url),
            "min_free_bytes": 0,
            "threads": 1,
            "engine": "eager",
            "second_stage": False,
            "grace_seconds": 2.0,
        }
        if self.postgres is not None:
            chosen["database_url"] = SecretStr(self.postgres.url)
        return Settings(**(chosen | given))

    def _make_children(self, workers: int, *, append_only: bool) -> dict[str, Child]:
        configuration = self.redis.configuration
        if not append_only:
            configuration = configuration.replace("appendonly yes", "appendonly no")
        commands = {
            "api": server.command(self.settings),
            "sweep": sweep_process.command(self.settings),
        }
        for number in range(1, workers + 1):
            commands[f"registration-{number}"] = registration_worker.command(
                self.settings
            )
            commands[f"segmentation-{number}"] = segmentation_worker.command(
                self.settings
            )
        children = [self._child("redis", self.redis.command, stdin=configuration)]
        if self.postgres is not None:
            children.insert(0, self._child("postgres", self.postgres.command))
        children += [self._child(name, told) for name, told in commands.items()]
        return {child.name: child for child in children}

    def _child(
        self, name: str, command: list[str], *, stdin: str | None = None
    ) -> Child:
        log = self.logs / f"{name}.log"
        child = Child(name, command, self._variables(name), log, stdin=stdin)
        child.proven = True  # it is started again for ever
        return child

    def _variables(self, name: str) -> dict[str, str]:
        settings = self.settings
        if self._apart and name.rpartition("-")[0] in KINDS:
            own = settings.data.with_name(name)
            settings = settings.model_copy(update={"data": own})
        scratch = settings.scratch
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours = settings.as_environment() | {
            "REMAP_SIGTERM": "SIGQUIT",
            "TMPDIR": str(scratch),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }
        inherited = {k: v for k, v in os.environ.items() if k not in ours}
        return inherited | ours | self._environment

    def _watch(self) -> None:
        while not self._over.wait(WATCH_SECONDS):
            with self._guard:
                up = [c for name, c in self.children.items() if name not in self._down]
            for child in up:
                # a supervisor's patience with what dies at once is not under test
                child.quick_deaths = min(child.quick_deaths, 1)
                if death := child.revive():
                    self.deaths.append(death)


class Served(House):
    """The service as `hanseg serve` runs it: one process, ``supervisor``, is ours."""

    def _make_children(self, workers: int, *, append_only: bool) -> dict[str, Child]:
        del workers, append_only  # it has its own
        data, port = str(self.settings.data), str(self.settings.port)
        program = Path(sys.executable).with_name("hanseg")
        command = [str(program), "serve", "--data", data, "--port", port]
        return {"supervisor": self._child("supervisor", command)}


def _kill(family: list[psutil.Process]) -> None:
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=20)
