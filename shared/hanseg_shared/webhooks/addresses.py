"""Where messages may go: an address on the web, and no machine of the site's own.

A service that sends to any address it is told could be made to talk to what only it can
reach: databases, routers, the metadata service of a cloud. So every address that a name
leads to is looked at, and the connection goes to the very address that was.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from hanseg_shared.errors import OptionError
from hanseg_shared.webhooks.documents import LONGEST_URL

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = {"https": 443, "http": 80}

PLATFORMS = frozenset({ipaddress.ip_address("168.63.129.16")})
"""What is a public address by its number only: Azure's platform answers there."""

_SPECIAL = (
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("192.88.99.0/24"),
)
"""RFC 6890: networks for protocols that not every Python takes for no public ones."""

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""RFC 4291, 2.4: where all of IPv6's public addresses are."""

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""RFC 6052: such an address holds one of IPv4 in its last 32 bits."""

_COMPATIBLE = ipaddress.ip_network("::/96")
"""RFC 4291, 2.5.5.1: likewise."""

_PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]+")
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)*[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?\.?")
"""A name whose last label begins with a letter: whatever else a resolver takes for an
address in numbers, such as 0x7f.1, is none."""


@dataclass(frozen=True, slots=True)
class Target:
    """An address on the web, in its parts; `path` is with the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_secure(self) -> bool:
        """Whether it is reached over TLS."""
        return self.scheme == "https"


@dataclass(frozen=True, slots=True)
class Reach:
    """Where messages may go.

    Attributes:
        networks: Addresses that are none of the public internet, and allowed.
        plain_http: Whether messages may be sent without TLS.
    """

    networks: tuple[Network, ...] = ()
    plain_http: bool = False

    @classmethod
    def of(cls, networks: Iterable[str], *, plain_http: bool) -> Reach:
        """Return where messages may go, of networks such as ``10.1.0.0/16``."""
        return cls(tuple(map(ipaddress.ip_network, networks)), plain_http)

    def require_url(self, url: str) -> Target:
        """Return an address on the web in its parts.

        A name is not looked up: where it leads is seen when something is sent.

        Raises:
            OptionError: It is none, or nothing may be sent there.
        """
        target = _parse(url)
        if not target.is_secure and not self.plain_http:
            raise OptionError(
                "url begins with http://, which is not encrypted; give https://, or "
                "allow http:// by HANSEG_WEBHOOK_HTTP=true"
            )
        literal = _literal(target.host)
        if literal is not None and not self.allows(literal):
            raise OptionError(
                f"url leads to {literal}, which is no public address; whoever runs the "
                "service can allow its network by HANSEG_WEBHOOK_NETWORKS"
            )
        return target

    def allows(self, address: Address) -> bool:
        """Whether messages may go to an address."""
        held = _held(address)
        if held is not None:  # one of IPv4 within one of IPv6
            return self.allows(held)
        if any(address in network for network in self.networks):
            return True
        return _is_public(address) and address not in PLATFORMS


def _is_public(address: Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _GLOBAL_UNICAST
    return not any(address in network for network in _SPECIAL)


def _parse(url: str) -> Target:
    if len(url) > LONGEST_URL or not _PLAIN.fullmatch(url):
        raise OptionError(
            f"url is no address of at most {LONGEST_URL} plain characters; write "
            "others as %XX, and a name in its ASCII form"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise OptionError("url is no address such as https://example.org/x") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise OptionError("url is no address that begins with https://")
    if "@" in parts.netloc:
        raise OptionError("url holds a name or a password; leave it out")
    if parts.fragment or port == 0:
        raise OptionError("url has a fragment, or the port 0; leave it out")
    host = parts.hostname
    if _literal(host) is None and not _NAME.fullmatch(host):
        raise OptionError(f"url has no name of a host or address, but {host[:60]!r}")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path)


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _held(address: Address) -> Address | None:
    """Return the address of IPv4 that one of IPv6 stands for; None if it is its own."""
    if isinstance(address, ipaddress.IPv4Address):
        return None
    if address.ipv4_mapped or address.sixtofour:
        return address.ipv4_mapped or address.sixtofour
    if address in _NAT64 or (address in _COMPATIBLE and int(address) > 1):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return None
