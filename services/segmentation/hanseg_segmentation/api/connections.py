"""Connections that cost too much: silent, slow, in tiny pieces, or too many of them.

uvicorn has a deadline for idle connections only. Here a request's head has one, its
body and its answer have a least speed, and the number of connections has a bound at
which those that ask for nothing make room. Nothing here spins when files run out.
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import resource
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from hanseg_shared.problems import PREFIX

logger = logging.getLogger(__name__)

MOST_FILES = 65_536
"""As many open files as are asked for, if the system allows them."""

OTHER_FILES = 256
"""Open files that are not connections: of requests, the database, the children."""

RETRY_SECONDS = 1.0
"""How long nothing is accepted after files have run out."""

LOG_SECONDS = 60.0
"""How often, at most, it is logged that connections are refused or cut off."""

_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What connections may cost; seconds and bytes.

    Attributes:
        connections: Most at a time.
        head_seconds: Until a request's head is there, after the connection was made or
            the last answer was sent.
        window_seconds: Over which the speed of a body is judged; an answer that nobody
            reads for so long is given up.
        window_bytes: Least of a body that arrives in a window.
        most_pieces: So many chunks of a body may be of any size.
        least_piece_bytes: Beyond them, the least mean size: parsing a chunk costs as
            much as copying some thousand bytes.
        look_seconds: How often all of this is looked at.
    """

    connections: int = 1000
    head_seconds: float = 10.0
    window_seconds: float = 10.0
    window_bytes: int = 16 * 1024
    most_pieces: int = 4096
    least_piece_bytes: int = 64
    look_seconds: float = 0.5


def raise_file_limit(wanted: int = MOST_FILES) -> int:
    """Have this process open as many files as it may, and return how many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else soft


class SeldomLog:
    """Logs a warning now and then, with how often there was reason to."""

    def __init__(self) -> None:
        self._due = 0.0
        self._count = 0

    def warn(self, what: str) -> None:
        """Log that something happened, or count it if that was logged lately."""
        self._count += 1
        now = time.monotonic()
        if now >= self._due:
            logger.warning("%s (%d times since the last such line)", what, self._count)
            self._due, self._count = now + LOG_SECONDS, 0


class _PieceCounter(h11.Connection):
    """A parser that refuses a body of tiny chunks."""

    def __init__(self, limits: ConnectionLimits, most_incomplete: int) -> None:
        super().__init__(h11.SERVER, most_incomplete)
        self._limits = limits
        self._pieces = self._bytes = 0

    def next_event(self) -> Any:  # noqa: ANN401 - h11's own
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._pieces = self._bytes = 0
        elif isinstance(event, h11.Data):
            self._pieces += 1
            self._bytes += len(event.data)
            mean = self._bytes / self._pieces
            many = self._pieces > self._limits.most_pieces
            if many and mean < self._limits.least_piece_bytes:
                raise h11.RemoteProtocolError("the body comes in too many pieces")
        return event


class BoundedProtocol(H11Protocol):
    """A connection that knows for how long it has been waited for."""

    limits = ConnectionLimits()

    def __init__(self, config: Config, **made_with: Any) -> None:  # noqa: ANN401
        super().__init__(config, **made_with)
        self.conn = _PieceCounter(
            self.limits, config.h11_max_incomplete_event_size or 65_536
        )
        self.idle_since = time.monotonic()
        self._received = 0
        self._window = (self.idle_since, 0)
        self._stuck_since: float | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered."""
        cycle: Any = self.cycle  # None until the first request
        return cycle is None or bool(cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Count and parse what has arrived."""
        self._received += len(data)
        was_idle = self.is_idle
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # it was answered, and then came damage
            self.transport.abort()
        if was_idle and not self.is_idle:
            self._window = (time.monotonic(), self._received)

    def on_response_complete(self) -> None:
        """Wait for the next head."""
        self.idle_since = time.monotonic()
        super().on_response_complete()

    def complain(self, now: float) -> str | None:
        """Return why the connection is to be cut off now, if it is."""
        if self.is_idle:
            late = now - self.idle_since > self.limits.head_seconds
            return "no request came" if late else self._complain_of_reader(now)
        if self.cycle.more_body and not self.cycle.response_started:
            return self._complain_of_sender(now)
        return self._complain_of_reader(now)

    def cut_off(self) -> None:
        """Say 408 if nothing was answered yet, and end the connection."""
        if not self.is_idle and not self.cycle.response_started:
            self.transport.write(_timeout_answer())
            self.transport.close()
        else:
            self.transport.abort()

    def _complain_of_sender(self, now: float) -> str | None:
        start, before = self._window
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._window = (now, self._received)  # it waits for us
        elif now - start >= self.limits.window_seconds:
            self._window = (now, self._received)
            if self._received - before < self.limits.window_bytes:
                return "a body came too slowly"
        return None

    def _complain_of_reader(self, now: float) -> str | None:
        if not self.flow.write_paused:
            self._stuck_since = None
            return None
        self._stuck_since = self._stuck_since or now
        stuck = now - self._stuck_since > self.limits.window_seconds
        return "an answer was not read" if stuck else None


class Gate:
    """Accepts connections while there is room for them, and cuts off the slow.

    Args:
        config: How the protocol is made.
        server_state: uvicorn's own.
        app_state: The application's, likewise.
        limits: What connections may cost.
    """

    def __init__(
        self,
        config: Config,
        server_state: Any,  # noqa: ANN401 - uvicorn's own
        app_state: dict[str, Any],
        limits: ConnectionLimits,
    ) -> None:
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._limits = limits
        self._log = SeldomLog()
        self._tasks: list[asyncio.Task[None]] = []
        self._protocol = type("Bounded", (BoundedProtocol,), {"limits": limits})

    def open(self, listeners: list[socket.socket]) -> None:
        """Begin to accept."""
        for listener in listeners:
            listener.setblocking(False)
            self._tasks.append(asyncio.create_task(self._accept(listener)))
        self._tasks.append(asyncio.create_task(self._watch()))

    async def close(self) -> None:
        """Accept nothing more; the connections there are stay."""
        accepting = self._tasks
        for task in accepting:
            task.cancel()
        await asyncio.gather(*accepting, return_exceptions=True)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue
            except OSError as error:
                if error.errno not in _OUT_OF_FILES:
                    raise
                self._log.warn(f"no connection can be accepted: {error.strerror}")
                self._make_room()
                await asyncio.sleep(RETRY_SECONDS)
                continue
            await self._wait_for_room()
            with suppress(OSError):
                await loop.connect_accepted_socket(self._make_protocol, connection)

    async def _wait_for_room(self) -> None:
        while len(self._connections) >= self._limits.connections:
            if not self._make_room():
                await asyncio.sleep(self._limits.look_seconds)

    def _make_room(self) -> bool:
        """Cut off the connection that has asked for nothing for longest."""
        idle = [each for each in self._connections if each.is_idle]
        if not idle:
            self._log.warn("all connections are busy; others wait")
            return False
        oldest = min(idle, key=lambda each: each.idle_since)
        self._log.warn("too many connections: an idle one was ended")
        self._server_state.connections.discard(oldest)
        oldest.transport.abort()
        return True

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._limits.look_seconds)
            now = time.monotonic()
            for connection in self._connections:
                complaint = connection.complain(now)
                if complaint is not None and not connection.transport.is_closing():
                    self._log.warn(f"a connection was cut off: {complaint}")
                    connection.cut_off()

    @property
    def _connections(self) -> list[BoundedProtocol]:
        return [
            each
            for each in self._server_state.connections
            if isinstance(each, BoundedProtocol)
        ]

    def _make_protocol(self) -> asyncio.Protocol:
        made: asyncio.Protocol = self._protocol(
            config=self._config,
            server_state=self._server_state,
            app_state=self._app_state,
        )
        return made


def _timeout_answer() -> bytes:
    status = HTTPStatus.REQUEST_TIMEOUT
    body = json.dumps(
        {
            "type": f"{PREFIX}too-slow",
            "title": "The request came too slowly",
            "status": int(status),
            "detail": "the body came too slowly and was given up; send it again",
        }
    ).encode()
    head = (
        f"HTTP/1.1 {int(status)} {status.phrase}\r\n"
        "Content-Type: application/problem+json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
