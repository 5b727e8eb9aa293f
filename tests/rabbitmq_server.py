"""The RabbitMQ server that `.ci/services.sh` starts for the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import amqp
import pytest
from kombu import Connection

from hanseg_shared.jobs.brokers.rabbitmq import DEAD
from hanseg_shared.jobs.messages import QueueName
from tests.freezing import frozen


@dataclass(frozen=True)
class RunningRabbit:
    """A server that tests share, one after the other; their messages are its only."""

    url: str
    folder: Path

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel of its own."""
        with Connection(self.url) as connection:
            yield connection.default_channel

    def clear(self) -> None:
        """Forget every message."""
        for queue in (*QueueName, DEAD):
            with suppress(amqp.NotFound), self.channel() as channel:
                channel.queue_purge(queue)

    def restart(self) -> None:
        """Have it forget what it does not keep on disk, and come back."""
        for command in ("stop_app", "start_app"):
            subprocess.run(
                [self.folder / "ctl", "rabbitmqctl", "--quiet", command],
                check=True,
                capture_output=True,
                timeout=90,
            )

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang: it accepts connections and never answers."""
        with frozen(int((self.folder / "pid").read_text())):
            yield


@contextmanager
def running_rabbitmq() -> Iterator[RunningRabbit]:
    """Yield the server, without messages; skip the test where there is none."""
    url = os.environ.get("HANSEG_TEST_RABBITMQ_URL")
    folder = os.environ.get("HANSEG_TEST_SERVICES")
    if not url or not folder:
        pytest.skip("HANSEG_TEST_RABBITMQ_URL names no RabbitMQ server")
    server = RunningRabbit(url, Path(folder) / "rabbitmq")
    server.clear()
    yield server
    server.clear()
