"""A page of the worklist out of 100,000 jobs: by flag, verdict, case and owner.

Rows are written in bulk, as jobs leave them, into SQLite and, if
``HANSEG_TEST_POSTGRES_URL`` names a server, into a database of its own there.

    python -m benchmarks.worklist [--jobs N]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from hanseg_shared.documents import (
    InputSummary,
    JobOptions,
    JobState,
    MrVerdict,
    OrganResult,
)
from hanseg_shared.flags import FlagCode
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.job_row import make_row
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.worklist import JobFilter
from hanseg_shared.organs import ORGANS, OrganStatus
from hanseg_shared.settings import Settings

JOBS = 100_000
PAGE = 100
BULK = 1_000
TIMES = 9
RARE = FlagCode.LEFT_RIGHT_SWAPPED
"""A flag that ten of all jobs have, the oldest ones: the hardest to find."""

START = 1_750_000_000.0


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield rows as jobs leave them, the oldest first."""
    image = InputSummary(
        role="ct",
        sha256="0" * 64,
        bytes=70_000_000,
        format="dicom",
        size=(512, 512, 150),
        spacing_mm=(1.0, 1.0, 2.5),
    )
    organs = [
        OrganResult(
            name=organ.name,
            label=organ.label,
            status=OrganStatus.CONTOURED,
            volume_ml=12.0,
        ).model_dump(mode="json")
        for organ in ORGANS
    ]
    stages = [
        {"name": name, "seconds": 12.5, "attempts": 1}
        for name in ("registering", "segmenting", "packaging")
    ]
    for index in range(count):
        job = NewJob(
            id=f"{index:032x}",
            inputs=(image, image.model_copy(update={"role": "mr"})),
            options=JobOptions(),
            case_name=f"HN_{index:06d}",
            owned_by=f"owner {index % 5}",
        )
        code = RARE if index < 10 else FlagCode.SMALL_VOLUME if index % 7 == 0 else None
        yield make_row(job, START + index) | {
            "state": JobState.SUCCEEDED if index < count - 20 else JobState.QUEUED,
            "mr_verdict": MrVerdict.REJECTED if index < 10 else MrVerdict.USED,
            "organs": organs,
            "stages": stages,
            "flag_codes": f" {code.value if code else ''} ",
            "flag_count": int(code is not None),
        }


def fill(tables: Tables, count: int) -> None:
    """Write the rows."""
    every = rows(count)
    while bulk := [row for _, row in zip(range(BULK), every, strict=False)]:
        with tables.database.write() as connection:
            connection.execute(sa.insert(jobs), bulk)


def measure(tables: Tables) -> dict[str, float]:
    """Return the median milliseconds of each question."""
    asked: dict[str, list[Any]] = {
        "all": [],
        "a frequent flag": JobFilter(flag=FlagCode.SMALL_VOLUME).conditions(),
        "a rare flag": JobFilter(flag=RARE).conditions(),
        "a flag of none": JobFilter(flag=FlagCode.HOLES).conditions(),
        "a rare flag of one owner": [
            *JobFilter(flag=RARE).conditions(),
            jobs.c.owned_by == "owner 3",
        ],
        "a rare verdict": JobFilter(verdicts=(MrVerdict.REJECTED,)).conditions(),
        "one case by part of its name": JobFilter(search="n_000003").conditions(),
    }
    worklist = tables.worklist

    def page(conditions: list[Any]) -> Callable[[], object]:
        return lambda: worklist.list_page(conditions, limit=PAGE)

    found = {name: time_ms(page(conditions)) for name, conditions in asked.items()}
    return found | {
        "history of stages": time_ms(worklist.stage_seconds),
        "places in the queue": time_ms(worklist.count_ahead),
    }


def time_ms(ask: Callable[[], object]) -> float:
    """Return the median time of a question."""
    taken = []
    for _ in range(TIMES):
        started = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(taken), 1)


@contextmanager
def own_postgres(url: str) -> Iterator[str]:
    """Make a database on a server; yields its URL, and drops it."""
    name = f"bench_{uuid.uuid4().hex[:12]}"
    server = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    try:
        made = sa.make_url(url).set(database=name)
        yield made.render_as_string(hide_password=False)
    finally:
        with server.connect() as connection:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
        server.dispose()


def run(settings: Settings, count: int) -> dict[str, float]:
    """Fill a database and measure it."""
    tables = open_tables(settings)
    try:
        fill(tables, count)
        return measure(tables)
    finally:
        tables.close()


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=JOBS)
    count = parser.parse_args().jobs
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        figures["sqlite_ms"] = run(Settings(data=Path(folder)), count)
        url = os.environ.get("HANSEG_TEST_POSTGRES_URL")
        if url:
            with own_postgres(url) as database:
                settings = Settings(data=Path(folder), database_url=database)  # type: ignore[arg-type]
                figures["postgresql_ms"] = run(settings, count)
    print(json.dumps({"jobs": count, "page": PAGE, **figures}, indent=1))


if __name__ == "__main__":
    main()
