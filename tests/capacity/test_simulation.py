"""A few cases go through a few workers, in times that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.capacity.simulation import Pool, simulate
from hanseg_lab.capacity.turns import Case
from hanseg_shared.jobs.messages import QueueName


def case(
    at: float, owner: str = "a", *, urgent: bool = False, **seconds: float
) -> Case:
    took = {"register": 10.0, "segment": 20.0, "package": 5.0} | seconds
    return Case(at, owner, urgent, (took["register"], took["segment"], took["package"]))


def test_a_case_alone_waits_for_nothing():
    outcome = simulate([case(100.0)], Pool(1, 1))
    assert outcome.done_at == pytest.approx([135.0])
    assert outcome.turnaround == pytest.approx([35.0])
    assert outcome.waiting == pytest.approx([0.0])
    assert outcome.busy_seconds == {
        QueueName.REGISTRATION: 10.0,
        QueueName.SEGMENTATION: 25.0,
    }


def test_the_second_case_waits_until_the_first_is_packaged():
    outcome = simulate([case(0.0), case(0.0)], Pool(1, 1))
    assert outcome.done_at == pytest.approx([35.0, 60.0])
    assert outcome.waits == pytest.approx(np.array([[0, 0, 0], [10, 15, 0]]))


def test_two_workers_of_each_kind_do_two_cases_as_fast_as_one():
    outcome = simulate([case(0.0), case(0.0)], Pool(2, 2))
    assert outcome.done_at == pytest.approx([35.0, 35.0])


def test_messages_take_their_time_between_stages():
    outcome = simulate([case(0.0)], Pool(1, 1, between_seconds=1.0))
    assert outcome.done_at == pytest.approx([37.0])


def test_workers_choose_one_after_the_other():
    outcome = simulate([case(0.0), case(0.0)], Pool(2, 2, claim_seconds=1.0))
    registered = outcome.waits[:, 0]
    assert sorted(registered) == pytest.approx([1.0, 2.0])


def test_no_case_is_left_where_many_workers_choose_at_once():
    random = np.random.default_rng(0)
    at = np.sort(random.uniform(0, 200, 400))
    cases = [case(float(each), f"owner-{n % 3}") for n, each in enumerate(at)]
    pool = Pool(7, 11, claim_seconds=0.3, between_seconds=0.2)
    assert (simulate(cases, pool).done_at > 0).all()


def test_an_urgent_case_waits_for_the_stage_at_work_and_no_longer():
    cases = [*(case(0.0, "batch") for _ in range(50)), case(4.0, "b", urgent=True)]
    outcome = simulate(cases, Pool(1, 1))
    assert outcome.waits[-1, 0] == pytest.approx(6.0)
    assert outcome.turnaround[-1] < 35.0 + 6.0 + 25.0


def test_a_batch_makes_a_planner_wait_for_one_stage_of_each_kind():
    cases = [*(case(0.0, "batch") for _ in range(50)), case(4.0, "planner")]
    outcome = simulate(cases, Pool(1, 1))
    assert outcome.waiting[-1] <= 10.0 + 25.0


def test_cases_must_come_in_the_order_of_time():
    with pytest.raises(ValueError, match="order in which they are sent"):
        simulate([case(1.0), case(0.0)], Pool(1, 1))


def test_each_kind_needs_a_worker():
    with pytest.raises(ValueError, match="each kind needs a worker"):
        simulate([], Pool(0, 1))
