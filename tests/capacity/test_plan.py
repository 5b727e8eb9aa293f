"""Plans for a number of hosts keep their goals, and more hosts do more."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.capacity import plan
from hanseg_lab.capacity.figures import Waits
from hanseg_lab.capacity.host_kinds import HostKind
from hanseg_lab.capacity.plan import Goal, Planner
from hanseg_lab.capacity.simulation import Outcome
from hanseg_lab.capacity.turns import Case
from hanseg_lab.capacity.workload import Clinic, StageTime, StageTimes

TIMES = StageTimes(StageTime(30.0, 8.0), StageTime(90.0, 20.0), StageTime(30.0, 5.0))
KIND = HostKind("made-up", False, "made up", 1, 1, TIMES, 0.005, 0.05)


@pytest.fixture(autouse=True)
def _few_cases(monkeypatch):
    monkeypatch.setattr(plan, "SIMULATED_CASES", 2000)


def planner(hosts: int, **goal: float) -> Planner:
    return Planner(KIND, hosts, clinic=Clinic(), goal=Goal(**goal))


def test_one_host_does_what_its_slower_worker_can():
    assert KIND.bound_a_day == pytest.approx(720.0)  # 120 s a case
    assert planner(1).around_the_clock() == pytest.approx(720, rel=0.03)


@pytest.mark.parametrize("hosts", [2, 10])
def test_hosts_share_nothing_that_limits_them(hosts: int):
    expected = hosts * KIND.bound_a_day
    assert planner(hosts).around_the_clock() == pytest.approx(expected, rel=0.05)


def test_the_most_cases_a_day_keep_the_goal_and_a_tenth_more_do_not():
    one = planner(1)
    most = one.most_cases_a_day()
    assert 100 < most < 300
    assert one.plan_day(most).figures.late_share <= 0.01
    assert one.plan_day(1.15 * most).figures.late_share > 0.01


def test_more_hosts_take_more_than_their_share_of_cases():
    assert planner(4).most_cases_a_day() > 4 * planner(1).most_cases_a_day()


def test_a_longer_limit_allows_more_cases():
    assert (
        planner(1, limit_seconds=3600.0).most_cases_a_day()
        > planner(1, limit_seconds=600.0).most_cases_a_day()
    )


def test_a_goal_that_nothing_keeps_allows_no_cases():
    one = planner(1, limit_seconds=1.0)
    assert one.most_cases_a_day() == 0
    assert one.plan_day(0.0).figures.late_share == 0.0


def test_nobody_waits_where_few_cases_come():
    day = planner(10).plan_day(20.0)
    assert day.figures.routine.p95_seconds == pytest.approx(0.1, abs=0.05)
    assert day.figures.late_share == 0.0
    assert day.utilisation["segmentation"] == pytest.approx(
        20 * 120.0 / (10 * 11 * 3600), rel=0.1
    )


def test_a_batch_takes_its_stages_time_and_holds_nobody_up_for_long():
    batch = planner(2).plan_batch(500)  # and 200 of the clinic's
    assert batch.hours == pytest.approx(700 * 120 / 2 / 3600, rel=0.05)
    urgent, routine = batch.figures.urgent, batch.figures.routine
    assert (urgent.cases, routine.cases) == (100, 100)
    assert urgent.p50_seconds is not None
    assert urgent.p95_seconds is not None
    assert routine.p50_seconds is not None
    assert urgent.p50_seconds < routine.p50_seconds < 300.0
    assert urgent.p95_seconds < 150.0
    assert batch.utilisation["segmentation"] > 0.9


def test_no_cases_have_no_waits():
    case = Case(0.0, "a", False, (1.0, 1.0, 1.0))
    outcome = Outcome([case], np.array([3.0]), np.zeros((1, 3)), {})
    none = Waits.of(outcome, np.array([False]), limit_seconds=1.0)
    assert none == Waits(0, None, None, None)
    assert Waits.of(outcome, np.array([True]), limit_seconds=2.0).late_share == 1.0
