"""The application behind a real socket, in a thread of the test's own process."""

from __future__ import annotations

import http.client
import signal
import threading
from dataclasses import dataclass

from hanseg_segmentation.api.server import Server

PATIENCE_SECONDS = 20.0


@dataclass
class Running:
    """A server in a thread."""

    port: int
    server: Server
    thread: threading.Thread

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def stop(self) -> None:
        self.server.handle_exit(signal.SIGTERM, None)
        self.thread.join(PATIENCE_SECONDS)
