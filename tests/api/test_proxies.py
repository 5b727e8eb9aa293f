"""Whom a request is from, behind proxies that are known by name."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from hanseg_segmentation.api.http.proxies import (
    KNOWN_SECONDS,
    NamedProxies,
    addresses_of,
    names_among,
)

PROXY = "192.0.2.9"


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class Names:
    """The addresses that one name has, and how often they were asked for."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = frozenset(addresses)
        self.asked = 0

    def __call__(self, name):
        assert name == "proxy"
        self.asked += 1
        return self.addresses


@pytest.fixture
def seen():
    return []


@pytest.fixture
def ask(seen):
    made: list[Any] = [None]

    async def app(scope, receive, send):
        seen.append((scope["client"][0], scope["scheme"]))

    def ask(
        names,
        *,
        client=PROXY,
        clock=None,
        headers=(("x-forwarded-for", "10.1.2.3"), ("x-forwarded-proto", "https")),
    ):
        made[0] = made[0] or NamedProxies(
            app, names=["proxy"], look_up=names, clock=clock or Clock()
        )
        raw = [(name.encode(), value.encode()) for name, value in headers]
        scope = {
            "type": "http",
            "client": (client, 1),
            "scheme": "http",
            "headers": raw,
        }
        anyio.run(made[0], scope, None, None)
        return seen[-1]

    return ask  # fmt: skip


def test_a_proxy_says_whom_a_request_is_from_and_how_it_came(ask):
    assert ask(Names(PROXY)) == ("10.1.2.3", "https")


def test_nobody_else_does(ask):
    assert ask(Names(PROXY), client="192.0.2.10") == ("192.0.2.10", "http")


def test_what_a_caller_told_the_proxy_of_itself_is_not_believed(ask):
    headers = [("x-forwarded-for", "127.0.0.1, 10.1.2.3")]
    assert ask(Names(PROXY), headers=headers)[0] == "10.1.2.3"


def test_a_name_that_nobody_has_is_believed_by_nobody(ask):
    assert ask(Names()) == (PROXY, "http")


def test_a_proxy_that_comes_back_elsewhere_is_found(ask):
    names, clock = Names("192.0.2.1"), Clock()
    ask(names, clock=clock)
    names.addresses = frozenset({PROXY})
    assert ask(names, clock=clock)[0] == PROXY
    assert names.asked == 1
    clock.now = KNOWN_SECONDS
    assert ask(names, clock=clock)[0] == "10.1.2.3"


def test_a_request_that_no_proxy_passed_on_asks_for_no_name(ask):
    names = Names(PROXY)
    assert ask(names, headers=[]) == (PROXY, "http")
    assert names.asked == 0


def test_addresses_and_networks_are_no_names():
    given = ("10.0.0.1", "10.0.0.0/8", "::1", "*", "proxy", "proxy.example.org")
    assert names_among(given) == ("proxy", "proxy.example.org")


def test_a_name_has_the_addresses_of_its_host():
    assert "127.0.0.1" in addresses_of("localhost")
    assert addresses_of("nowhere.invalid") == frozenset()
