"""Why a program cannot listen at an address: the address is at fault, or the port."""

from __future__ import annotations

import errno
import ipaddress
import socket

BindError = (OSError, UnicodeError, TypeError)
"""What a bind raises; the last two for a host that is no name at all."""


def why_not_bound(
    error: Exception, host: str, port: int, *, host_option: str, port_option: str
) -> str:
    """Return one sentence on a failed bind, with the option that remedies it."""
    where = f"cannot listen at {host} port {port}"
    if isinstance(error, socket.gaierror) or not isinstance(error, OSError):
        return (
            f"{where}: there is no address {host!r}; choose another with {host_option}"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            f"{where}: {host} is no address of this machine; choose one of its own "
            f"(127.0.0.1, or 0.0.0.0 for all) with {host_option}"
        )
    if error.errno == errno.EADDRINUSE:
        return (
            f"{where}: another program listens there; choose another port with "
            f"{port_option}"
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return (
            f"{where}: only an administrator may use that port; choose one from 1024 "
            f"on with {port_option}"
        )
    return (
        f"{where}: {error.strerror or error}; choose another with {host_option} or "
        f"{port_option}"
    )


def is_loopback(host: str) -> bool:
    """Whether an address or its name is of this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
