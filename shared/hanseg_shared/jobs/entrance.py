"""That somebody can use the API before it answers: keys, and the first of them."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from hanseg_shared.access import LOCAL_OWNER, ApiKey, Scope
from hanseg_shared.binding import is_loopback
from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

BRIDGE_OWNER = "bridge"

BRIDGE_SCOPES = frozenset({Scope.SUBMIT, Scope.READ})


def require_entrance(settings: Settings, tables: Tables) -> None:
    """Return if the API may be opened as the settings say, and can be used then.

    Raises:
        OptionError: It would let everybody in whom the network lets through.
        ServiceUnavailableError: Nobody could use it: there is no key.
    """
    if settings.access == "local" and not is_loopback(settings.host):
        raise OptionError(
            f"HANSEG_ACCESS=local lets everybody in who reaches {settings.host}; leave "
            "it out, or listen on 127.0.0.1"
        )
    if not settings.needs_key or settings.oidc_issuer is not None:
        return
    if not tables.api_keys.has_valid():
        raise ServiceUnavailableError(
            f"on {settings.host} everybody needs a key, and none is valid; make one "
            "with `hanseg keys create --owner NAME --scope admin` (with --data for "
            "another folder than the default), or listen on 127.0.0.1"
        )


def write_first_keys(settings: Settings, tables: Tables) -> None:
    """Make the keys that the settings name files for, where they are missing.

    Raises:
        ServiceUnavailableError: A file cannot be written.
    """
    if settings.first_key is not None and not tables.api_keys.list():
        _write_key(
            tables, settings.first_key, LOCAL_OWNER, frozenset(Scope), why="first key"
        )
    bridge_key = settings.key_for_bridge
    if bridge_key is not None and not _is_known(tables, bridge_key):
        _write_key(tables, bridge_key, BRIDGE_OWNER, BRIDGE_SCOPES, why="bridge key")


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read; it appears whole.

    Raises:
        ServiceUnavailableError: It cannot be written.
    """
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(partial, flags, 0o600), "w") as file:
            file.write(f"{text}\n")
        partial.replace(path)
    except OSError as error:
        raise ServiceUnavailableError(
            f"the key cannot be written to {path}: {error.strerror}"
        ) from error


def _is_known(tables: Tables, path: Path) -> bool:
    """Whether a file holds a key of this database, revoked or not."""
    try:
        key = ApiKey.parse(path.read_text().strip())
    except (OSError, ValueError):
        return False
    return key is not None and tables.api_keys.find(key) is not None


def _write_key(
    tables: Tables, path: Path, owner: str, scopes: frozenset[Scope], *, why: str
) -> None:
    key = tables.api_keys.create(
        owner, scopes, note=f"made at the start for {path}", why=why
    )
    try:
        write_secret(path, key.text)
    except BaseException:
        tables.api_keys.revoke(key.id)
        raise
    logger.warning("a key for %s was made; it is in %s", owner, path)
