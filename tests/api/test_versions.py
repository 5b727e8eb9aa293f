"""Streams that follow jobs ask the database together, and are told apart."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from hanseg_segmentation.api.versions import Versions
from hanseg_shared.errors import ServiceUnavailableError


class FakeTable:
    """Versions of jobs; notes for how many was asked at once."""

    def __init__(self, **versions: int) -> None:
        self.versions = versions
        self.asked: list[int] = []
        self.fault: Exception | None = None

    def read(self, job_ids: Collection[str]) -> dict[str, int]:
        self.asked.append(len(job_ids))
        if self.fault is not None:
            raise self.fault
        return {each: self.versions[each] for each in job_ids if each in self.versions}


async def follow(versions: Versions, job_id: str, until: int) -> int | None:
    async with versions.followed(job_id):
        while True:
            found = await versions.of(job_id)
            if found is None or found >= until:
                return found
            await asyncio.sleep(0.001)


def test_a_hundred_followers_ask_as_one():
    table = FakeTable(**{f"job-{number}": 1 for number in range(100)})

    async def run() -> list[int | None]:
        versions = Versions(table.read, every=10.0)
        return await asyncio.gather(
            *(follow(versions, f"job-{number}", 1) for number in range(100))
        )

    assert asyncio.run(run()) == [1] * 100
    assert len(table.asked) <= 2


def test_a_change_is_seen_at_the_next_look():
    table = FakeTable(a=1)

    async def run() -> int | None:
        versions = Versions(table.read, every=0.002)
        waiting = asyncio.create_task(follow(versions, "a", 2))
        await follow(versions, "a", 1)
        table.versions["a"] = 2
        return await asyncio.wait_for(waiting, 10)

    assert asyncio.run(run()) == 2


def test_a_job_that_is_none_has_no_version():
    versions = Versions(FakeTable(a=1).read, every=10.0)

    assert asyncio.run(follow(versions, "b", 1)) is None


@pytest.mark.parametrize(
    "fault", [ServiceUnavailableError("gone"), ValueError("a mistake of ours")]
)
def test_a_look_that_fails_ends_whoever_follows_and_the_next_goes_on(fault):
    table = FakeTable(a=1)
    table.fault = fault
    versions = Versions(table.read, every=0.002)
    with pytest.raises(ServiceUnavailableError):
        asyncio.run(follow(versions, "a", 1))
    table.fault = None

    assert asyncio.run(follow(versions, "a", 1)) == 1


def test_nobody_is_asked_while_nobody_follows():
    table = FakeTable(a=1)

    async def run() -> int:
        versions = Versions(table.read, every=0.001)
        await follow(versions, "a", 1)
        asked = len(table.asked)
        await asyncio.sleep(0.02)
        return len(table.asked) - asked

    assert asyncio.run(run()) == 0
