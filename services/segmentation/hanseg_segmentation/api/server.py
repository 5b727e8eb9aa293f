"""The API's process: ``python -m hanseg_segmentation.api.server``."""

from __future__ import annotations

import logging
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import uvicorn
from fastapi import FastAPI

from hanseg_segmentation.api.app import create_app
from hanseg_segmentation.api.connections import (
    OTHER_FILES,
    ConnectionLimits,
    Gate,
    raise_file_limit,
)
from hanseg_segmentation.api.http.proxies import names_among
from hanseg_shared.binding import BindError, why_not_bound
from hanseg_shared.errors import HansegError, OptionError, ServiceUnavailableError
from hanseg_shared.jobs.entrance import require_entrance, write_first_keys
from hanseg_shared.jobs.services import open_services
from hanseg_shared.logs import configure_logging
from hanseg_shared.privacy import keep_private
from hanseg_shared.settings import BAD_SETTINGS, Settings, settings_of_process

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
    settings = settings_of_process()
    configure_logging(settings.log)
    keep_private(settings.data)
    try:
        with listen(settings) as listener:
            serve(settings, listener)
    except HansegError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line for the terminal
        refused = isinstance(error, OptionError)  # and would be at every start
        sys.exit(BAD_SETTINGS if refused else NO_SERVICE)


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
    services = open_services(settings, "hanseg-api")
    try:
        services.tables.database.require_sound()
        write_first_keys(settings, services.tables)
        require_entrance(settings, services.tables)
        app = create_app(services)
        config = configure(
            app,
            grace_seconds=services.settings.grace_seconds,
            proxies=services.settings.proxies,
        )
        logger.info("the API listens on %s port %d", *listener.getsockname()[:2])
        limits = ConnectionLimits(connections=_most_connections(services.settings))
        server = Server(config, stopping=app.state.context.stopping, limits=limits)
        server.run(sockets=[listener])
    finally:
        services.tracer.close()
        services.tables.close()


def _most_connections(settings: Settings) -> int:
    """Return how many connections there may be, fewer if files are short."""
    files = raise_file_limit()
    most = max(1, min(settings.max_connections, files - OTHER_FILES))
    if most < settings.max_connections:
        logger.warning(
            "this process may open %d files, so that it takes %d connections, not the "
            "%d of HANSEG_MAX_CONNECTIONS; raise the limit (ulimit -Hn)",
            files,
            most,
            settings.max_connections,
        )
    return most


def configure(
    app: FastAPI, *, grace_seconds: float, proxies: Sequence[str] = ()
) -> uvicorn.Config:
    """Return how the application is served, behind proxies at these addresses if any.

    uvicorn's own line for each request is off: it has the whole URL, and with it a
    case's name or a study's identifier. `Observer` writes one without.
    """
    logging.getLogger("uvicorn.access").disabled = True
    addresses = [each for each in proxies if each not in names_among(proxies)]
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        http="h11",  # the other parser has no limit for the head
        server_header=False,
        proxy_headers=bool(addresses),
        forwarded_allow_ips=addresses,
        h11_max_incomplete_event_size=HEADER_BYTES,
        timeout_graceful_shutdown=int(grace_seconds),
    )


class Server(uvicorn.Server):
    """A server that bounds what connections cost, and ends its streams to stop.

    Args:
        config: See `configure`.
        stopping: Set when it is asked to stop.
        limits: What connections may cost.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        stopping: threading.Event,
        limits: ConnectionLimits | None = None,
    ) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._limits = limits or ConnectionLimits()
        self._gate: Gate | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then accept through a `Gate`."""
        await super().startup(sockets=[])
        self._gate = Gate(
            self.config, self.server_state, self.lifespan.state, self._limits
        )
        self._gate.open(sockets or [])

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept nothing more, and end what is there."""
        if self._gate is not None:
            await self._gate.close()
        await super().shutdown(sockets=sockets)

    def handle_exit(self, sig: int, _: FrameType | None) -> None:
        """Stop gracefully; a second Ctrl-C stops at once."""
        # uvicorn's own would end the process by the signal, before anything is closed
        self._stopping.set()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True


if __name__ == "__main__":
    main()
