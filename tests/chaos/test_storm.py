"""300 small jobs through two workers of each kind, while things die at random."""

from __future__ import annotations

import os
import threading

import pytest

from tests.chaos.callers import Callers
from tests.chaos.house import House
from tests.chaos.storm import Storm

pytestmark = pytest.mark.chaos

JOBS = int(os.environ.get("HANSEG_TEST_CHAOS_JOBS", "300"))

CLIENTS = 6

MR_EVERY = 20
"""One job in so many has an MR that is really registered."""

PATIENCE_SECONDS = 5400.0


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_a_storm(database, tmp_path, models, patients, with_mr, settle, seed):
    cases = [patients[n % len(patients)] for n in range(MR_EVERY - 1)]
    with House(
        tmp_path,
        postgres=database == "postgres",
        models=models,
        lease_seconds=4.0,
        attempts=8,  # a job may be near by when several blows fall
    ) as house:
        callers = Callers(
            house,
            [with_mr, *cases],
            jobs=JOBS,
            clients=CLIENTS,
            seed=seed,
            patience_seconds=PATIENCE_SECONDS,
        ).start()
        over = threading.Event()
        storm = Storm(house, seed)
        raging = threading.Thread(target=storm.rage, args=(over.is_set,))
        raging.start()
        try:
            callers.finish()
        finally:
            over.set()
            raging.join()
        house.await_ready()
        settle(house, callers)
