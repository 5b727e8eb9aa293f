"""A PostgreSQL cluster of a test's own, which may be killed at any time."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hanseg_shared.stack.redis_server import free_port

OPTIONS = {
    "unix_socket_directories": "",
    "fsync": "off",  # a killed process loses nothing that it gave to the kernel
    "max_connections": "100",
    "shared_buffers": "32MB",
}


@dataclass
class Postgres:
    """How a cluster in a temporary folder is started and reached; see `make`."""

    folder: Path
    bin: Path
    port: int
    password: str = field(repr=False)
    addresses: list[str] = field(default_factory=lambda: ["127.0.0.1"])

    @classmethod
    def make(cls) -> Postgres:
        """Make a cluster; a test is skipped where there is no PostgreSQL."""
        bin_folder = _newest_bin()
        if bin_folder is None:
            pytest.skip("PostgreSQL is not installed")
        folder = Path(tempfile.mkdtemp(prefix="hanseg-chaos-postgres-"))
        found = cls(folder, bin_folder, free_port(), secrets.token_urlsafe(18))
        secret = folder / "password"
        secret.write_text(found.password)
        if os.geteuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, "postgres", "postgres")
        subprocess.run(
            [
                *_unprivileged(),
                str(bin_folder / "initdb"),
                f"--pgdata={found.data}",
                "--username=hanseg",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--auth=scram-sha-256",
                "--no-sync",
                f"--pwfile={secret}",
            ],
            check=True,
            capture_output=True,
        )
        return found

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """The database's URL, with the password."""
        return f"postgresql+psycopg://hanseg:{self.password}@127.0.0.1:{self.port}/postgres"

    @property
    def command(self) -> list[str]:
        """What runs the server in the foreground, and dies with who started it."""
        told = {**OPTIONS, "listen_addresses": ",".join(self.addresses)}
        options = [f"--{name}={value}" for name, value in told.items()]
        server = [str(self.bin / "postgres"), "-D", str(self.data)]
        return [*_unprivileged(), *server, "-p", str(self.port), *options]

    def listen_to(self, addresses: list[str]) -> None:
        """Have the server listen to further addresses of this machine."""
        self.addresses += addresses

    def admit(self, network: str) -> None:
        """Let callers of another network in, by their passwords."""
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {network} scram-sha-256\n")

    def remove(self) -> None:
        """Delete the cluster, which does not run any more."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _newest_bin() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and on_path:
        return Path(on_path).resolve().parent
    return found[-1].parent if found else None


def _unprivileged() -> list[str]:
    """Return what runs a command as the server's user: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity, "--pdeathsig", "TERM"]
