"""Who a request comes from: its key or token is checked, its rate is held.

Each request reads its key's row, so that a revoked key opens nothing from then on.
Addresses that send wrong keys again and again are answered without a look at the
database, unless the key was right before. A browser that is signed in sends a cookie
instead; it stands for the key that was shown, and is looked up as often.
"""

from __future__ import annotations

import base64
import binascii
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Request

from hanseg_segmentation.api.http.buckets import Buckets
from hanseg_segmentation.api.http.cookie import require_token, secret_of
from hanseg_segmentation.api.http.links import STUDIES
from hanseg_segmentation.api.http.problem_responses import (
    TOO_MANY,
    UNAUTHENTICATED,
    RefusedError,
)
from hanseg_segmentation.api.http.tokens import Refusal, TokenVerifier
from hanseg_segmentation.api.principal import LOCAL, Principal
from hanseg_shared.access import ApiKey, with_implied
from hanseg_shared.binding import is_loopback
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.tables.api_keys import (
    USE_NOTED_SECONDS,
    KeyRecord,
    KeyStanding,
)
from hanseg_shared.jobs.tables.sessions import NewSession, session_id

logger = logging.getLogger(__name__)

FAILURES = 10
"""How many wrong keys an address may send at once ..."""

FAILURES_PER_SECOND = 1 / 6
"""... and how many more as time goes on."""

MOST_KNOWN = 10_000
"""How many keys that were right are remembered, with their addresses."""

BURST_SECONDS = 10.0
"""For how long a caller may send faster than at the rate of the settings."""

HOUR = 3600.0

SESSION_SECONDS = 12 * HOUR
"""How long somebody stays signed in: a working day."""

STALE = 200
"""How many cookies that open nothing an address may send at once ..."""

STALE_PER_SECOND = 10.0
"""... and how many more as time goes on: many browsers may share an address, and each
asks with its old cookie once more after its session has ended."""

NEW_ISSUER = "new_identity_provider"
"""What the audit log calls the first token of one."""

VERIFIED_AT_ONCE = 4
"""Tokens: a provider that does not answer holds up no more threads."""

REALM = 'Bearer realm="hanseg"'

_PROXIES_FIELDS = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


class Gate:
    """Tells who sends requests.

    Args:
        services: The keys and the settings.
        clock: Monotonic, in seconds.
        now: The time of day that tokens end by, in seconds since 1970.
    """

    def __init__(
        self,
        services: Services,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        settings = services.settings
        self._keys = services.tables.api_keys
        self._sessions = services.tables.sessions
        self._needs_key = settings.needs_key
        self._tokens = TokenVerifier.of(settings)
        self._clock = clock
        self._now = now
        self._verifying = CapacityLimiter(VERIFIED_AT_ONCE)
        rate = settings.key_requests_per_second
        self._rate = Buckets(size=rate * BURST_SECONDS, per_second=rate, clock=clock)
        volume = float(settings.key_bytes_per_hour)
        self._volume = Buckets(size=volume, per_second=volume / HOUR, clock=clock)
        self._failures = Buckets(
            size=FAILURES, per_second=FAILURES_PER_SECOND, clock=clock
        )
        self._stale = Buckets(size=STALE, per_second=STALE_PER_SECOND, clock=clock)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._noted: dict[str, float] = {}
        self._audit = services.tables.audit
        self._dead_noted: dict[str, float] = {}
        self._issuer = settings.oidc_issuer
        self._issuer_known = False

    async def identify(self, request: Request) -> Principal | None:
        """Return who sent a request; None for who says nothing and must.

        Raises:
            RefusedError: The key or token opens nothing, or is used too often.
            ServiceUnavailableError: The database does not answer.
        """
        address = request.client.host if request.client else ""
        credentials = request.headers.get("authorization")
        if credentials is not None:
            found = await self._check(credentials, address, request.url.path)
            self._hold_rate(found)
            return found
        secret = secret_of(request)
        signed_in = None if secret is None else await self._resume(secret, address)
        if signed_in is not None and secret is not None:
            require_token(request, secret)
            self._hold_rate(signed_in)
            return signed_in
        if self._needs_key or was_forwarded(request):
            return None
        return replace(LOCAL, address=address)

    async def sign_in(
        self, request: Request, key_text: str
    ) -> tuple[Principal, NewSession]:
        """Return who shows a key, and the session that begins with that.

        Raises:
            RefusedError: The key opens nothing, or too many wrong ones came.
        """
        address = request.client.host if request.client else ""
        self._refuse_guessers(address)
        key = ApiKey.parse(key_text.strip())
        missing = Refusal("that is no key of this service; a key begins with hanseg_")
        found = missing if key is None else await self._find(key, address)
        if isinstance(found, Refusal) or found.key_id is None:
            refusal = found if isinstance(found, Refusal) else missing
            self._note_failure(address, refusal)
            raise unauthenticated(refusal.detail, error="invalid_token")
        session = await run_sync(
            partial(self._sessions.create, found.key_id, seconds=SESSION_SECONDS)
        )
        known = session_id(session.secret)
        return replace(found, address=address, session_id=known), session

    async def is_still_valid(self, principal: Principal) -> bool:
        """Whether a caller whose request takes long may still see more."""
        if principal.session_id is not None:
            return await run_sync(self._sessions.find, principal.session_id) is not None
        if principal.key_id is None:
            expires_at = principal.expires_at
            return expires_at is None or self._now() < expires_at
        standing = await run_sync(self._keys.standing, principal.key_id)
        return standing is KeyStanding.VALID

    async def require_still_valid(self, principal: Principal) -> None:
        """Return if a caller who waited may still see the answer.

        Raises:
            RefusedError: The key was revoked meanwhile, or its time is over, or the
                token's.
        """
        if not await self.is_still_valid(principal):
            key_id = principal.key_id
            what = "the token" if key_id is None else f"the key {key_id}"
            raise unauthenticated(
                f"{what} opens nothing any more", error="invalid_token"
            )

    def count_bytes(self, principal: Principal, size: int) -> None:
        """Count what a caller has sent."""
        if principal.is_known:
            self._volume.take(principal.share, size)

    async def _check(self, credentials: str, address: str, path: str) -> Principal:
        token = _token_of(credentials, basic=path.startswith(STUDIES))
        key = None if token is None else ApiKey.parse(token)
        if key is not None and (address, key.id) in self._known:
            found = await self._find(key, address)
        else:
            self._refuse_guessers(address)
            found = await (self._find(key, address) if key else self._verify(token))
        if isinstance(found, Refusal):
            self._note_failure(address, found)
            raise unauthenticated(found.detail, error="invalid_token")
        return replace(found, address=address)

    async def _resume(self, secret: str, address: str) -> Principal | None:
        """Return who is signed in by a session; None if it has ended."""
        wait = self._stale.wait_seconds(address)
        if wait:
            raise _too_many("too many cookies that open nothing came from here", wait)
        record = await run_sync(self._sessions.find, session_id(secret))
        if record is None:
            self._stale.take(address)
            return None
        await run_sync(self._note_use, record.key)
        scopes = with_implied(record.key.scopes)
        return Principal(record.key.owner, record.key.id, scopes, address, record.id)

    async def _find(self, key: ApiKey, address: str) -> Principal | Refusal:
        record = await run_sync(self._find_record, key)
        if record is None:
            return Refusal("there is no such key; ask who runs the service for one")
        if record.standing is not KeyStanding.VALID:
            await run_sync(self._note_dead, record, address)
            return Refusal(f"the key {key.id} is {record.standing}; ask for a new one")
        return Principal(record.owner, key.id, with_implied(record.scopes))

    def _find_record(self, key: ApiKey) -> KeyRecord | None:
        """Return what is known of a key, and note that it was used."""
        record = self._keys.find(key)
        if record is not None and record.standing is KeyStanding.VALID:
            self._note_use(record)
        return record

    async def _verify(self, token: str | None) -> Principal | Refusal:
        if token is None:
            return Refusal(
                "Authorization must be 'Bearer KEY'; Basic, with the key as the "
                f"password, is taken at {STUDIES} only"
            )
        if self._tokens is None:
            return Refusal("that is no key of this service; a key begins with hanseg_")
        found = await run_sync(self._tokens.verify, token, limiter=self._verifying)
        if isinstance(found, Principal) and not self._issuer_known:
            self._issuer_known = True
            await run_sync(self._note_issuer, found)
        return found

    def _note_use(self, record: KeyRecord) -> None:
        now = self._clock()
        if now - self._noted.get(record.id, -math.inf) < USE_NOTED_SECONDS:
            return
        self._noted[record.id] = now
        with suppress(ServiceUnavailableError):  # a full disk keeps nobody out
            self._keys.note_use(record)

    def _note_dead(self, record: KeyRecord, address: str) -> None:
        """Have the audit log say, once an hour, that a key is used after its end."""
        now = self._clock()
        if now - self._dead_noted.get(record.id, -math.inf) < HOUR:
            return
        self._dead_noted[record.id] = now
        self._audit.record(
            Event(
                f"use_{record.standing}_key",
                record.owner,
                key_id=record.id,
                subject=record.id,
                address=address,
                outcome="401",
            )
        )

    def _note_issuer(self, principal: Principal) -> None:
        """Have the audit log say when a token of this identity provider came first."""
        issuer = str(self._issuer)
        with suppress(ServiceUnavailableError):
            if not self._audit.contains(NEW_ISSUER, issuer):
                self._audit.record(Event(NEW_ISSUER, principal.owner, subject=issuer))

    def _hold_rate(self, principal: Principal) -> None:
        key = (principal.address, principal.key_id or "")
        self._known[key] = None
        self._known.move_to_end(key)
        if len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)
        for buckets, what in ((self._rate, "requests"), (self._volume, "bytes")):
            wait = buckets.wait_seconds(principal.share)
            if wait:
                raise _too_many(f"{principal.owner} sends too many {what}", wait)
        self._rate.take(principal.share)

    def _refuse_guessers(self, address: str) -> None:
        wait = self._failures.wait_seconds(address)
        if wait:
            raise _too_many("too many wrong keys came from this address", wait)

    def _note_failure(self, address: str, refusal: Refusal) -> None:
        self._failures.take(address)
        logger.warning("a request from %s was refused: %s", address, refusal.detail)


def was_forwarded(request: Request) -> bool:
    """Whether a proxy passed a request on: it may be anybody's then."""
    return any(name in request.headers for name in _PROXIES_FIELDS)


def is_here(request: Request) -> bool:
    """Whether a request comes from a program on this machine."""
    address = request.client.host if request.client else ""
    return is_loopback(address) and not was_forwarded(request)


def unauthenticated(detail: str, *, error: str | None = None) -> RefusedError:
    """Return the refusal of who is not known."""
    challenge = REALM if error is None else f'{REALM}, error="{error}"'
    return RefusedError(
        UNAUTHENTICATED, detail, headers={"WWW-Authenticate": challenge}
    )


def _too_many(what: str, wait_seconds: float) -> RefusedError:
    return RefusedError(
        TOO_MANY,
        f"{what}; try again later",
        headers={"Retry-After": str(math.ceil(wait_seconds))},
    )


def _token_of(credentials: str, *, basic: bool) -> str | None:
    """Return the key or token of an Authorization field; None if it has none."""
    scheme, _, value = credentials.partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value
    if scheme.lower() == "basic" and basic:
        with suppress(binascii.Error, ValueError):
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
    return None
