"""A PostgreSQL that is dumped, lost and restored elsewhere: the service goes on."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hanseg_shared.documents import JobState, ResultFile
from hanseg_shared.jobs.audit import ANCHOR, Anchor, Event
from hanseg_shared.jobs.reconciler import Reconciler
from hanseg_shared.jobs.record import Job, NewJob, StageResult
from hanseg_shared.jobs.services import Services, claim_store
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.sweeper import Sweeper
from hanseg_shared.jobs.tables.keys import KeyClaim
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.upgrade import open_database
from hanseg_shared.settings import Settings
from tests.jobs.fakes import CT, PROBLEM, FakePublisher, claim

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(not shutil.which("pg_dump"), reason="pg_dump is not installed"),
]


@pytest.fixture
def places(postgres_url: str) -> Iterator[tuple[str, str]]:
    """The URLs of two empty databases of one server."""
    server = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    names = [f"backup_{uuid.uuid4().hex}" for _ in range(2)]
    with server.connect() as connection:
        for name in names:
            connection.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE template0"))
    urls = [
        sa.make_url(postgres_url).set(database=name).render_as_string(False)
        for name in names
    ]
    yield urls[0], urls[1]
    with server.connect() as connection:
        for name in names:
            connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def dump(url: str, file: Path) -> None:
    """Do what the guide says, with the address in the environment."""
    command = ["pg_dump", "--format=custom", f"--file={file}"]
    subprocess.run(command, env=environment(url), check=True)


def restore(file: Path, url: str) -> None:
    command = ["pg_restore", "--exit-on-error", "--single-transaction", "--no-owner"]
    place = f"--dbname={sa.make_url(url).database}"
    subprocess.run([*command, place, str(file)], env=environment(url), check=True)


def environment(url: str) -> dict[str, str]:
    told = sa.make_url(url)
    return {
        "PATH": "/usr/bin:/bin",
        "PGHOST": str(told.host),
        "PGPORT": str(told.port),
        "PGUSER": str(told.username),
        "PGPASSWORD": str(told.password),
        "PGDATABASE": str(told.database),
    }


def open_service(url: str, folder: Path) -> Services:
    settings = Settings(data=folder)
    anchor = Anchor(folder / ANCHOR)
    tables = Tables.of(open_database(url), retention_seconds=1e6, anchor=anchor)
    store = PayloadStore(settings.store)
    claim_store(store, tables)
    return Services(tables, store, FakePublisher(), settings)


def finish(services: Services, job: Job, tmp_path: Path) -> Job:
    (tmp_path / "result").write_text("what was found")
    made = services.store.put(job.id, tmp_path / "result")
    file = ResultFile(
        name="a.txt", sha256=made.sha256, bytes=made.bytes, media_type="text/plain"
    )
    for stage in Stage:
        claimed = claim(services.tables, job, stage)
        result = StageResult(files=(file,))
        assert services.tables.claims.finish_stage(claimed, stage, result)
    return services.tables.jobs.get(job.id)


def test_a_restored_database_goes_on_with_its_store(places, tmp_path):
    folder = tmp_path / "data"
    before = open_service(places[0], folder)
    make = before.tables.jobs.create
    done = finish(before, make(NewJob(uuid.uuid4().hex, (CT,))), tmp_path)
    held = before.tables.keys.reserve("a-clients-key", "what it asks")
    assert isinstance(held, KeyClaim)
    waiting = make(NewJob(uuid.uuid4().hex, (CT,)), key=held)
    at_work = make(NewJob(uuid.uuid4().hex, (CT,)))
    lost = claim(before.tables, at_work)  # its worker is of the lost database
    before.tables.audit.record(Event("before_the_backup"))
    dump(places[0], tmp_path / "hanseg.dump")
    before.tables.close()
    restore(tmp_path / "hanseg.dump", places[1])

    after = open_service(places[1], folder)
    assert after.store.bind(after.tables.installation.identity())
    assert after.tables.jobs.get(done.id) == done
    assert after.store.exists(done.id, done.files[0].sha256)
    assert after.tables.audit.find_fault() is None

    again = after.tables.keys.reserve("a-clients-key", "what it asks")
    assert not isinstance(again, KeyClaim)  # the same job answers, and no second one
    holds = after.tables.claims.list_holds()
    after.tables.claims.release_lost(holds, attempts=3, problem=PROBLEM)
    assert not after.tables.claims.finish_stage(lost, Stage.REGISTER, StageResult())
    for job in (waiting, at_work):
        assert finish(after, job, tmp_path).state is JobState.SUCCEEDED

    Sweeper(after.tables, after.store, after.settings).sweep()
    Reconciler(after).run_once()
    assert after.store.owners() == sorted([done.id, waiting.id, at_work.id])
    assert sum(after.tables.jobs.count_by_state().values()) == 3
    after.tables.close()
