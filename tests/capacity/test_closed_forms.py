"""The simulated queues are those that queueing theory can solve.

Registration alone is a queue of its own where the other stages take no time; what it
lets go arrives at segmentation.
"""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.capacity.simulation import Outcome, Pool, simulate
from hanseg_lab.capacity.turns import Case
from tests.capacity.closed_forms import (
    erlang_c,
    mean_wait_mg1,
    mean_wait_mmc,
    mean_waits_by_priority,
    share_waiting_longer_mmc,
)

CASES = 30_000
WARM = 2_000
"""Cases that come first, when the queue is still short, and are not counted."""

MEAN = 10.0
REGISTER, SEGMENT = 0, 1


def run(
    rate: float,
    *,
    servers: int = 1,
    is_exponential: bool = True,
    segment: bool = False,
    urgent_share: float = 0.0,
    seed: int = 1,
) -> Outcome:
    """Send cases of one owner at random times."""
    random = np.random.default_rng(seed)
    at = np.cumsum(random.exponential(1 / rate, CASES))
    service = random.exponential(MEAN, (CASES, 2)) if is_exponential else None
    urgent = random.random(CASES) < urgent_share
    cases = []
    for number in range(CASES):
        first, second = (MEAN, MEAN) if service is None else service[number]
        seconds = (float(first), float(second) if segment else 0.0, 0.0)
        cases.append(Case(float(at[number]), "one", bool(urgent[number]), seconds))
    return simulate(cases, Pool(servers, servers))


def test_erlang_c_is_right_where_it_can_be_worked_out_by_hand():
    assert erlang_c(1, 0.7) == pytest.approx(0.7)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.6), (2, 0.7), (8, 0.8)])
def test_waits_for_exponential_stages_are_erlangs(servers: int, load: float):
    rate = load * servers / MEAN
    waits = run(rate, servers=servers).waits[WARM:, REGISTER]

    assert waits.mean() == pytest.approx(mean_wait_mmc(rate, MEAN, servers), rel=0.08)
    assert (waits > 0).mean() == pytest.approx(erlang_c(servers, rate * MEAN), abs=0.02)
    for seconds in (5.0, 20.0):
        expected = share_waiting_longer_mmc(rate, MEAN, servers, seconds)
        assert (waits > seconds).mean() == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("load", [0.5, 0.8])
def test_waits_for_a_stage_that_always_takes_as_long_are_half_of_those(load: float):
    waits = run(load / MEAN, is_exponential=False).waits[WARM:, REGISTER]
    expected = mean_wait_mg1(load / MEAN, MEAN, 0.0)

    assert waits.mean() == pytest.approx(expected, rel=0.06)
    assert expected == pytest.approx(mean_wait_mmc(load / MEAN, MEAN, 1) / 2)


def test_what_leaves_registration_arrives_at_segmentation_at_random():
    """The departures of M/M/c are a Poisson process (Burke 1956)."""
    rate = 0.7 * 2 / MEAN
    waits = run(rate, servers=2, segment=True).waits[WARM:, SEGMENT]

    assert waits.mean() == pytest.approx(mean_wait_mmc(rate, MEAN, 2), rel=0.08)


def test_urgent_cases_wait_for_one_stage_and_routine_ones_for_both():
    rate, share = 0.8 / MEAN, 0.3
    outcome = run(rate, is_exponential=False, urgent_share=share)
    urgent = np.array([case.urgent for case in outcome.cases])[WARM:]
    waits = outcome.waits[WARM:, REGISTER]
    expected = mean_waits_by_priority([share * rate, (1 - share) * rate], MEAN)

    assert waits[urgent].mean() == pytest.approx(expected[0], rel=0.05)
    assert waits[~urgent].mean() == pytest.approx(expected[1], rel=0.08)
