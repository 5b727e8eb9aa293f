"""The client of the command line and this service understand each other."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from hanseg_shared.client import AsyncClient, Client, JobRequest
from hanseg_shared.client.watch.arrivals import Arrivals
from hanseg_shared.client.watch.journal import Journal
from hanseg_shared.client.watch.run import Places, WatchRun
from hanseg_shared.documents import JobOptions, JobState, TransformKind
from hanseg_shared.errors import (
    InputError,
    JobNotFoundError,
    JobStateError,
    ServiceUnavailableError,
)
from hanseg_shared.jobs.messages import QueueName
from hanseg_shared.jobs.stages import Stage
from tests.api.fakes import CT, MR, NO_IMAGE
from tests.api.running import Running
from tests.io.files import written


@pytest.fixture
def client(running: Running) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{running.port}", retry=None) as found:
        yield found


@pytest.fixture
def request_(tmp_path: Path) -> JobRequest:
    ct, mr = tmp_path / "ct.nii.gz", tmp_path / "mr.nii.gz"
    ct.write_bytes(CT)
    mr.write_bytes(MR)
    options = JobOptions(registration=TransformKind.AFFINE)
    return JobRequest(ct, mr, options, case="case_01")


def test_a_case_arrives_as_it_was_sent(client, request_, checker):
    job = client.submit(request_)
    assert checker.seen == [(CT, MR)]
    assert job.options == request_.options
    assert job.case == "case_01"


def test_a_case_sent_twice_with_a_key_is_one_job(client, request_):
    first, second = (client.submit(request_, idempotency_key="k") for _ in range(2))
    assert first.id == second.id


def test_a_job_is_followed_to_its_end(client, request_, worker):
    job_id = client.submit(request_).id
    states = []
    for job in client.follow(job_id):
        states.append(job.state)
        if job.state is JobState.QUEUED:
            worker.begin(job_id, Stage.REGISTER)
        elif job.state is JobState.REGISTERING:
            client.delete(job_id)
    assert states == [JobState.QUEUED, JobState.REGISTERING, JobState.EXPIRED]


def test_results_are_fetched_whole(client, request_, worker, tmp_path):
    job_id = client.submit(request_).id
    files = {"segmentation.nii.gz": b"labels", "masks/Eye_AL.nii.gz": b"mask"}
    worker.succeed(job_id, files)
    client.download(job_id, tmp_path / "out")
    assert {n: (tmp_path / "out" / n).read_bytes() for n in files} == files


def test_results_of_an_unfinished_job_are_none(client, request_):
    job_id = client.submit(request_).id
    with pytest.raises(JobStateError, match="queued"):
        client.results(job_id)


def test_a_cancelled_job_is_cancelled(client, request_):
    job_id = client.submit(request_).id
    client.cancel(job_id)
    assert client.job(job_id, wait_seconds=1).state is JobState.CANCELLED
    with pytest.raises(JobStateError, match="cannot be cancelled"):
        client.cancel(job_id)


def test_a_refused_image_is_an_input_error(client, request_):
    request_.ct.write_bytes(NO_IMAGE)
    with pytest.raises(InputError, match="ct: it is no image"):
        client.submit(request_)


def test_a_job_that_does_not_exist_is_not_found(client):
    with pytest.raises(JobNotFoundError):
        client.job("0" * 32)


def test_a_service_that_takes_no_jobs_is_unavailable(client, request_, publisher):
    publisher.down = True
    with pytest.raises(ServiceUnavailableError, match="Redis"):
        client.submit(request_)


def test_a_service_is_ready_when_its_workers_live(client, services):
    assert not client.is_ready()
    for queue in QueueName:
        services.tables.workers.report_ready(queue, queue=queue, device="cpu")
    assert client.is_ready()


FILES = {"segmentation.nii.gz": bytes(range(256)) * 9000, "masks/Eye_AL.nii.gz": b"m"}


def test_all_results_come_in_one_archive(client, request_, worker, tmp_path):
    job_id = client.submit(request_).id
    worker.succeed(job_id, FILES)
    with zipfile.ZipFile(client.download_zip(job_id, tmp_path / "r.zip")) as found:
        assert {name: found.read(name) for name in found.namelist()} == FILES


def test_the_async_client_is_understood_as_well(running, request_, worker, tmp_path):
    async def contour() -> None:
        async with AsyncClient(f"http://127.0.0.1:{running.port}") as client:
            job = await client.submit(request_, idempotency_key="k")
            again = await client.submit(request_, idempotency_key="k")
            assert again.id == job.id
            worker.succeed(job.id, FILES)
            seen = [each.state async for each in client.follow(job.id)]
            assert seen == [JobState.SUCCEEDED]
            await client.download(job.id, tmp_path / "out")
            await client.download_zip(job.id, tmp_path / "r.zip")
            with pytest.raises(JobStateError) as raised:
                await client.cancel(job.id)
            assert raised.value.problem_type == "urn:hanseg:problem:wrong-state"

    anyio.run(contour)
    for name, content in FILES.items():
        assert (tmp_path / "out" / name).read_bytes() == content


def test_a_watched_folder_is_contoured(client, worker, tmp_path, services):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    written(folder / "anna.zip", b"PK\x03\x04CT of anna")
    told: list[str] = []
    with Journal(out) as journal:
        run = WatchRun(
            client,
            Arrivals(folder, 0.0, needs_marker=False, clock=lambda: 0.0),
            journal,
            JobOptions(),
            Places(out, tmp_path / "processed", tmp_path / "failed"),
            lambda event, *_, **__: told.append(event),
        )
        run.round()
        [record] = run.in_flight
        worker.succeed(record.job, FILES)
        run.round()
    assert told == ["sent", "done"]
    assert services.tables.jobs.get(record.job).case_name == "anna"
    for name, content in FILES.items():
        assert (out / "anna" / name).read_bytes() == content
