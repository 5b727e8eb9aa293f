"""Three hosts, the cases of the chaos suite, and the table of all scenarios.

Scenarios carry the marker ``hosts`` and are left out of `make test`. The table is
printed at the end and written to ``benchmarks/results/hosts.json``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from tests.chaos.clocks import Clock
from tests.chaos.conftest import (
    RESULTS,
    chosen_seed,
    models,
    patients,
    print_rows,
    references,
    seed,
    settle,
    with_mr,
)
from tests.hosts.department import Department
from tests.hosts.network import Host, make_hosts

__all__ = ["models", "patients", "references", "seed", "settle", "with_mr"]

LEASE_SECONDS = 4.0

ATTEMPTS = 8
"""A job may be near by when several blows fall."""


def pytest_report_header() -> str:
    return f"hosts: HANSEG_TEST_CHAOS_SEED={chosen_seed()}"


def pytest_terminal_summary(terminalreporter) -> None:
    print_rows(terminalreporter, "hosts", RESULTS.with_name("hosts.json"))


@pytest.fixture(scope="session")
def hosts() -> Iterator[Mapping[str, Host]]:
    """Two hosts for workers; this machine is the third."""
    with make_hosts("anna", "bert") as made:
        yield made


@pytest.fixture(scope="session")
def clock(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    """The clock of the host bert."""
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture(scope="session")
def town(tmp_path_factory, hosts, models, clock) -> Iterator[Department]:
    folder = tmp_path_factory.mktemp("department")
    with Department(
        folder,
        hosts,
        models=models,
        lease_seconds=LEASE_SECONDS,
        attempts=ATTEMPTS,
        of_hosts={"bert": clock.environment},
    ) as department:
        yield department


@pytest.fixture
def department(town: Department) -> Department:
    """The department when all of it works again."""
    town.await_ready()
    return town
