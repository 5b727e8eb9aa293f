"""What a clinic sends is as many cases as asked, when and by whom as described."""

from __future__ import annotations

import numpy as np
import pytest

from hanseg_lab.capacity.workload import (
    DAY_SECONDS,
    HOUR_SECONDS,
    HOURLY_SHARES,
    Clinic,
    StageTime,
    StageTimes,
    draw_arrivals,
    draw_batch,
    draw_evenly,
    merge,
)

TIMES = StageTimes(StageTime(4.0, 1.0), StageTime(12.0, 6.0), StageTime(3.0, 0.0))


def random() -> np.random.Generator:
    return np.random.default_rng(3)


def test_a_days_shares_are_a_whole():
    assert sum(HOURLY_SHARES.values()) == pytest.approx(1.0)


def test_stages_have_the_mean_and_the_spread_that_were_measured():
    drawn = TIMES.draw(random(), 40_000)
    assert drawn.shape == (40_000, 3)
    assert drawn.mean(axis=0) == pytest.approx([4.0, 12.0, 3.0], rel=0.02)
    assert drawn.std(axis=0) == pytest.approx([1.0, 6.0, 0.0], rel=0.05, abs=1e-9)
    assert drawn.min() > 0


def test_a_stage_that_takes_no_time_takes_none():
    assert StageTime(0.0, 1.0).draw(random(), 3).tolist() == [0.0, 0.0, 0.0]


def test_cases_come_in_working_hours_and_as_many_as_asked():
    at = draw_arrivals(random(), cases_a_day=500.0, days=100)
    hours = (at % DAY_SECONDS) // HOUR_SECONDS
    assert len(at) == pytest.approx(50_000, rel=0.02)
    assert (np.diff(at) >= 0).all()
    assert set(hours) == set(map(float, HOURLY_SHARES))
    for hour, share in HOURLY_SHARES.items():
        assert (hours == hour).mean() == pytest.approx(share, abs=0.006)


def test_a_clinics_owners_send_alike_many_and_a_share_is_urgent():
    clinic = Clinic(urgent_share=0.2, owners=4)
    cases = clinic.draw_days(random(), TIMES, cases_a_day=1000.0, days=5)
    owners = [case.owner for case in cases]
    assert len(set(owners)) == 4
    for owner in set(owners):
        assert owners.count(owner) / len(owners) == pytest.approx(0.25, abs=0.03)
    assert np.mean([case.urgent for case in cases]) == pytest.approx(0.2, abs=0.02)


def test_the_same_seed_gives_the_same_cases():
    first, second = (
        Clinic().draw_days(random(), TIMES, cases_a_day=40.0, days=2) for _ in range(2)
    )
    assert first == second


def test_a_batch_comes_all_at_once_and_the_clinics_cases_meanwhile():
    batch = draw_batch(random(), TIMES, count=10)
    others = draw_evenly(random(), TIMES, count=4, until=80.0)
    together = merge(batch, others)
    assert [case.at for case in others] == [10.0, 30.0, 50.0, 70.0]
    assert [case.urgent for case in others] == [True, False, True, False]
    assert [case.at for case in together] == [0.0] * 10 + [10.0, 30.0, 50.0, 70.0]
    assert not any(case.urgent for case in batch)
