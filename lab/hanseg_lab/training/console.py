"""A training's progress on the error stream: a bar, and when it will be done."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def training_bar(name: str) -> Iterator[Callable[[float], None]]:
    """Show the share that is done and the time left, with the log's lines above it.

    Of several processes that torchrun started, only the first shows anything.

    Args:
        name: Name of the model.

    Yields:
        A function to call with the share done, 0 to 1.
    """
    if int(os.environ.get("RANK", "0")) > 0:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.logging import RichHandler
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    logging.basicConfig(
        level=logging.INFO,
        format="%(message)s",
        handlers=[RichHandler(console=console, show_path=False)],
    )
    with Progress(
        TextColumn(f"training {name}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    ) as bar:
        task = bar.add_task("training", total=1.0)
        yield lambda done: bar.update(task, completed=done)
