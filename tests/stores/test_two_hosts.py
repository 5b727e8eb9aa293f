"""Stages of a job on hosts that share a database and S3, and no disk."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from hanseg_segmentation.api.intake.removing import remove_job
from hanseg_shared.documents import JobState, ResultFile
from hanseg_shared.errors import StoreRefusedError
from hanseg_shared.jobs.fitness import find_complaint
from hanseg_shared.jobs.record import Job, NewJob, StageResult
from hanseg_shared.jobs.services import Services, claim_store, open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore, open_store
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.work import Body, Workplace, work_on
from hanseg_shared.settings import Settings
from tests.jobs.fakes import CT, FakePublisher
from tests.stores.faulty import Fault
from tests.stores.swift import Swift
from tests.stores.test_s3 import broken

VOXELS = b"a CT of nobody" * 100_000


@pytest.fixture
def settings(swift: Swift, relay, prefix: str, tmp_path: Path) -> Settings:
    return Settings(
        data=tmp_path / "api",
        database_url=SecretStr(f"sqlite:///{tmp_path / 'jobs.sqlite'}"),
        min_free_bytes=0,
        **swift.settings_of_store(relay.url, prefix),
    )


@pytest.fixture
def tables(settings: Settings) -> Iterator[Tables]:
    opened = open_tables(settings)
    yield opened
    opened.close()


@pytest.fixture
def host(settings: Settings, tables: Tables, tmp_path: Path) -> Callable[..., Services]:
    """Return what opens the services of a host, which has a data folder of its own."""

    def make(name: str, store: PayloadStore | None = None) -> Services:
        own = settings.model_copy(update={"data": tmp_path / name})
        found = store or open_store(own)
        claim_store(found, tables)
        return Services(tables, found, FakePublisher(), own)

    return make


def submit(services: Services, tmp_path: Path) -> Job:
    job_id = uuid.uuid4().hex
    image = tmp_path / "ct"
    image.write_bytes(VOXELS)
    payload = services.store.put(job_id, image)
    ct = CT.model_copy(update={"sha256": payload.sha256, "bytes": payload.bytes})
    return services.tables.jobs.create(NewJob(id=job_id, inputs=(ct,)))


def register(workplace: Workplace) -> StageResult:
    found = workplace.fetch_input("ct")
    assert found is not None
    made = workplace.folder / "made"
    made.mkdir()
    (made / "registered.bin").write_bytes(found.read_bytes()[::-1])
    return StageResult(intermediate=workplace.publish_files(made))


def segment(workplace: Workplace) -> StageResult:
    found = workplace.fetch_intermediate("registered.bin")
    assert found is not None
    made = workplace.folder / "made"
    made.mkdir()
    (made / "segmentation.bin").write_bytes(found.read_bytes()[::3])
    carried = workplace.carry(["registered.bin"])
    return StageResult(files=(*carried, *workplace.publish_files(made)))


BODIES: dict[Stage, Body] = {Stage.REGISTER: register, Stage.SEGMENT: segment}


def finish(job: Job, *hosts: Services) -> Job:
    """Do every stage of a job, each on the next host."""
    for stage, services in zip(Stage, hosts, strict=True):
        body = BODIES.get(stage, lambda _: StageResult())
        work_on(stage, job.id, body, services)
    return hosts[0].tables.jobs.get(job.id)


def named(job: Job) -> dict[str, ResultFile]:
    return {file.name: file for file in job.files}


def test_hosts_without_a_common_disk_make_what_one_host_makes(
    host, tmp_path, prefix, raw
):
    folder = PayloadStore(f"file://{tmp_path / 'local'}")
    alone = host("alone", folder)
    local = finish(submit(alone, tmp_path), *[alone] * len(Stage))
    api, one, two = host("api"), host("one"), host("two")
    others = [one, two, one, two][: len(Stage)]
    job = finish(submit(api, tmp_path), *others)

    assert job.state is JobState.SUCCEEDED
    assert named(job) == named(local)
    for name, file in named(job).items():
        there = raw.cat_file(f"{prefix}/{job.id}/{file.sha256}")
        with folder.open(local.id, named(local)[name].sha256) as here:
            assert here.read() == there


def test_what_the_store_fails_at_costs_no_attempt(host, tmp_path, relay, tables):
    services = host("one")
    job = submit(services, tmp_path)
    relay.faults.append(Fault(lambda each: each.method == "PUT", before=broken))
    work_on(Stage.REGISTER, job.id, register, services)

    waiting = tables.jobs.get(job.id)
    assert waiting.attempts == 0
    assert find_complaint(services) is None
    relay.faults[:] = [Fault(lambda _: True, before=broken)]
    assert "payload store does not work" in (find_complaint(services) or "")


def test_a_deleted_job_is_gone_from_the_store_and_its_parts_too(
    host, tmp_path, prefix, raw
):
    services = host("one")
    job = finish(submit(services, tmp_path), *[services] * len(Stage))
    assert raw.find(f"{prefix}/{job.id}")
    remove_job(services, job.id)

    assert raw.find(f"{prefix}/{job.id}") == []
    assert services.store.cache is not None
    assert services.store.cache.owners() == []


def test_a_wrong_secret_ends_the_start(settings, tables):
    wrong = {"store_key_secret": SecretStr("hush")}
    store = open_store(settings.model_copy(update=wrong))
    with pytest.raises(StoreRefusedError, match="refuses this service"):
        claim_store(store, tables)


def test_a_store_that_is_away_is_waited_for(settings, tables):
    away = open_store(settings.model_copy(update={"store_endpoint": "http://[::1]:9"}))
    claim_store(away, tables)  # only warns
    services = Services(tables, away, FakePublisher(), settings)

    assert "does not work" in (find_complaint(replace(services)) or "")
