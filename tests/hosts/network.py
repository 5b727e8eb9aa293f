"""Hosts on one machine: network namespaces, each on a cable of its own to this one.

Only the superuser may make them; tests are skipped where this process is none, or where
the kernel has no namespaces. A cable can be cut, so that nothing comes through and
nobody is told, and slowed down.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

PREFIX = "10.77"
"""Of the addresses on the cables; each has a small network of its own."""

TOOLS = ("ip", "iptables", "unshare", "tc")

SLOW = "rate 2mbit burst 16kb latency 2s"
"""A line of 2 Mbit/s, for kernels that cannot delay packets."""

DELAYED = "delay 200ms 50ms loss 1%"


@dataclass(frozen=True, slots=True)
class Host:
    """A namespace, its cable, and its own name.

    Attributes:
        name: What the host is called, by itself too.
        number: Which small network its cable is.
    """

    name: str
    number: int

    @property
    def namespace(self) -> str:
        """The namespace's name, of this process alone."""
        return f"hanseg-{os.getpid()}-{self.name}"

    @property
    def near_address(self) -> str:
        """This machine's address on the cable."""
        return f"{PREFIX}.{self.number}.1"

    @property
    def far_address(self) -> str:
        """The host's own address."""
        return f"{PREFIX}.{self.number}.2"

    @property
    def cable(self) -> str:
        """The cable's end on this machine."""
        return f"hs{os.getpid() % 10**7}n{self.number}"

    def wrap(self, command: list[str]) -> list[str]:
        """Return what runs a command on this host; it is the same process."""
        named = f'hostname {self.name} && exec "$@"'
        own_name = ["unshare", "--uts", "sh", "-c", named, "sh"]
        return ["ip", "netns", "exec", self.namespace, *own_name, *command]

    def set_up(self) -> None:
        """Make the namespace and its cable."""
        far = f"{self.cable}f"
        _run("ip", "netns", "add", self.namespace)
        _run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", far)
        _run("ip", "link", "set", far, "netns", self.namespace)
        _run("ip", "address", "add", f"{self.near_address}/30", "dev", self.cable)
        _run("ip", "link", "set", self.cable, "up")
        self._inside("ip", "address", "add", f"{self.far_address}/30", "dev", far)
        self._inside("ip", "link", "set", far, "up")
        self._inside("ip", "link", "set", "lo", "up")

    def take_down(self) -> None:
        """Remove the namespace; what still runs there has no cable any more."""
        subprocess.run(["ip", "link", "delete", self.cable], check=False)
        subprocess.run(["ip", "netns", "delete", self.namespace], check=False)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """Let no packet through while the body runs; neither side is told."""
        self.sever()
        try:
            yield
        finally:
            self.heal()

    def sever(self) -> None:
        """Let no packet through from now on."""
        for way in ("INPUT", "OUTPUT"):
            self._inside("iptables", "--wait", "-A", way, "-j", "DROP")

    def heal(self) -> None:
        """Let packets through again."""
        for way in ("INPUT", "OUTPUT"):
            self._inside("iptables", "--wait", "-F", way)

    @contextmanager
    def slow(self) -> Iterator[str]:
        """Slow the cable down while the body runs; gives how.

        Packets take 200 ms, and one in a hundred is lost; or, where the kernel has no
        ``netem``, the line carries 2 Mbit/s.
        """
        device = ("dev", self.cable, "root")
        delayed = ("tc", "qdisc", "add", *device, "netem", *DELAYED.split())
        how = DELAYED
        if subprocess.run(delayed, check=False, capture_output=True).returncode:
            how = SLOW
            _run("tc", "qdisc", "add", *device, "tbf", *SLOW.split())
        try:
            yield how
        finally:
            _run("tc", "qdisc", "delete", *device)

    def _inside(self, *command: str) -> None:
        _run("ip", "netns", "exec", self.namespace, *command)


@contextmanager
def make_hosts(*names: str) -> Iterator[dict[str, Host]]:
    """Give hosts by name; tests are skipped where none can be made."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        why = f"{', '.join(missing)} missing" if missing else "needs the superuser"
        pytest.skip(f"no network namespaces: {why}")
    hosts = {name: Host(name, number) for number, name in enumerate(names, start=1)}
    try:
        for host in hosts.values():
            host.set_up()
        yield hosts
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces: {error.cmd} failed: {error.stderr}")
    finally:
        for host in hosts.values():
            host.take_down()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
