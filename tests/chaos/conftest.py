"""Cases, their undisturbed results, the seed, and the table of all scenarios.

Scenarios carry the marker ``chaos`` and are left out of `make test`; what only tests
the judge does not. `HANSEG_TEST_CHAOS_SEED` repeats a run; `HANSEG_TEST_CHAOS_JOBS`
makes the storm of jobs larger or smaller. The table is printed at the end and written
to ``benchmarks/results/chaos.json``.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from hanseg_lab.phantom import make_case
from hanseg_lab.quick_model import NAME, write_quick_model
from hanseg_shared.client import JobRequest
from hanseg_shared.documents import JobOptions, JobState
from hanseg_shared.io import write_volume
from hanseg_shared.jobs.store import PayloadStore
from tests.chaos.callers import Callers, Case
from tests.chaos.house import House
from tests.chaos.judge import Reference, Verdict, judge, take_prints

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "chaos.json"

SPACING_MM = (8.0, 8.0, 8.0)
MR_SPACING_MM = (4.0, 4.0, 6.0)
"""Coarse, so that a job takes fractions of a second, and one with an MR seconds."""

PATIENTS = (7, 11, 23)
"""Seeds of the simulated patients."""


DOOMED = "doomed"
"""The name of cases that should fail, whatever they are."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a scenario came to."""

    scenario: str
    jobs: int
    blows: int
    lost: int
    doubled: int
    wrong: int
    faults: int
    seconds: float


ROWS: list[Row] = []
"""The rows of this run, in the order in which scenarios ended."""


def chosen_seed() -> int:
    """Return the seed of this run."""
    return int(os.environ.get("HANSEG_TEST_CHAOS_SEED", _RANDOM_SEED))


_RANDOM_SEED = random.SystemRandom().randrange(10**6)


def pytest_report_header() -> str:
    return f"chaos: HANSEG_TEST_CHAOS_SEED={chosen_seed()}"


def pytest_terminal_summary(terminalreporter) -> None:
    print_rows(terminalreporter, "chaos", RESULTS)


def print_rows(terminalreporter, title: str, results: Path) -> None:
    """Print the table of this run's scenarios, if there were any, and write it."""
    if not ROWS:
        return
    heads = list(Row.__dataclass_fields__)
    terminalreporter.write_sep("=", f"{title}, seed {chosen_seed()}")
    terminalreporter.write_line(
        f"{heads[0]:44}" + "".join(f"{h:>9}" for h in heads[1:])
    )
    total = {"scenario": "together"} | {name: sum(_numbers(name)) for name in heads[1:]}
    for row in (*map(asdict, ROWS), total):
        name, *numbers = row.values()
        told = "".join(f"{round(each, 1):>9}" for each in numbers)
        terminalreporter.write_line(f"{name:44}{told}")
    results.parent.mkdir(parents=True, exist_ok=True)
    found = {"seed": chosen_seed(), "scenarios": [asdict(row) for row in ROWS]}
    results.write_text(json.dumps(found, indent=2) + "\n")
    ROWS.clear()


def _numbers(name: str) -> list[float]:
    return [getattr(row, name) for row in ROWS]


@pytest.fixture(scope="session")
def seed() -> int:
    return chosen_seed()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_quick_model(folder)
    return folder


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Cases with a CT alone."""
    folder = tmp_path_factory.mktemp("patients")
    made = []
    for number in PATIENTS:
        case = make_case(number, ct_spacing=SPACING_MM, mr_spacing=MR_SPACING_MM)
        ct = folder / f"ct-{number}.nii.gz"
        write_volume(case.ct, ct)
        made.append(Case(f"ct-{number}", _request(ct)))
        if number == PATIENTS[0]:
            assert case.mr is not None
            write_volume(case.mr, folder / "mr.nii.gz")
    return made


@pytest.fixture(scope="session")
def with_mr(patients: list[Case]) -> Case:
    """A case whose MR is really registered."""
    ct = patients[0].request.ct
    return Case("ct-and-mr", _request(ct, ct.with_name("mr.nii.gz")))


def _request(ct: Path, mr: Path | None = None) -> JobRequest:
    return JobRequest(ct, mr, options=JobOptions(model=NAME))


@pytest.fixture(scope="session")
def references(
    patients: list[Case],
    with_mr: Case,
    models: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Reference]:
    """How every case ends when nothing disturbs it."""
    folder, cases = tmp_path_factory.mktemp("calm"), [*patients, with_mr]
    with House(folder, workers=1, models=models) as house:
        callers = Callers(house, cases, jobs=len(cases)).start()
        found, store = {}, PayloadStore(house.settings.store)
        for sent in callers.finish():
            job = house.tables.jobs.get(sent.job_ids.pop())
            prints = take_prints(job, store, house.tables)
            found[sent.case.name] = Reference(job.state, prints)
    return found | {DOOMED: Reference(JobState.FAILED, {})}


@pytest.fixture
def settle(
    request: pytest.FixtureRequest, references: dict[str, Reference]
) -> Callable[..., Verdict]:
    """Return what sees callers to their end, judges the house, and notes the row.

    What earlier scenarios sent to the same house is judged again: nothing may have
    touched it since. How a scenario's own cases should end is given by their names.
    """
    started = time.monotonic()

    def do(house: House, callers: Callers, **own: Reference) -> Verdict:
        sent = callers.finish()
        house.sent += sent
        verdict = judge(house.settings, house.tables, house.sent, references | own)
        ROWS.append(
            Row(
                scenario=request.node.name.removeprefix("test_"),
                jobs=len(sent),
                blows=house.take_blows(),
                lost=len(verdict.lost),
                doubled=len(verdict.doubled),
                wrong=len(verdict.wrong),
                faults=len(verdict.faults),
                seconds=time.monotonic() - started,
            )
        )
        verdict.require_good()
        return verdict

    return do
