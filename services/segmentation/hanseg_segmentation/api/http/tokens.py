"""Tokens of a site's identity provider (OpenID Connect): JWTs, verified by its keys.

The provider's keys (JWKS) are fetched when a token needs them and kept for a while; a
token of an unknown key has them fetched again, but not more often than twice a minute.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

from hanseg_segmentation.api.principal import Principal
from hanseg_shared.access import OIDC_PREFIX, Scope, is_owner, with_implied
from hanseg_shared.binding import is_loopback
from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.settings import Settings

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

KEPT_SECONDS = 600.0
"""How long the provider's keys are used before they are fetched again: a key that it
withdraws opens nothing after this time."""

PAUSE_SECONDS = 30.0
"""Shortest time between two fetches, whatever tokens come."""

FETCH_SECONDS = 5.0

MOST_BYTES = 1 << 20
"""Of a document of the provider."""

LONGEST_TOKEN = 16 * 1024

Fetch = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key or a token opens nothing."""

    detail: str


class TokenVerifier:
    """Verifies tokens of one provider for this service.

    Args:
        settings: Issuer, audience, algorithms and claims.
        fetch: Returns a JSON document at a URL.
        clock: Monotonic, in seconds.

    Raises:
        OptionError: The settings lack the audience, or the issuer is no address that
            can be trusted.
        ServiceUnavailableError: The library for tokens is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _require_library()
        if not settings.oidc_audience:
            raise OptionError(
                "HANSEG_OIDC_AUDIENCE is missing: the name by which the identity "
                "provider knows this service"
            )
        self._settings = settings
        issuer = str(settings.oidc_issuer)
        self._keys = ProviderKeys(
            issuer, settings.oidc_jwks_url, fetch=fetch or fetch_json, clock=clock
        )

    @classmethod
    def of(cls, settings: Settings) -> TokenVerifier | None:
        """Return the verifier that the settings ask for; None without a provider."""
        return None if settings.oidc_issuer is None else cls(settings)

    def verify(self, token: str) -> Principal | Refusal:
        """Return whom a token stands for.

        Raises:
            ServiceUnavailableError: The provider's keys cannot be fetched.
        """
        import jwt

        if len(token) > LONGEST_TOKEN:
            return Refusal("the token is too long")
        settings = self._settings
        try:
            head = jwt.get_unverified_header(token)
            if head.get("alg") not in settings.oidc_algorithms:
                allowed = ", ".join(settings.oidc_algorithms)
                return Refusal(f"the token is not signed by one of {allowed}")
            key = self._keys.find(head.get("kid"))
            if key is None:
                return Refusal("the token is signed by a key that nobody knows")
            claims = jwt.decode(
                token,
                key,
                algorithms=list(settings.oidc_algorithms),
                audience=settings.oidc_audience,
                issuer=settings.oidc_issuer,
                leeway=settings.oidc_leeway_seconds,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            return Refusal(f"the token is not valid ({type(error).__name__})")
        return self._principal(claims)

    def _principal(self, claims: Mapping[str, Any]) -> Principal | Refusal:
        name = claims.get(self._settings.oidc_owner_claim)
        owner = f"{OIDC_PREFIX}{name}"
        if not isinstance(name, str) or not is_owner(owner):
            return Refusal(
                f"the token's claim {self._settings.oidc_owner_claim} is no name that "
                "an owner can have"
            )
        return Principal(
            owner,
            scopes=with_implied(self._scopes(claims)),
            expires_at=int(claims["exp"]) + self._settings.oidc_leeway_seconds,
        )

    def _scopes(self, claims: Mapping[str, Any]) -> frozenset[Scope]:
        told = claims.get(self._settings.oidc_scope_claim, "")
        words = told.split() if isinstance(told, str) else told
        prefix = self._settings.oidc_scope_prefix
        named = {f"{prefix}{scope}": scope for scope in Scope}
        words = words if isinstance(words, list) else []
        return frozenset(
            named[word] for word in words if isinstance(word, str) and word in named
        )


@dataclass(slots=True)
class _Fetched:
    keys: dict[str | None, PyJWK] = field(default_factory=dict)
    at: float | None = None
    tried_at: float | None = None


class ProviderKeys:
    """The public keys of a provider, as it publishes them.

    Args:
        issuer: The provider's name, which is its address.
        url: Where its keys are; what its own configuration says if None.
        fetch: Returns a JSON document at a URL.
        clock: Monotonic, in seconds.

    Raises:
        OptionError: An address is neither https nor of this machine.
    """

    def __init__(
        self, issuer: str, url: str | None, *, fetch: Fetch, clock: Callable[[], float]
    ) -> None:
        _require_trusted(issuer, "HANSEG_OIDC_ISSUER")
        if url is not None:
            _require_trusted(url, "HANSEG_OIDC_JWKS_URL")
        self._issuer = issuer
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._fetched = _Fetched()

    def find(self, key_id: str | None) -> PyJWK | None:
        """Return the key of an id; None if the provider has none of it.

        Raises:
            ServiceUnavailableError: The keys cannot be fetched.
        """
        with self._lock:
            now, known = self._clock(), self._fetched
            is_old = known.at is None or now - known.at > KEPT_SECONDS
            may_ask = known.tried_at is None or now - known.tried_at >= PAUSE_SECONDS
            if may_ask and (is_old or key_id not in known.keys):
                self._fetch_again(now, is_old=is_old)
            elif is_old:
                raise _no_provider()
            return self._fetched.keys.get(key_id)

    def _fetch_again(self, now: float, *, is_old: bool) -> None:
        self._fetched.tried_at = now
        try:
            found = self._read()
        except (URLError, OSError, ValueError, TypeError, LookupError) as error:
            logger.warning("the identity provider's keys cannot be fetched: %s", error)
            if is_old:
                raise _no_provider() from error
            return
        self._fetched = _Fetched(found, at=now, tried_at=now)

    def _read(self) -> dict[str | None, PyJWK]:
        from jwt import PyJWKSet

        url = self._url
        if url is None:
            where = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
            configuration = self._fetch(where)
            if configuration["issuer"] != self._issuer:
                raise ValueError("its configuration names another issuer")
            url = str(configuration["jwks_uri"])
            _require_trusted(url, "the provider's jwks_uri")
        try:
            keys = PyJWKSet.from_dict(dict(self._fetch(url))).keys
        except Exception as error:  # its own tree, and what a key's library raises
            raise ValueError(f"no set of keys ({type(error).__name__})") from error
        found: dict[str | None, PyJWK] = {
            key.key_id: key for key in keys if key.public_key_use in {None, "sig"}
        }
        if len(found) == 1:  # a token need not name the only one
            found[None] = next(iter(found.values()))
        return found


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none: the address was looked at, another one was not."""


def fetch_json(url: str) -> Mapping[str, Any]:
    """Return the JSON object at a URL.

    Raises:
        OSError: It cannot be had; `URLError` is one.
        ValueError: It is none, or too long.
    """
    with build_opener(_NoRedirects).open(url, timeout=FETCH_SECONDS) as answer:
        content = answer.read(MOST_BYTES + 1)
    found = json.loads(content[:MOST_BYTES]) if len(content) <= MOST_BYTES else None
    if not isinstance(found, dict):
        raise TypeError(f"no JSON object at {url}")
    return found


def _require_trusted(url: str, name: str) -> None:
    parts = urlsplit(url)
    is_here = parts.scheme == "http" and is_loopback(parts.hostname or "")
    if parts.scheme != "https" and not is_here:
        raise OptionError(f"{name} must begin with https://, got {url}")


def _require_library() -> None:
    try:
        import jwt  # noqa: F401 - only whether it is there
    except ImportError:
        raise ServiceUnavailableError(
            "HANSEG_OIDC_ISSUER needs PyJWT: pip install 'hanseg-segmentation[oidc]'"
        ) from None


def _no_provider() -> ServiceUnavailableError:
    return ServiceUnavailableError(
        "the identity provider does not answer, so that no token can be verified"
    )
