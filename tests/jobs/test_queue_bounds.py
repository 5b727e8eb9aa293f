"""How many jobs one caller, and all together, may have unfinished."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.errors import (
    HansegError,
    OptionError,
    ServiceUnavailableError,
    TooManyJobsError,
    TooManyUploadsError,
)
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.tables.queue_bounds import QueueBounds
from tests.jobs.fakes import CT, PROBLEM

AT_ONCE = 12


def made(owner: str = "anna") -> NewJob:
    return NewJob(id=uuid.uuid4().hex, inputs=(CT,), owned_by=owner)


def test_one_caller_is_bounded_and_another_is_not(tables):
    bounds = QueueBounds(total=10, a_caller=2)
    for _ in range(2):
        tables.jobs.create(made(), bounds=bounds)
    with pytest.raises(TooManyJobsError, match="2 of your jobs are unfinished"):
        tables.jobs.create(made(), bounds=bounds)
    tables.jobs.create(made("bert"), bounds=bounds)


def test_what_has_ended_does_not_count(tables):
    bounds = QueueBounds(total=10, a_caller=1)
    for end in (
        tables.jobs.request_cancel,
        lambda job_id: tables.jobs.expire(job_id, PROBLEM),
    ):
        end(tables.jobs.create(made(), bounds=bounds).id)
    tables.jobs.create(made(), bounds=bounds)


def test_all_callers_together_are_bounded(tables):
    bounds = QueueBounds(total=2, a_caller=2)
    for owner in ("anna", "bert"):
        tables.jobs.create(made(owner), bounds=bounds)
    with pytest.raises(ServiceUnavailableError, match="2 jobs are unfinished") as found:
        tables.jobs.create(made("carl"), bounds=bounds)
    assert not isinstance(found.value, TooManyJobsError)


def test_a_batch_counts_with_all_its_jobs(tables):
    bounds = QueueBounds(total=10, a_caller=3)
    create = tables.batches.create
    create("one", [made(), made()], owned_by="anna", bounds=bounds)
    with pytest.raises(TooManyJobsError):
        create("two", [made(), made()], owned_by="anna", bounds=bounds)
    with pytest.raises(OptionError, match="4 jobs at once are more than the 3"):
        create("three", [made() for _ in range(4)], owned_by="bert", bounds=bounds)
    assert tables.jobs.count_by_state()[JobState.QUEUED] == 2


def accepted(make: Callable[[int], object]) -> int:
    """Return how many of many calls at the same moment were not refused."""

    def call(number: int) -> bool:
        try:
            make(number)
        except HansegError as error:
            assert isinstance(error, TooManyJobsError | TooManyUploadsError)  # noqa: PT017 - in a thread
            return False
        return True

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return sum(pool.map(call, range(AT_ONCE)))


def test_those_who_come_at_the_same_moment_cannot_pass_together(tables):
    bounds = QueueBounds(total=100, a_caller=3)
    assert accepted(lambda _: tables.jobs.create(made(), bounds=bounds)) == 3


class TestAnnouncements:
    def announce(
        self, tables, owner: str = "anna", most: int | None = 3, size: int = 5
    ):
        return tables.uploads.create(
            size=size, sha256="a" * 64, owned_by=owner, most=most
        )

    def test_those_at_the_same_moment_cannot_pass_together(self, tables):
        assert accepted(lambda _: self.announce(tables)) == 3

    def test_what_was_received_or_deleted_makes_room(self, tables):
        first, second, _ = (self.announce(tables) for _ in range(3))
        with pytest.raises(TooManyUploadsError, match="announced 3 uploads"):
            self.announce(tables)
        self.announce(tables, owner="bert")
        tables.uploads.mark_received(first.id)
        tables.uploads.delete(second.id)
        self.announce(tables)
        self.announce(tables)

    def test_their_bytes_are_known_until_they_are_received(self, tables):
        assert tables.uploads.announced_bytes() == 0
        first = self.announce(tables, size=2**33)
        self.announce(tables, owner="bert", size=1)
        assert tables.uploads.announced_bytes() == 2**33 + 1
        tables.uploads.mark_received(first.id)
        assert tables.uploads.announced_bytes() == 1

    def test_one_that_does_not_come_is_forgotten_sooner(self, tables, clock):
        sent, unsent = self.announce(tables), self.announce(tables)
        tables.uploads.mark_received(sent.id)
        clock.advance(11)
        old = tables.uploads.drop_old(older_than_seconds=20, announced_seconds=10)
        assert [each.id for each in old] == [unsent.id]
