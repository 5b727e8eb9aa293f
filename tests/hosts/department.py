"""The service on three hosts: `tests.chaos.house` with its workers elsewhere.

API, database and broker run on this machine; on each of the others, which are network
namespaces, runs a worker of each kind, with a data folder of its own. All mount one
disk for the payload store. Workers go by kind and host: ``registration-anna``,
``segmentation-bert``. Beside the blows of a `House`::

    with department.lose("anna"): ...      # its cable is cut, then everything dies
    with department.hosts["anna"].cut(): ...
    with department.hosts["anna"].slow(): ...
    with department.disk.hanging(): ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from pydantic import SecretStr

from hanseg_registration import worker as registration_worker
from hanseg_segmentation import worker as segmentation_worker
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import signing_key
from hanseg_shared.stack.children import Child
from tests.chaos.house import KINDS, House
from tests.hosts.network import PREFIX, Host
from tests.hosts.shared_disk import SharedDisk

COMMANDS = {
    "registration": registration_worker.command,
    "segmentation": segmentation_worker.command,
}


class Department(House):
    """A house whose workers are on other hosts.

    Args:
        folder: For the data folders of all hosts, and the store.
        hosts: By name; `tests.hosts.network.make_hosts`.
        of_hosts: Further variables of the processes of a host, by its name.
        settings: Fields of `Settings` that are not the defaults.
    """

    def __init__(
        self,
        folder: Path,
        hosts: Mapping[str, Host],
        *,
        of_hosts: Mapping[str, Mapping[str, str]] | None = None,
        **settings: Any,
    ) -> None:
        self.hosts = dict(hosts)
        self._folder = folder
        self._of_hosts = dict(of_hosts or {})
        super().__init__(folder, postgres=True, workers=1, **settings)

    def close(self) -> None:
        """End all processes, and unmount the store."""
        super().close()
        self.disk.remove()

    def on(self, host: str) -> list[str]:
        """Return the names of a host's workers."""
        return [f"{kind}-{host}" for kind in KINDS]

    def await_servers(self) -> None:
        """Return when database and broker answer, whatever the workers do."""

        def look() -> bool:
            self.tables.jobs.count_by_state()
            with redis.Redis.from_url(self.redis.url, socket_timeout=5) as broker:
                return bool(broker.ping())

        self.wait_for(look, "database and broker to answer")

    @contextmanager
    def lose(self, host: str) -> Iterator[None]:
        """Cut a host off, kill all that it runs, and bring it back after the body.

        Nobody hears of its end: its connections stay open on this side, as after a
        power cut.
        """
        with self.hosts[host].cut(), self.keep_down(*self.on(host)):
            yield

    def data_of(self, host: str) -> Path:
        """Return the data folder of a host."""
        return self._folder / host

    def worker_of(self, job_id: str) -> str:
        """Return the name of the worker that has a job now."""
        number = self.tables.jobs.get(job_id).total_attempts
        for host in self.hosts:
            attempt = f"attempt-{job_id}-{number}"
            if (self.data_of(host) / "scratch" / attempt).is_dir():
                state = self.tables.jobs.get(job_id).state
                kind = "registration" if "register" in state else "segmentation"
                return f"{kind}-{host}"
        raise LookupError(f"no worker has {job_id}")

    def host_of(self, job_id: str) -> str:
        """Return the name of the host that has a job now."""
        return str(self.worker_of(job_id)).rpartition("-")[2]

    def find_leftovers(self) -> list[str]:
        """Return what lies in the scratch folders of hosts that have nothing to do.

        The empty folder of an attempt whose worker died says so, and stays.
        """
        return [
            f"{host}: {path.name} is left"
            for host in self.hosts
            for path in (self.data_of(host) / "scratch").glob("attempt-*/*")
        ]

    def _make_settings(self, data: Path, given: dict[str, Any]) -> Settings:
        self.disk = SharedDisk.make(self._folder / "store")
        assert self.postgres is not None
        self.postgres.listen_to([h.near_address for h in self.hosts.values()])
        self.postgres.admit(f"{PREFIX}.0.0/16")
        settings = super()._make_settings(
            data, {"store_uri": self.disk.folder.as_uri()} | given
        )
        signing_key(settings)  # one for all hosts
        return settings

    def _make_children(self, workers: int, *, append_only: bool) -> dict[str, Child]:
        children = super()._make_children(0, append_only=append_only)
        addresses = " ".join(h.near_address for h in self.hosts.values())
        broker = children["redis"]
        assert broker.stdin is not None
        broker.stdin = broker.stdin.replace(
            "bind 127.0.0.1", f"bind 127.0.0.1 {addresses}"
        )
        for host in self.hosts.values():
            for kind, command in COMMANDS.items():
                name = f"{kind}-{host.name}"
                children[name] = self._make_worker(name, host, command(self.settings))
        return children

    def _make_worker(self, name: str, host: Host, command: list[str]) -> Child:
        data = self.data_of(host.name)
        (data / "scratch").mkdir(mode=0o700, parents=True, exist_ok=True)
        child = self._child(name, host.wrap(command))
        ours = self._settings_on(host).as_environment()
        child.environment = {
            **child.environment,
            **ours,
            "TMPDIR": str(data / "scratch"),
            **self._of_hosts.get(host.name, {}),
        }
        return child

    def _settings_on(self, host: Host) -> Settings:
        """Return the settings of a host's workers: their folder, and where to ask."""

        def seen(url: SecretStr | None) -> SecretStr:
            assert url is not None
            told = url.get_secret_value().replace("127.0.0.1", host.near_address)
            return SecretStr(told)

        return Settings(
            **self.settings.model_dump(exclude_unset=True)
            | {
                "data": self.data_of(host.name),
                "database_url": seen(self.settings.database_url),
                "broker_url": seen(self.settings.broker_url),
                "signing_key": SecretStr(str(self.settings.data / "signing_key.pem")),
            }
        )
