"""Finding a running service, or starting one for the time of a command."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from hanseg_shared.client.client import Client
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.settings import Settings, read_settings
from hanseg_shared.stack.redis_server import free_port
from hanseg_shared.stack.stack import LOCK, Stack, is_installed

URL_VARIABLE = "HANSEG_URL"
"""Environment variable that names the service to use."""

PREFIX = "hanseg-stack-"
"""Prefix of the temporary folders of stacks that run for one command."""

Announce = Callable[[str], None]


@contextmanager
def open_client(
    url: str | None, *, announce: Announce, data: Path | None = None
) -> Iterator[Client]:
    """Connect to a service for the time of a block.

    It is the one at `url`, or at ``HANSEG_URL``, or the one that listens at the
    default address of this machine. If there is none, the stack is started as this
    process's children and stopped when the block ends.

    Args:
        url: The service's address, or None to look for one.
        announce: Told what is being done.
        data: Where a stack that must be started keeps its jobs; a temporary folder,
            deleted at the end, if None.

    Raises:
        ServiceUnavailableError: No service answers at the given address, or the stack
            cannot be started.
    """
    given = url or os.environ.get(URL_VARIABLE)
    settings = read_settings()
    with Client(given or f"http://{settings.host}:{settings.port}") as client:
        if client.is_ready():
            yield client
            return
        if given:
            raise ServiceUnavailableError(f"no service is ready at {given}")
        if not is_installed():
            raise ServiceUnavailableError(
                f"no service is ready at {client.url}, and none can be started: this "
                "machine has only the client; name a service with --url"
            )
    with _start_stack(settings, data, announce) as client:
        yield client


@contextmanager
def open_running(url: str | None) -> Iterator[Client]:
    """Connect to a service that runs, for what only it knows; none is started.

    It is the one at `url`, or at ``HANSEG_URL``, or the one that listens at the
    default address of this machine.

    Raises:
        ServiceUnavailableError: None answers there.
    """
    given = url or os.environ.get(URL_VARIABLE)
    settings = read_settings()
    with Client(given or f"http://{settings.host}:{settings.port}") as client:
        client.require_service()
        yield client


@contextmanager
def _start_stack(
    settings: Settings, data: Path | None, announce: Announce
) -> Iterator[Client]:
    announce("no service is running here: starting one for this command …")
    remove_abandoned()
    with tempfile.TemporaryDirectory(
        prefix=PREFIX, ignore_cleanup_errors=True
    ) as temporary:
        own = private_settings(settings, data or Path(temporary), port=free_port())
        with (
            Stack(own, announce=announce) as stack,
            Client(stack.url, lasting=data is not None) as client,
        ):
            stack.wait_until_ready()
            try:
                yield client
            except ServiceUnavailableError:
                stack.check()  # if a process could not be kept alive, that is why
                raise


def remove_abandoned() -> None:
    """Remove what commands left that were killed outright: it holds patients' images.

    A folder is abandoned when no stack holds its lock any more.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        try:
            with (folder / LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # at work, just being made, or another user's
            continue


def private_settings(settings: Settings, data: Path, *, port: int) -> Settings:
    """Return the settings of a stack that shares nothing with another service.

    Database and store are its own, even where the environment names those of the
    hospital's service: its reconciler would take that service's jobs, and delete what
    its own database does not know.
    """
    fresh = Settings.model_construct(data=data.resolve())
    return settings.model_copy(
        update={
            "data": fresh.data,
            "database_url": SecretStr(fresh.database),
            "store_uri": fresh.store,
            "host": "127.0.0.1",
            "port": port,
        }
    )
