"""A real object store of a test's own that speaks S3: OpenStack Swift, from Debian.

Its four servers run in one process, listen on the loopback address and keep everything
in one temporary folder. They may be killed and started again at any time.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import s3fs
from pydantic import SecretStr

from hanseg_shared.jobs.stores.s3 import S3Options
from hanseg_shared.stack.redis_server import free_port

SERVERS = ("account", "container", "object", "proxy")

USER = "swift"

KEY_ID = "hanseg:tester"

BUCKET = "payloads"

REGION = "us-east-1"

STORAGE = """\
[DEFAULT]
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
log_name = {name}
fallocate_reserve = 0
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """\
[DEFAULT]
swift_dir = {folder}
log_name = proxy
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth
    copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
[filter:tempauth]
use = egg:swift#tempauth
user_hanseg_tester = {secret} .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""

SERVE = '''\
"""All servers of a small Swift in one process, which makes its rings first."""
import sys

import eventlet

eventlet.monkey_patch()
from eventlet import tpool, wsgi
from swift.common.ring import RingBuilder
from swift.common.utils import set_swift_dir, validate_hash_conf
from swift.common.wsgi import loadapp

folder, *ports = sys.argv[1:]
set_swift_dir(folder)
validate_hash_conf()


def make_ring(name, port):
    builder = RingBuilder(2, 1, 0)
    disk = dict(region=1, zone=1, ip="127.0.0.1", port=int(port), device="disk")
    builder.add_dev(disk | dict(id=0, weight=1, meta=""))
    builder.rebalance()
    builder.get_ring().save(f"{folder}/{name}.ring.gz")


def end_heads(app):
    # Debian's eventlet sends the end of a body after an answer to HEAD without one
    def call(environment, start):
        def begin(status, headers, fault=None):
            if "content-length" not in {name.lower() for name, _ in headers}:
                headers = [*headers, ("Content-Length", "0")]
            return start(status, headers, fault)

        is_head = environment["REQUEST_METHOD"] == "HEAD"
        return app(environment, begin if is_head else start)

    return call


names = ("account", "container", "object", "proxy")
for name, port in zip(names[:3], ports):
    make_ring(name, port)
for name, port in zip(names, ports):
    app = loadapp(f"{folder}/{name}.conf")
    listening = eventlet.listen(("127.0.0.1", int(port)))
    eventlet.spawn(wsgi.server, listening, end_heads(app), log_output=False)
print("ready", flush=True)
tpool.execute(sys.stdin.buffer.read)  # until who started it is gone
'''


@dataclass
class Swift:
    """The servers; see `make`."""

    folder: Path
    ports: dict[str, int]
    secret: str = field(repr=False)
    running: subprocess.Popen[bytes] | None = None

    @classmethod
    def make(cls) -> Swift:
        """Make a store; a test is skipped where Swift is not installed."""
        if not Path("/usr/bin/swift-proxy-server").exists():
            pytest.skip("Swift is not installed")
        if os.geteuid() != 0:
            pytest.skip(f"only root can start Swift as the user {USER}")
        folder = Path(tempfile.mkdtemp(prefix="hanseg-swift-"))
        found = cls(
            folder, {each: free_port() for each in SERVERS}, secrets.token_hex()
        )
        found._configure()
        return found

    @property
    def url(self) -> str:
        """The address of its S3."""
        return f"http://127.0.0.1:{self.ports['proxy']}"

    @property
    def files(self) -> s3fs.S3FileSystem:
        """The store as its administrator sees it."""
        options = S3Options(self.url, REGION, KEY_ID, self.secret)
        return s3fs.S3FileSystem(**options.for_fsspec, skip_instance_cache=True)

    def settings_of_store(self, endpoint: str, prefix: str) -> dict[str, Any]:
        """Return the settings of a service that keeps its payloads here.

        Args:
            endpoint: This server, or a relay before it.
            prefix: A part of a bucket.
        """
        return {
            "store_uri": f"s3://{prefix}",
            "store_endpoint": endpoint,
            "store_region": REGION,
            "store_key_id": SecretStr(KEY_ID),
            "store_key_secret": SecretStr(self.secret),
        }

    def start(self) -> None:
        """Start the servers, and wait until they answer."""
        log = self.folder / "log"
        with log.open("ab") as errors:
            self.running = subprocess.Popen(
                [
                    *_unprivileged(),
                    "/usr/bin/python3",
                    str(self.folder / "serve.py"),
                    str(self.folder),
                    *(str(port) for port in self.ports.values()),
                ],
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self.running.stdout is not None
        for line in self.running.stdout:
            if line == b"ready\n":
                return
        raise ChildProcessError(f"Swift did not start: {log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Kill the servers."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            for pipe in (self.running.stdin, self.running.stdout):
                assert pipe is not None
                pipe.close()
            self.running = None

    def remove(self) -> None:
        """Stop the servers and delete all that they have."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _configure(self) -> None:
        folder = self.folder
        (folder / "devices" / "disk").mkdir(parents=True)
        for name in SERVERS:
            text = PROXY if name == "proxy" else STORAGE
            (folder / f"{name}.conf").write_text(
                text.format(name=name, folder=folder, secret=self.secret)
            )
        (folder / "swift.conf").write_text(
            f"[swift-hash]\nswift_hash_path_suffix = {secrets.token_hex(4)}\n"
        )
        (folder / "serve.py").write_text(SERVE)
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, USER, USER)


@contextmanager
def running_swift() -> Iterator[Swift]:
    """Run a store that has one bucket."""
    found = Swift.make()
    try:
        found.start()
        found.files.mkdir(BUCKET)
        yield found
    finally:
        found.remove()


def _unprivileged() -> list[str]:
    user = pwd.getpwnam(USER)
    identity = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *identity]
