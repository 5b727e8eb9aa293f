"""A machine's copies: never wrong, never too many, never longer than the originals."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from hanseg_shared.jobs.cache_tidying import EVERY_SECONDS, CacheTidying
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.cache import UNUSED_SECONDS, PayloadCache
from hanseg_shared.jobs.stores.files import Payload

BYTES = 1000


@pytest.fixture
def cache(tmp_path: Path) -> PayloadCache:
    """One that holds three files."""
    return PayloadCache(tmp_path / "cache", most_bytes=3 * BYTES)


def keep(cache: PayloadCache, number: int, owner: str = "job-1") -> str:
    """Put a file into a cache as if it had been fetched; return its hash."""
    said = bytes([number]) * BYTES
    sha256 = hashlib.sha256(said).hexdigest()
    with cache.drafted(BYTES) as draft:
        draft.write(said)
        draft.keep(owner, sha256).close()
    return sha256


def has(cache: PayloadCache, sha256: str, owner: str = "job-1") -> bool:
    found = cache.open(owner, sha256)
    if found is None:
        return False
    found.close()
    return True


def copies(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "cache").glob("*/*") if path.is_file()]


def test_what_is_kept_is_found_under_its_owner_alone(cache):
    sha256 = keep(cache, 1)

    assert has(cache, sha256)
    assert not has(cache, sha256, "job-2")


def test_the_copy_that_was_used_least_lately_goes_first(cache, tmp_path):
    first, second, third = (keep(cache, number) for number in range(3))
    for sha256, ago in ((first, 30), (second, 20), (third, 10)):
        then = time.time() - ago
        os.utime(tmp_path / "cache" / "job-1" / sha256, (then, then))
    assert has(cache, first)  # now it is the youngest
    fourth = keep(cache, 4)

    assert [has(cache, each) for each in (first, second, third, fourth)] == [
        True,
        False,
        True,
        True,
    ]


def test_a_copy_that_was_altered_is_found_out_and_goes(cache, tmp_path):
    sha256 = keep(cache, 1)
    (tmp_path / "cache" / "job-1" / sha256).write_bytes(b"x" * BYTES)

    assert not has(cache, sha256)
    assert copies(tmp_path) == []


def test_what_is_open_stays_readable_when_it_goes(cache):
    opened = cache.open("job-1", keep(cache, 1))
    cache.forget("job-1")

    with opened:
        assert opened.read() == b"\1" * BYTES


def test_a_file_larger_than_the_cache_is_read_once_and_not_kept(tmp_path):
    cache = PayloadCache(tmp_path / "cache", most_bytes=BYTES - 1)
    with cache.drafted(BYTES) as draft:
        draft.write(b"y" * BYTES)
        opened = draft.keep("job-1", "0" * 64)
    with opened:
        assert opened.read() == b"y" * BYTES
    assert copies(tmp_path) == []


def test_what_was_sent_costs_no_second_time_on_the_disk(cache, tmp_path):
    sent = tmp_path / "sent"
    sent.write_bytes(b"z" * BYTES)
    sha256 = hashlib.sha256(b"z" * BYTES).hexdigest()
    cache.keep(sent, "job-1", Payload(sha256, BYTES))

    assert (tmp_path / "cache" / "job-1" / sha256).samefile(sent)
    sent.unlink()
    assert has(cache, sha256)


def test_copies_give_way_to_what_needs_the_disk(cache, tmp_path, monkeypatch):
    Usage = namedtuple("Usage", "total used free")
    for number in range(3):
        keep(cache, number)
    free = 500

    def usage(_: object) -> Usage:
        return Usage(10**6, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    cache.give_way(500)
    assert len(copies(tmp_path)) == 3
    cache.give_way(2000)
    assert len(copies(tmp_path)) == 1


def test_many_processes_may_fill_it_at_once(tmp_path):
    caches = [PayloadCache(tmp_path / "cache", most_bytes=3 * BYTES) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: keep(caches[n % 4], n), range(48)))

    assert len(copies(tmp_path)) == 3
    assert list((tmp_path / "cache").glob(".draft-*")) == []


def test_what_a_dead_process_was_fetching_goes(cache, tmp_path):
    keep(cache, 1)
    left = tmp_path / "cache" / ".draft-of-the-dead"
    left.write_bytes(b"x" * 3 * BYTES)
    with cache.drafted(BYTES) as living:
        living.write(b"half")
        cache.tidy()
        assert not left.exists()
        assert len(list((tmp_path / "cache").glob(".draft-*"))) == 1


def test_what_nobody_used_for_long_goes(cache, tmp_path):
    old, new = keep(cache, 1, "job-1"), keep(cache, 2, "job-2")
    then = time.time() - UNUSED_SECONDS - 1
    os.utime(tmp_path / "cache" / "job-1" / old, (then, then))
    cache.tidy()

    assert cache.owners() == ["job-2"]
    assert has(cache, new, "job-2")


def test_copies_are_for_the_services_user_alone(cache, tmp_path):
    keep(cache, 1)
    modes = {path.stat().st_mode & 0o777 for path in copies(tmp_path)}

    assert modes == {0o600}
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700


class FakeJobs:
    """The table of jobs: of which owners nothing is kept."""

    def __init__(self, *gone: str) -> None:
        self.gone = frozenset(gone)
        self.asked = 0

    def forgotten(self, owners: list[str]) -> frozenset[str]:
        self.asked += 1
        return self.gone & set(owners)


class FakeTables:
    """A database that has jobs alone."""

    def __init__(self, jobs: FakeJobs) -> None:
        self.jobs = jobs


def test_copies_of_a_job_that_another_machine_deleted_go_soon(cache):
    keep(cache, 1, "job-1")
    kept = keep(cache, 2, "job-2")
    now = 0.0
    jobs = FakeJobs("job-1")
    store = PayloadStore("memory://tidied", cache=cache)
    tables: Any = FakeTables(jobs)
    tidying = CacheTidying(store, tables, steady=lambda: now)
    tidying.run_if_due()
    assert cache.owners() == ["job-2"]

    jobs.gone = frozenset({"job-2"})
    now = EVERY_SECONDS - 1
    tidying.run_if_due()
    assert has(cache, kept, "job-2")
    now = EVERY_SECONDS
    tidying.run_if_due()
    assert cache.owners() == []
    assert jobs.asked == 2
