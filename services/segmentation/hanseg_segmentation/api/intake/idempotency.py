"""Doing a request once, however often it is sent with the same ``Idempotency-Key``.

After draft-ietf-httpapi-idempotency-key-header: the same key with the same request
answers what the first one made, with another request 422, and while the first is
being processed 409. A request that failed gives its key back.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, TypeVar

from fastapi import Header

from hanseg_segmentation.api.http.problem_responses import (
    KEY_IN_USE,
    KEY_REUSED,
    RefusedError,
)
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.errors import LeaseLostError, ServiceUnavailableError
from hanseg_shared.jobs.tables.keys import (
    LEASE_SECONDS,
    IdempotencyKeys,
    KeyClaim,
    KeyState,
)

KEY_RETRY_SECONDS = 5
"""When to ask again while the first request with a key is being processed."""

RENEWAL_SECONDS = LEASE_SECONDS / 3
"""How often a request that is being processed renews its key."""

Made = TypeVar("Made")

KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        description=(
            "Makes the request safe to repeat: a repetition with the same key and "
            "content answers what the first one made."
        ),
        examples=["8e03978e-40d5-43e8-bc93-6894a57f9324"],
    ),
]


def scope_key(key: str | None, principal: Principal) -> str | None:
    """Return a key as it is stored: hashed, so that callers' keys never meet."""
    if key is None:
        return None
    return hashlib.sha256(f"{principal.owner}\n{key}".encode()).hexdigest()


def fingerprint(**content: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Return a hash that two requests share when they ask for the same."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_once(
    keys: IdempotencyKeys,
    key: str | None,
    request_hash: str,
    make: Callable[[KeyClaim | None], Made],
    *,
    find: Callable[[str], Made],
) -> Made:
    """Return what `make` makes, as it was made now, or what was made with the key.

    Args:
        keys: Where keys are kept.
        key: From `scope_key`; without one, every request makes its own.
        request_hash: From `fingerprint`.
        make: Does the work and returns what it made. The key it gets is to be settled
            in the transaction that makes it.
        find: Returns, by its id, what was made before.

    Raises:
        RefusedError: The key belongs to another request, or to this one and it is
            still being processed.
    """
    if key is None:
        return make(None)
    claim = keys.reserve(key, request_hash)
    if isinstance(claim, KeyState):
        return find(_require_made(claim.fingerprint == request_hash, claim.resource))
    with _keep_alive(keys, claim):
        try:
            return make(claim)
        except LeaseLostError:
            raise _in_use() from None


@contextmanager
def _keep_alive(keys: IdempotencyKeys, claim: KeyClaim) -> Iterator[None]:
    """Renew a key while the body runs, and give it back if nothing was made."""
    over = threading.Event()

    def renew() -> None:
        while not over.wait(RENEWAL_SECONDS):
            with suppress(ServiceUnavailableError):
                if not keys.renew(claim):
                    return

    renewer = threading.Thread(target=renew, daemon=True, name="renew a key")
    renewer.start()
    try:
        with _stop_at_end(over, renewer):
            yield
    except BaseException:
        with suppress(ServiceUnavailableError):
            keys.release(claim)  # one that was settled stays
        raise


@contextmanager
def _stop_at_end(over: threading.Event, thread: threading.Thread) -> Iterator[None]:
    try:
        yield
    finally:
        over.set()
        thread.join()


def _require_made(is_same: bool, resource: str | None) -> str:
    if not is_same:
        raise RefusedError(
            KEY_REUSED,
            "this Idempotency-Key was used for a different request; use a new key",
        )
    if resource is None:
        raise _in_use()
    return resource


def _in_use() -> RefusedError:
    return RefusedError(
        KEY_IN_USE,
        "the first request with this Idempotency-Key is being processed; ask again",
        headers={"Retry-After": str(KEY_RETRY_SECONDS)},
    )
