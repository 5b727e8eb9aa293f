"""Hosts that share PostgreSQL and an object store, and no disk."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from hanseg_shared.documents import JobState
from tests.chaos.callers import Callers
from tests.chaos.house import House
from tests.stores.faulty import Fault, Relay, Request
from tests.stores.swift import BUCKET, Swift, running_swift
from tests.stores.test_s3 import broken

pytestmark = pytest.mark.chaos

JOBS = 12


def is_upload(request: Request) -> bool:
    return request.method == "PUT"


@pytest.fixture(scope="module")
def swift() -> Iterator[Swift]:
    with running_swift() as found:
        yield found


@pytest.fixture
def relay(swift: Swift) -> Iterator[Relay]:
    with Relay(swift.ports["proxy"]) as found:
        yield found


@pytest.fixture
def house(tmp_path: Path, models: Path, swift: Swift, relay: Relay) -> Iterator[House]:
    shared = {
        **swift.settings_of_store(relay.url, f"{BUCKET}/{uuid.uuid4().hex}"),
        "lease_seconds": 4.0,
        "republish_seconds": 2.0,
    }
    with House(tmp_path, postgres=True, apart=True, models=models, **shared) as found:
        yield found


def test_hosts_without_a_common_disk(house, patients, with_mr, settle, seed):
    callers = Callers(house, [with_mr, *patients], jobs=JOBS, seed=seed).start()
    settle(house, callers)


def test_store_database_and_hosts_fail_in_turn(
    house, patients, with_mr, relay, swift, settle, seed
):
    callers = Callers(house, [with_mr, *patients], jobs=2 * JOBS, seed=seed).start()
    house.await_stage(JobState.REGISTERING)
    relay.faults.append(
        Fault(lambda each: each.method == "PUT", times=20, before=broken)
    )
    house.await_stage(JobState.SEGMENTING)
    house.kill("postgres")
    house.await_stage(JobState.SEGMENTING)
    swift.stop()
    house.rest(3.0)
    swift.start()
    house.await_stage(JobState.SEGMENTING)
    house.kill("segmentation-1")
    settle(house, callers)
