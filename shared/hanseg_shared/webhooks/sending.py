"""Sends one message: to an address that was looked at, within a time that is bounded.

Nothing of it leaves the way: a name is resolved once and the connection goes to what
was found, no redirect is followed, no proxy of the environment is asked, and of the
answer no more is read than its head.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from hanseg_shared.errors import OptionError
from hanseg_shared.webhooks.addresses import Reach, Target
from hanseg_shared.webhooks.documents import Failure

SECONDS = 10.0
"""Longest time from the first packet to the answer's head."""

MOST_ADDRESSES = 3
"""Of a name that has many addresses, so many are tried."""

Resolve = Callable[[str, int], list[Any]]
"""Returns what `socket.getaddrinfo` does."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: a status, and why it is no success if it is none."""

    status: int | None = None
    failure: Failure | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has the message."""
        return self.failure is None

    @property
    def is_gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status == HTTPStatus.GONE


class _AttemptError(Exception):
    """An attempt failed."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


def resolve(host: str, port: int) -> list[Any]:
    """Return the addresses of a name, as `socket.getaddrinfo` does."""
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


class Sender:
    """Sends messages by HTTP.

    Args:
        reach: Where they may go.
        authorities: File with the certificates of authorities that vouch for
            receivers; those of the system by default.
        seconds: See `SECONDS`.
        resolve: Looks names up.

    Raises:
        OptionError: The file of certificates cannot be read.
    """

    def __init__(
        self,
        reach: Reach,
        *,
        authorities: Path | None = None,
        seconds: float = SECONDS,
        resolve: Resolve = resolve,
    ) -> None:
        self._reach = reach
        self._seconds = seconds
        self._resolve = resolve
        try:
            self._tls = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise OptionError(
                f"HANSEG_WEBHOOK_AUTHORITIES: {authorities} is no readable PEM file: "
                f"{error.strerror or error}"
            ) from error

    def send(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send a message, and return what came of it; nothing is raised."""
        try:
            target = self._reach.require_url(url)
        except OptionError:
            return Answer(failure=Failure.BAD_URL)
        try:
            status = self._post(target, headers, body)
        except _AttemptError as error:
            return Answer(failure=error.failure)
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return Answer(status)
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
            return Answer(status, Failure.REDIRECTED)
        return Answer(status, Failure.STATUS)

    def _post(self, target: Target, headers: Mapping[str, str], body: bytes) -> int:
        addresses = self._look_up(target)
        kind = (
            http.client.HTTPSConnection
            if target.is_secure
            else http.client.HTTPConnection
        )
        connection = kind(target.host, target.port)
        connection.auto_open = 0  # never to where the name leads now
        with _Deadline(self._seconds) as deadline, deadline.translate_errors():
            try:
                connection.sock = deadline.connect(addresses)
                if target.is_secure:
                    connection.sock = deadline.secure(
                        self._tls, connection.sock, target.host
                    )
                connection.request("POST", target.path, body, dict(headers))
                return connection.getresponse().status
            finally:
                connection.close()

    def _look_up(self, target: Target) -> list[Any]:
        """Return the addresses of a target, all of which are allowed."""
        try:
            found = self._resolve(target.host, target.port)
        except (OSError, UnicodeError):
            raise _AttemptError(Failure.UNRESOLVED) from None
        for *_, place in found:
            if not self._reach.allows(ipaddress.ip_address(place[0])):
                raise _AttemptError(Failure.ADDRESS_REFUSED)
        if not found:
            raise _AttemptError(Failure.UNRESOLVED)
        return found[:MOST_ADDRESSES]


class _Deadline:
    """Ends a connection after some seconds, however slowly the other side goes on."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._has_passed = False
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._socket is not None:
            self._socket.close()

    @contextmanager
    def translate_errors(self) -> Iterator[None]:
        """Raise `_AttemptError` for whatever a connection raises."""
        try:
            yield
        except (OSError, http.client.HTTPException, ValueError) as error:
            # one that was ended fails in many ways
            passed = Failure.TIMEOUT if self._has_passed else _failure_of(error)
            raise _AttemptError(passed) from None

    def connect(self, addresses: list[Any]) -> socket.socket:
        """Return a connection to the first of some addresses that answers."""
        last: OSError = ConnectionError("there is no address")
        for family, kind, protocol, _, place in addresses:
            self._socket = socket.socket(family, kind, protocol)
            self._socket.settimeout(self._seconds / len(addresses))
            try:
                self._socket.connect(place)
            except OSError as error:
                self._socket.close()
                last = error
                continue
            self._socket.settimeout(self._seconds)
            self._require_time()
            return self._socket
        raise last

    def secure(
        self, context: ssl.SSLContext, plain: socket.socket, host: str
    ) -> ssl.SSLSocket:
        """Return a connection over TLS with a host that its certificate names."""
        secured = context.wrap_socket(
            plain, server_hostname=host.rstrip("."), do_handshake_on_connect=False
        )
        self._socket = secured
        self._require_time()
        secured.do_handshake()
        return secured

    def _require_time(self) -> None:
        if self._has_passed:  # while there was nothing to end
            raise TimeoutError

    def _end(self) -> None:
        self._has_passed = True
        if self._socket is not None:
            try:
                self._socket.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is closed


def _failure_of(error: Exception) -> Failure:
    if isinstance(error, ssl.SSLError | ssl.CertificateError):
        return Failure.TLS
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT
    if isinstance(error, OSError):  # RemoteDisconnected, too
        return Failure.UNREACHABLE
    return Failure.NO_HTTP
