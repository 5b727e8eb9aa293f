"""`hanseg serve`: the whole service on one machine, until Ctrl-C."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import click

from hanseg_shared.settings import read_settings


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
def serve(host: str | None, port: int | None, data: Path | None) -> None:
    """Run the whole service on this machine until Ctrl-C."""
    from hanseg_shared.stack.stack import Stack

    given = {"host": host, "port": port, "data": data and data.resolve()}
    chosen = {name: value for name, value in given.items() if value is not None}
    settings = read_settings().model_copy(update=chosen)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    with Stack(settings, announce=lambda line: click.echo(line, err=True)) as stack:
        click.echo("starting Redis, the API and the workers …", err=True)
        stack.wait_until_ready(unless=stopping)
        if not stopping.is_set():
            click.echo(f"ready: {stack.url}/docs  (logs: {stack.logs})", err=True)
        while not stopping.wait(0.5):
            stack.check()
        click.echo("stopping …", err=True)
