"""Starting, watching and stopping all the processes of the service on one machine."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Collection
from importlib.metadata import entry_points
from pathlib import Path
from types import TracebackType
from typing import IO

import httpx
from pydantic import SecretStr

from hanseg_shared.binding import BindError, why_not_bound
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.privacy import close_to_others
from hanseg_shared.settings import PREFIX, Settings
from hanseg_shared.stack.children import Child
from hanseg_shared.stack.patience import Patience, cpu_seconds_of
from hanseg_shared.stack.redis_server import RedisServer, free_port

logger = logging.getLogger(__name__)

SERVICES = "hanseg.services"
"""Entry point group: functions of `Settings` that return a service's command."""

CHECKS = "hanseg.checks"
"""Entry point group: functions of `Settings` that raise before anything is started."""

LOCK = "lock"
"""File of the data folder that a stack holds locked while it works there."""

WATCH_SECONDS = 0.2
"""How often the children are looked at."""

ANSWER_SECONDS = 10.0
"""How long the API may take to say what is ready; on a busy machine it is late."""

API = "api"
"""The name of the API, and of what is missing while it does not answer."""

STOP_SECONDS = 10.0
"""Longest time until the children have stopped, beyond the workers' grace time."""

EMBEDDED_GRACE_SECONDS = 2.0
"""A worker of the embedded stack may go on for so long; its job is due again later."""


class Stack:
    """Redis, the API and the workers, as children of this process.

    Use it as a context manager: nothing is left running afterwards. A child that dies
    is started again; one that cannot be kept alive ends the stack with its reason.

    Args:
        settings: Where the data lie and on which address the API listens.
        announce: Told, in a sentence, of each event a person should know.
    """

    def __init__(
        self, settings: Settings, *, announce: Callable[[str], None] | None = None
    ) -> None:
        if settings.port == 0:  # any that is free, chosen here as all must know it
            settings = settings.model_copy(update={"port": free_port()})
        self.settings = settings
        self._announce = announce or logger.info
        self._redis: RedisServer | None = None
        self._children: list[Child] = []
        self._lock: IO[str] | None = None
        self._stopping = threading.Event()
        self._failure: str | None = None
        self._watcher = threading.Thread(target=self._watch, daemon=True, name="watch")

    @property
    def url(self) -> str:
        """Where the API answers."""
        host = self.settings.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.settings.port}"

    @property
    def children(self) -> dict[str, Child]:
        """The supervised processes by name."""
        return {child.name: child for child in self._children}

    @property
    def logs(self) -> Path:
        """Folder of the children's logs."""
        return self.settings.data / "logs"

    def __enter__(self) -> Stack:
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop()

    def wait_until_ready(self, *, unless: threading.Event | None = None) -> None:
        """Return when the API and both workers can take a job.

        Args:
            unless: When it is set, returns at once.

        Raises:
            ServiceUnavailableError: A child cannot be kept alive, or nothing has gone
                on for too long (`Patience`); the message says which and why.
        """
        unless = unless or self._stopping
        patience = Patience(self._announce, self.logs)
        while True:
            self.check()
            missing = self._ask_what_is_missing()
            if not missing:
                for child in self._children:
                    child.proven = True
                return
            late = self._list_late(missing)
            patience.note(
                missing,
                "; ".join(missing.values()),
                cpu_seconds=cpu_seconds_of([child.pid for child in late]),
            )
            if unless.wait(WATCH_SECONDS):
                return

    def _ask_what_is_missing(self) -> dict[str, str]:
        """Return what is not ready, and why; nothing if all is."""
        try:
            # a proxy of the environment is not asked for what is on this machine
            answer = httpx.get(
                f"{self.url}/readyz", timeout=ANSWER_SECONDS, trust_env=False
            )
            if answer.is_success:
                return {}
            told = answer.json()
            checks = told.get("checks", ())
            wrong = {each["name"]: each["detail"] for each in checks if not each["ok"]}
            return wrong or {API: str(told.get("detail", answer.text))}
        except (httpx.HTTPError, ValueError, LookupError, TypeError, AttributeError):
            return {API: "the API does not answer"}

    def _list_late(self, missing: Collection[str]) -> list[Child]:
        """Return the children on which what is missing may depend."""
        ready = {"redis", "sweep"} if API in missing else {"redis", "sweep", API}
        return [child for child in self._children if child.name not in ready]

    def check(self) -> None:
        """Raise `ServiceUnavailableError` if a child could not be kept alive."""
        if self._failure is not None:
            raise ServiceUnavailableError(self._failure)

    def _start(self) -> None:
        settings = self.settings
        _require_space(settings)
        close_to_others(settings.data)
        self._lock = _lock_folder(settings.data)
        _require_free_port(settings.host, settings.port)
        if not is_installed():
            raise ServiceUnavailableError(
                "the service is not installed here, only its client; install "
                "hanseg-registration and hanseg-segmentation[api,worker]"
            )
        for entry in entry_points(group=CHECKS):
            entry.load()(settings)
        _put_database_right(settings)
        self._redis = RedisServer.in_folder(settings.data / "redis")
        environment = self._environment(self._redis)
        self._add(
            Child(
                "redis",
                self._redis.command,
                environment,
                self.logs / "redis.log",
                stdin=self._redis.configuration,
            )
        )
        for entry in sorted(entry_points(group=SERVICES), key=lambda e: e.name):
            command = entry.load()(settings)
            self._add(
                Child(entry.name, command, environment, self.logs / f"{entry.name}.log")
            )
        self._watcher.start()

    def _add(self, child: Child) -> None:
        child.start()
        self._children.append(child)

    def _environment(self, server: RedisServer) -> dict[str, str]:
        settings = self.settings
        scratch = settings.scratch
        scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = settings.model_copy(
            update={
                "broker_url": SecretStr(server.url),
                "grace_seconds": EMBEDDED_GRACE_SECONDS,
                # said even where they are defaults, so that no variable of the
                # caller's can send a child elsewhere
                "data": settings.data,
                "host": settings.host,
                "port": settings.port,
            }
        )
        said = {f"{PREFIX}{name}".upper() for name in own.model_fields_set}
        inherited = {k: v for k, v in os.environ.items() if k.upper() not in said}
        return (
            inherited
            | own.as_environment()
            | {
                "REMAP_SIGTERM": "SIGQUIT",
                "TMPDIR": str(scratch),
                "PYTHONUNBUFFERED": "1",
            }
        )

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            for child in self._children:
                child.trim_log()
                death = child.revive()
                if death is None or self._stopping.is_set():
                    continue
                if child.hopeless:
                    often = "" if child.refused else "; this happens again and again"
                    self._give_up(f"{death}{often} (log: {child.log})")
                    return
                self._announce(f"{death}; it is started again")

    def _give_up(self, failure: str) -> None:
        # whoever waits for the service learns of it: the API stops answering
        self._failure = failure
        for child in self._children:
            child.terminate()

    def _stop(self) -> None:
        self._stopping.set()
        if self._watcher.is_alive():
            self._watcher.join()
        deadline = time.monotonic() + EMBEDDED_GRACE_SECONDS + STOP_SECONDS
        workers = [child for child in self._children if child.name != "redis"]
        for child in workers:
            child.terminate()
        for child in workers:
            child.wait(deadline)
        for child in self._children:  # Redis last: the others need it to stop
            child.terminate()
            child.wait(deadline)
        if self._lock is not None:
            self._lock.close()


def is_installed() -> bool:
    """Whether the services are installed here; a client's machine has none."""
    return bool(entry_points(group=SERVICES))


def _require_space(settings: Settings) -> None:
    try:
        settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)  # patients' images
        free = shutil.disk_usage(settings.data).free
    except OSError as error:
        raise ServiceUnavailableError(
            f"the data folder {settings.data} cannot be used: {error.strerror}"
        ) from error
    if free < settings.min_free_bytes:
        raise ServiceUnavailableError(
            f"the disk is full: {free / 1e9:.1f} GB free in {settings.data}, "
            f"{settings.min_free_bytes / 1e9:.1f} GB needed (HANSEG_MIN_FREE_BYTES)"
        )


def _lock_folder(folder: Path) -> IO[str]:
    try:
        lock = (folder / LOCK).open("a")
        os.fchmod(lock.fileno(), 0o600)
    except OSError as error:
        raise ServiceUnavailableError(
            f"the data folder {folder} cannot be used: {error.strerror}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ServiceUnavailableError(
            f"another service already uses the data folder {folder}"
        ) from None
    return lock


def _put_database_right(settings: Settings) -> None:
    """Open the database once, so that a fault in it is reported before the start.

    The folder's lock says that no other API works with this SQLite: requests that an
    API was busy with when it was killed are dead, and give back their keys.
    """
    # Celery and SQLAlchemy: a command for a service that runs elsewhere needs neither
    from hanseg_shared.jobs.entrance import require_entrance
    from hanseg_shared.jobs.services import claim_store, open_tables
    from hanseg_shared.jobs.store import open_store

    tables = open_tables(settings)
    try:
        tables.database.require_sound()
        claim_store(open_store(settings), tables)
        if settings.first_key is None:  # else the API makes it
            require_entrance(settings, tables)
        if settings.database.startswith("sqlite"):
            tables.keys.release_unsettled()
    finally:
        tables.close()


def _require_free_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except BindError as error:
            why = why_not_bound(
                error, host, port, host_option="--host", port_option="--port"
            )
            raise ServiceUnavailableError(why) from error
