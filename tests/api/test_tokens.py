"""Tokens of an identity provider, which is a few functions here."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from hanseg_segmentation.api.http.gate import Gate
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.http.tokens import (
    KEPT_SECONDS,
    PAUSE_SECONDS,
    Refusal,
    TokenVerifier,
)
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.access import Scope
from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.settings import Settings

jwt = pytest.importorskip("jwt")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

ISSUER = "https://login.example.org"


@dataclass
class Provider:
    """Signs tokens, and publishes its keys; what it says may be changed."""

    keys: dict[str, Any] = field(default_factory=dict)
    asked: int = 0
    away: bool = False
    now: float = 0.0

    def rotate(self, key_id: str) -> None:
        self.keys = {key_id: ec.generate_private_key(ec.SECP256R1())}

    def fetch(self, url: str) -> dict[str, Any]:
        if self.away:
            raise OSError("no route")
        if url.endswith("openid-configuration"):
            return {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/keys"}
        self.asked += 1
        algorithm = jwt.algorithms.ECAlgorithm
        return {
            "keys": [
                json.loads(algorithm.to_jwk(key.public_key())) | {"kid": key_id}
                for key_id, key in self.keys.items()
            ]
        }

    def token(self, **changes: Any) -> str:
        claims = {
            "iss": ISSUER,
            "aud": "contouring",
            "sub": "anna",
            "exp": time.time() + 60,
            "scope": "openid submit read",
        }
        claims |= changes
        claims = {name: value for name, value in claims.items() if value is not None}
        (key_id, key), *_ = self.keys.items()
        return str(jwt.encode(claims, key, "ES256", headers={"kid": key_id}))


@pytest.fixture
def provider() -> Provider:
    made = Provider()
    made.rotate("one")
    return made


def verifier(provider: Provider, **values: Any) -> TokenVerifier:
    settings = Settings(oidc_issuer=ISSUER, oidc_audience="contouring", **values)
    return TokenVerifier(settings, fetch=provider.fetch, clock=lambda: provider.now)


def test_a_token_says_who_it_is_and_what_it_may(provider):
    found = verifier(provider).verify(provider.token())
    assert not isinstance(found, Refusal)
    assert found.owner == "oidc:anna"
    assert found.scopes == {Scope.SUBMIT, Scope.READ}
    assert found.is_known


def test_claims_are_chosen_by_settings(provider):
    names = {"oidc_owner_claim": "email", "oidc_scope_claim": "roles"}
    token = provider.token(email="a@b.org", roles=["h:read_all", "admin", 3])
    found = verifier(provider, oidc_scope_prefix="h:", **names).verify(token)
    assert not isinstance(found, Refusal)
    assert (found.owner, found.scopes) == (
        "oidc:a@b.org",
        frozenset({Scope.READ_ALL, Scope.READ}),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example.org"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"nbf": 1e12},
        {"sub": None},
        {"sub": "a b"},
        {"sub": ["anna"]},
    ],
    ids=str,
)
def test_a_token_with_another_claim_is_refused(provider, changes):
    found = verifier(provider).verify(provider.token(**changes))
    assert isinstance(found, Refusal)


def test_the_clocks_may_differ_a_little(provider):
    late = provider.token(exp=time.time() - 10)
    assert not isinstance(verifier(provider).verify(late), Refusal)
    strict = verifier(provider, oidc_leeway_seconds=0.0)
    assert isinstance(strict.verify(late), Refusal)


def test_a_token_that_ends_meanwhile_opens_no_more(provider, services):
    """Streams of events last longer than tokens do."""
    found = verifier(provider, oidc_leeway_seconds=5.0).verify(
        provider.token(exp=(end := int(time.time()) + 60))
    )
    assert isinstance(found, Principal)
    assert found.expires_at == end + 5
    now = end + 4.9
    gate = Gate(services, now=lambda: now)
    assert anyio.run(gate.is_still_valid, found)
    anyio.run(gate.require_still_valid, found)
    now = end + 5.0
    assert not anyio.run(gate.is_still_valid, found)
    with pytest.raises(RefusedError, match="the token opens nothing any more"):
        anyio.run(gate.require_still_valid, found)


def test_unsigned_and_secretly_signed_tokens_are_refused(provider):
    claims = {"iss": ISSUER, "aud": "contouring", "sub": "a", "exp": time.time() + 60}
    none = jwt.encode(claims, None, "none", headers={"kid": "one"})
    secret = jwt.encode(claims, "s" * 32, "HS256", headers={"kid": "one"})
    for token in (none, secret, "", "a.b.c", "x" * 20_000):
        assert isinstance(verifier(provider).verify(token), Refusal)
    with pytest.raises(ValueError, match="HS256"):
        Settings(oidc_algorithms=("HS256",))


def test_a_token_of_another_key_of_the_same_name_is_refused(provider):
    token = provider.token()
    provider.rotate("one")
    assert isinstance(verifier(provider).verify(token), Refusal)


def test_keys_are_fetched_once_and_again_when_a_new_one_is_named(provider):
    checked = verifier(provider)
    for _ in range(3):
        checked.verify(provider.token())
    assert provider.asked == 1
    provider.rotate("two")
    assert isinstance(checked.verify(provider.token()), Refusal)  # asked just before
    provider.now += PAUSE_SECONDS
    assert not isinstance(checked.verify(provider.token()), Refusal)
    assert provider.asked == 2


def test_a_withdrawn_key_opens_nothing_after_a_while(provider):
    checked, token = verifier(provider), provider.token()
    checked.verify(token)
    provider.rotate("two")
    provider.now += KEPT_SECONDS + 1
    assert isinstance(checked.verify(token), Refusal)


def test_a_provider_that_is_away_is_a_reason_of_its_own(provider):
    checked, token = verifier(provider), provider.token()
    checked.verify(token)
    provider.away = True
    provider.now += PAUSE_SECONDS
    assert not isinstance(checked.verify(token), Refusal)
    provider.now += KEPT_SECONDS
    with pytest.raises(ServiceUnavailableError, match="identity provider"):
        checked.verify(token)


@pytest.mark.parametrize(
    "values",
    [
        {"oidc_issuer": "http://login.example.org", "oidc_audience": "a"},
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": "a", "oidc_jwks_url": "file:///x"},
    ],
    ids=str,
)
def test_settings_that_nothing_can_be_trusted_by_are_refused(values):
    with pytest.raises(OptionError):
        TokenVerifier(Settings(**values))
