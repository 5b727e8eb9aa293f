"""`hanseg serve`: the whole service on one machine, until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import threading
from pathlib import Path

import click

from hanseg_shared.errors import OptionError
from hanseg_shared.logs import configure_logging
from hanseg_shared.settings import read_settings
from hanseg_shared.terminal import json_option, print_event

logger = logging.getLogger(__name__)


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Port to listen on.  [default: 8000]"
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for jobs and their files.  [default: ~/.local/share/hanseg]",
)
@json_option
def serve(host: str | None, port: int | None, data: Path | None, as_json: bool) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    from hanseg_shared.stack.stack import Stack

    def say(line: str) -> None:
        if settings.log == "json":
            logger.info(line)
        elif as_json:
            print_event("message", message=line)
        else:
            click.echo(line, err=True)

    if host is not None and not host.strip():
        raise OptionError("--host is empty; 127.0.0.1 is this machine, 0.0.0.0 all")
    given = {"host": host, "port": port, "data": data and data.resolve()}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = read_settings().model_copy(update=chosen)
    configure_logging(settings.log)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with Stack(settings, announce=say) as stack:
        say("starting Redis, the API and the workers …")
        stack.wait_until_ready(unless=stopping)
        if not stopping.is_set():
            say(f"ready: {stack.url}/docs  (logs: {stack.logs})")
        while not stopping.wait(0.5):
            stack.check()
        say("stopping …")
