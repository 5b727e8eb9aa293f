"""A service's address as people write it, and whether it is of this machine."""

from __future__ import annotations

import re

import httpx

from hanseg_shared.binding import is_loopback
from hanseg_shared.errors import OptionError

PORTS = 65536
"""Ports are below it."""


def address(url: str) -> str:
    """Return a service's address with its scheme, which is http where none is given.

    Raises:
        OptionError: It is no address.
    """
    text = url.strip().rstrip("/")
    full = text if re.match(r"\w+:/", text) else f"http://{text}"
    try:
        parsed = httpx.URL(full)
    except httpx.InvalidURL as error:
        raise _no_address(url, str(error)) from error
    if parsed.scheme not in {"http", "https"}:
        raise _no_address(url, "it begins with neither http:// nor https://")
    if not parsed.host or parsed.query or parsed.fragment or " " in text:
        raise _no_address(url, "it names no host, or more than host and port")
    if parsed.port is not None and not 0 < parsed.port < PORTS:
        raise _no_address(url, f"there is no port {parsed.port}")
    return full


def _no_address(url: str, why: str) -> OptionError:
    return OptionError(
        f"{url!r} is no address of a service ({why}); write it as http://HOST:PORT"
    )


def is_this_machine(url: str) -> bool:
    """Whether an address is of this machine: no proxy is asked to reach that."""
    try:
        return is_loopback(httpx.URL(url).host)
    except httpx.InvalidURL:
        return False
