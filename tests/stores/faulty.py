"""A relay before an HTTP server: it does what networks and broken servers do."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding"})


@dataclass
class Request:
    """A request as it came, which a fault may change."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """An answer as the server gave it, which a fault may change or cut off."""

    status: int
    headers: dict[str, str]
    body: bytes
    cut_after: int | None = None


@dataclass
class Fault:
    """What is done to some requests.

    Attributes:
        strikes: Which requests.
        times: How many of them, at most.
        before: Done to a request; what it returns is sent instead of the server's.
        after: Done to the server's answer.
    """

    strikes: Callable[[Request], bool]
    times: int = 1_000_000
    before: Callable[[Request], Answer | None] = lambda _: None
    after: Callable[[Answer], None] = lambda _: None
    struck: int = field(default=0, init=False)


class Relay:
    """The relay; a context manager. Faults may be added at any time.

    Args:
        port: Of the server on the loopback address.

    Attributes:
        url: Its own address.
        seen: Every request, in the order they came.
        faults: What is done.
        gate: Closed while the server is known to be down: new requests wait.
    """

    def __init__(self, port: int) -> None:
        self.seen: list[Request] = []
        self.faults: list[Fault] = []
        self.gate = threading.Event()
        self.gate.set()
        self.over = threading.Event()
        self._lock = threading.Lock()
        relay = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except OSError:  # the client has had enough
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                return

            def relay(self) -> None:
                relay._relay(self, port)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = relay  # noqa: N815

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Relay:
        serve = self._server.serve_forever
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()

    def hang(self, _: Request) -> Answer | None:
        """Say nothing until the relay ends, or for a long time."""
        self.over.wait(60)
        return None

    def count(self, method: str) -> int:
        """Return how many requests of a method there were."""
        return sum(each.method == method for each in self.seen)

    def _relay(self, handler: BaseHTTPRequestHandler, port: int) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        if handler.headers.get("Expect"):
            handler.send_response_only(100)
            handler.end_headers()
        request = Request(
            handler.command,
            handler.path,
            dict(handler.headers.items()),
            handler.rfile.read(length),
        )
        fault = self._choose(request)
        answer = fault.before(request) if fault else None
        if answer is None:
            self.gate.wait(60)
            answer = _ask(request, port)
            if fault:
                fault.after(answer)
        _send(handler, answer)

    def _choose(self, request: Request) -> Fault | None:
        with self._lock:
            self.seen.append(request)
            for fault in self.faults:
                if fault.struck < fault.times and fault.strikes(request):
                    fault.struck += 1
                    return fault
        return None


def _ask(request: Request, port: int) -> Answer:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {k: v for k, v in request.headers.items() if k.lower() != "expect"}
        connection.request(request.method, request.path, request.body or None, headers)
        found = connection.getresponse()
        answer = Answer(found.status, dict(found.getheaders()), found.read())
        connection.close()
    except (OSError, http.client.HTTPException):  # it is being restarted
        return Answer(0, {}, b"", cut_after=0)
    return answer


def _send(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    if answer.status == 0:
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
        return
    handler.send_response_only(answer.status)
    is_head = handler.command == "HEAD"
    for name, value in answer.headers.items():
        if name.lower() not in HOP_BY_HOP and (
            is_head or name.lower() != "content-length"
        ):
            handler.send_header(name, value)
    if not is_head:
        handler.send_header("Content-Length", str(len(answer.body)))
    handler.end_headers()
    if is_head:
        return
    handler.wfile.write(answer.body[: answer.cut_after])
    if answer.cut_after is not None:
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.shutdown(socket.SHUT_RDWR)
