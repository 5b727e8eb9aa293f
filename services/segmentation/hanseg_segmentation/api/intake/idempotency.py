"""Doing a request once, however often it is sent with the same ``Idempotency-Key``.

After draft-ietf-httpapi-idempotency-key-header: the same key with the same request
answers what the first one made, with another request 422, and while the first is
being processed 409. A request that failed gives its key back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from fastapi import Header

from hanseg_segmentation.api.caller import Caller
from hanseg_segmentation.api.http.problem_responses import (
    KEY_IN_USE,
    KEY_REUSED,
    RefusedError,
)
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.tables.keys import IdempotencyKeys

KEY_RETRY_SECONDS = 5
"""When to ask again while the first request with a key is being processed."""

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


def scope_key(key: str | None, caller: Caller) -> str | None:
    """Return a key as it is stored: hashed, so that callers' keys never meet."""
    if key is None:
        return None
    return hashlib.sha256(f"{caller.name}\n{key}".encode()).hexdigest()


def fingerprint(**content: Any) -> str:  # noqa: ANN401 - whatever JSON can hold
    """Return a hash that two requests share when they ask for the same."""
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def make_once(
    keys: IdempotencyKeys,
    key: str | None,
    request_hash: str,
    make: Callable[[], str],
) -> str:
    """Return the id of what `make` makes, now or when the key was first used.

    Args:
        keys: Where keys are kept.
        key: From `scope_key`; without one, every request makes its own.
        request_hash: From `fingerprint`.
        make: Does the work and returns the id of what it made.

    Raises:
        RefusedError: The key belongs to another request, or to this one and it is
            still being processed.
    """
    if key is None:
        return make()
    known = keys.reserve(key, request_hash)
    if known is not None:
        return _require_made(known.fingerprint == request_hash, known.resource)
    try:
        made = make()
    except BaseException:
        with suppress(ServiceUnavailableError):
            keys.release(key)
        raise
    keys.settle(key, made)
    return made


def _require_made(is_same: bool, resource: str | None) -> str:
    if not is_same:
        raise RefusedError(
            KEY_REUSED,
            "this Idempotency-Key was used for a different request; use a new key",
        )
    if resource is None:
        raise RefusedError(
            KEY_IN_USE,
            "the first request with this Idempotency-Key is being processed; ask again",
            headers={"Retry-After": str(KEY_RETRY_SECONDS)},
        )
    return resource
