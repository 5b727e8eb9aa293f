"""A real S3, a relay before it that has faults, and stores in a bucket of it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import s3fs

from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores import remote
from hanseg_shared.jobs.stores.cache import PayloadCache
from hanseg_shared.jobs.stores.s3 import S3Options
from tests.stores.faulty import Relay
from tests.stores.swift import BUCKET, KEY_ID, REGION, Swift, running_swift

StoreMaker = Callable[..., PayloadStore]


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    with running_swift() as found:
        yield found


@pytest.fixture
def raw(swift: Swift) -> s3fs.S3FileSystem:
    return swift.files


@pytest.fixture
def relay(swift: Swift) -> Iterator[Relay]:
    with Relay(swift.ports["proxy"]) as found:
        yield found


@pytest.fixture
def options(swift: Swift, relay: Relay) -> S3Options:
    return S3Options(relay.url, REGION, KEY_ID, swift.secret)


@pytest.fixture
def prefix() -> str:
    """A part of the bucket that no other test has."""
    return f"{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def make_store(options: S3Options, prefix: str, tmp_path: Path) -> StoreMaker:
    """Return what opens the store as one machine: each has a cache of its own."""

    def make(
        machine: str = "a",
        *,
        most_bytes: int = 1 << 30,
        uri: str = "",
        **changes: object,
    ) -> PayloadStore:
        cache = PayloadCache(tmp_path / machine / "cache", most_bytes=most_bytes)
        chosen = replace(options, **changes)  # type: ignore[arg-type]
        return PayloadStore(uri or f"s3://{prefix}", cache=cache, s3=chosen)

    return make


@pytest.fixture
def s3(make_store: StoreMaker) -> PayloadStore:
    return make_store()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test wait as a service would, nor fail where the machine is busy."""
    monkeypatch.setattr(remote, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(remote, "DEADLINE_SECONDS", 120.0)
    monkeypatch.setattr(remote, "PING_SECONDS", 120.0)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that is sent in three parts."""
    path = tmp_path / "large"
    path.write_bytes(os.urandom(2 * remote.BLOCK_BYTES + 12345))
    return path
