"""From which pages requests may come: the Host, Origin and Sec-Fetch-Site they bring.

A page in somebody's browser can send requests to this machine, and by DNS rebinding
read the answers as well. It cannot choose these fields, so they tell it apart: the host
must be one this service goes by; other sites change nothing, and get nothing without a
key.
"""

from __future__ import annotations

import ipaddress
import re
import socket

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from hanseg_segmentation.api.http.problem_responses import (
    FOREIGN,
    MISDIRECTED,
    problem_response,
)
from hanseg_shared.binding import is_loopback
from hanseg_shared.problems import ProblemKind
from hanseg_shared.settings import Settings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

PAGES = ("/", "/sign-in", "/jobs/{job_id}/view", "/reading-room", "/commissioning")
"""The addresses of the page, in the form of routes."""

_OPEN_PAGES = re.compile(
    "|".join(re.sub(r"\{\w+\}", "[^/]+", path) for path in (*PAGES, "/docs"))
)
"""What a link on another site may lead to: they show nothing of their own."""

ANY = "*"
"""As an allowed host: all of them."""

_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")
_ORIGIN = re.compile(r"https?://(?P<host>[^/?#\s]+)")


class OriginGuard:
    """Refuses what was sent to another host's name, or by another site's page.

    Args:
        app: The application behind it.
        settings: Where the service listens, and the names it is published by.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._hosts = allowed_hosts(settings)
        self._published = {name.lower() for name in settings.hosts} - {ANY}
        self._any_address = not is_loopback(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if it may have come."""
        if scope["type"] == "http":
            refusal = self._refusal(scope)
            if refusal is not None:
                kind, detail = refusal
                problem = kind.problem(detail, instance=scope["path"])
                await problem_response(problem)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[ProblemKind, str] | None:
        headers = Headers(scope=scope)
        host = headers.getlist("host")
        if len(host) != 1 or not self._is_ours(host[0]):
            return MISDIRECTED, (
                "the request's Host is no name of this service; use the address it "
                "listens on, or add the name to HANSEG_HOSTS"
            )
        if _is_harmless(scope, headers):
            return None
        if self._is_foreign(headers, host[0]):
            return FOREIGN, (
                "a page of another site sent this; only programs and pages of this "
                "service's own address may"
            )
        return None

    def _is_ours(self, host: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].lower().strip("[]").rstrip(".")
        if ANY in self._hosts or name in self._hosts:
            return True
        address = _address(name)  # nobody can rebind a number
        if address is None:
            return False
        return address.is_loopback or self._any_address

    def _is_foreign(self, headers: Headers, host: str) -> bool:
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}
        found = _ORIGIN.fullmatch(origin.lower())
        if found is None:
            return True
        name = found["host"].partition(":")[0]
        return found["host"] != host.lower() and name not in self._published


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """Return the names that this service goes by, in small letters."""
    given = {name.lower().rstrip(".") for name in settings.hosts}
    own = {"localhost", settings.host.lower()}
    if not is_loopback(settings.host):
        own.add(socket.gethostname().lower())
    return frozenset(given | own)


def _is_harmless(scope: Scope, headers: Headers) -> bool:
    """Whether it is no matter which page asks."""
    if scope["method"] not in SAFE_METHODS:
        return False
    if "authorization" in headers:
        return True
    return _OPEN_PAGES.fullmatch(scope["path"]) is not None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
