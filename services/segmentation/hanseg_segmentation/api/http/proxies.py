"""Reverse proxies that are known by name: they say whom a request is from.

Containers change their addresses, not their names. Proxies that are known by address
are the web server's matter.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Iterable

from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

KNOWN_SECONDS = 5.0
"""How long the addresses of a name are taken to be the same."""

Lookup = Callable[[str], frozenset[str]]


class NamedProxies:
    """Takes a request's address and scheme from the headers of proxies known by name.

    Args:
        app: The application behind it.
        names: The proxies' names.
        look_up: Returns the addresses of a name, none if there is no such name.
        clock: Monotonic, in seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        names: Iterable[str],
        look_up: Lookup | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._names = tuple(names)
        self._look_up = look_up or addresses_of
        self._clock = clock
        self._found: frozenset[str] = frozenset()
        self._until = -1.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, as from whom the proxy says, if one passed it on."""
        client = scope.get("client")
        said = any(name == b"x-forwarded-for" for name, _ in scope.get("headers", ()))
        if client and said and client[0] in await self._proxies():
            believing = ProxyHeadersMiddleware(self._app, trusted_hosts=[client[0]])  # type: ignore[arg-type]  # its own name for the same
            await believing(scope, receive, send)  # type: ignore[arg-type]
        else:
            await self._app(scope, receive, send)

    async def _proxies(self) -> frozenset[str]:
        if self._clock() >= self._until:
            found = [await run_sync(self._look_up, name) for name in self._names]
            self._found = frozenset().union(*found)
            self._until = self._clock() + KNOWN_SECONDS
        return self._found


def names_among(proxies: Iterable[str]) -> tuple[str, ...]:
    """Return those proxies that are given by name, not by address or network."""
    return tuple(each for each in proxies if not _is_address(each))


def addresses_of(name: str) -> frozenset[str]:
    """Return the addresses of a host's name; none if there is no such host."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return frozenset()
    return frozenset(str(each[4][0]) for each in found)


def _is_address(text: str) -> bool:
    if text == "*":
        return True
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
