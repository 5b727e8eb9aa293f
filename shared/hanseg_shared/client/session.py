"""Finding a running service, or starting one for the time of a command."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import SecretStr

from hanseg_shared.client.client import Client
from hanseg_shared.client.key import find_key
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.settings import Settings, read_settings
from hanseg_shared.stack.redis_server import free_port
from hanseg_shared.stack.stack import LOCK, Stack, is_installed
from hanseg_shared.user_key import can_keep_key, key_id, users_key_file

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
    address = given or f"http://{settings.host}:{settings.port}"
    with Client(address, key=find_key(), retry=None) as client:
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
    address = given or f"http://{settings.host}:{settings.port}"
    with Client(address, key=find_key(), retry=None) as client:
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
        own = sign_as_user(own)
        with (
            Stack(own, announce=announce) as stack,
            Client(stack.url, lasting=data is not None, retry=None) as client,
        ):
            stack.wait_until_ready()
            announce(describe_key(own, client.signing_keys()))
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


def sign_as_user(settings: Settings) -> Settings:
    """Return the settings of a stack that signs with the user's own key.

    A key in the stack's folder would go with it, and nobody could verify the results.
    Where none can be kept, it is signed with such a key all the same.
    """
    if settings.signing_key is not None or not can_keep_key():
        return settings
    path = SecretStr(str(users_key_file()))
    return settings.model_copy(update={"signing_key": path})


def describe_key(settings: Settings, public_keys: Sequence[str]) -> str:
    """Return with which key a stack signs, as a sentence.

    Args:
        settings: Those of the stack.
        public_keys: What it signs with, the newest first, in base64.
    """
    named = f"key {key_id(public_keys[0])}" if public_keys else "a key"
    given = settings.signing_key
    if given is None:
        return f"the results are signed with {named}, which cannot be kept here"
    whose = "your own " if given.get_secret_value() == str(users_key_file()) else ""
    return f"the results are signed with {whose}{named}"


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
            "access": "local",
            "hosts": (),
            "proxies": (),
            "first_key": None,
            "key_for_bridge": None,
            "oidc_issuer": None,
            "port": port,
        }
    )
