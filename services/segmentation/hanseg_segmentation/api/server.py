"""The API's process: ``python -m hanseg_segmentation.api.server``."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from types import FrameType

import uvicorn

from hanseg_segmentation.api.app import create_app
from hanseg_shared.binding import BindError, why_not_bound
from hanseg_shared.errors import HansegError, ServiceUnavailableError
from hanseg_shared.jobs.services import open_services
from hanseg_shared.settings import Settings, settings_of_process

logger = logging.getLogger(__name__)

NO_SERVICE = 4
"""Exit status when the service cannot start."""

BACKLOG = 128
"""Connections that may wait to be accepted."""

HEADER_BYTES = 32 * 1024
"""Largest head of a request."""


def command(settings: Settings) -> list[str]:
    """Return what starts the API; the settings reach it by the environment."""
    del settings
    return [sys.executable, "-m", "hanseg_segmentation.api.server"]


def main() -> None:
    """Serve until told to stop by SIGTERM or SIGINT."""
    _configure_logging()
    settings = settings_of_process()
    try:
        serve(settings, listen(settings))
    except HansegError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line for the terminal
        sys.exit(NO_SERVICE)


def listen(settings: Settings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        ServiceUnavailableError: The port is taken, or not ours to take.
    """
    try:
        return socket.create_server(
            (settings.host, settings.port),
            family=socket.AF_INET6 if ":" in settings.host else socket.AF_INET,
            backlog=BACKLOG,
        )
    except BindError as error:
        why = why_not_bound(
            error,
            settings.host,
            settings.port,
            host_option="HANSEG_HOST",
            port_option="HANSEG_PORT",
        )
        raise ServiceUnavailableError(why) from error


def serve(settings: Settings, listener: socket.socket) -> None:
    """Serve on a listening socket until told to stop.

    Raises:
        ServiceUnavailableError: The database cannot be opened.
    """
    services = open_services(settings)
    try:
        app = create_app(services)
        config = uvicorn.Config(
            app,
            log_config=None,
            http="h11",  # the other parser has no limit for the head
            server_header=False,
            h11_max_incomplete_event_size=HEADER_BYTES,
            timeout_graceful_shutdown=int(settings.grace_seconds),
        )
        logger.info("the API listens on %s port %d", *listener.getsockname()[:2])
        Server(config, stopping=app.state.context.stopping).run(sockets=[listener])
    finally:
        services.tables.close()


class Server(uvicorn.Server):
    """A server that ends its event streams when it is asked to stop."""

    def __init__(self, config: uvicorn.Config, *, stopping: threading.Event) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, _: FrameType | None) -> None:
        """Stop gracefully; a second Ctrl-C stops at once."""
        # uvicorn's own would end the process by the signal, before anything is closed
        self._stopping.set()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


def _configure_logging() -> None:
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


if __name__ == "__main__":
    main()
