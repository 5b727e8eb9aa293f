"""The sync and the async client: alike in what they send, retry, check and raise."""

from __future__ import annotations

import inspect
import pickle
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import anyio
import httpx
import pytest

from hanseg_shared import client as package
from hanseg_shared import errors
from hanseg_shared.client import (
    AsyncClient,
    BusyError,
    Client,
    ConnectionLostError,
    JobRequest,
    KeyRefusedError,
    Retry,
)
from hanseg_shared.documents import JobState
from tests.client.fake_service import FakeService

Do = Callable[[Any], Any]


@dataclass
class Bench:
    """Runs calls of one kind of client against the fake service, and notes pauses."""

    service: FakeService
    is_async: bool
    pauses: list[float] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)

    def run(self, name: str, *arguments: Any, **further: Any) -> Any:
        """Return what a method returns; of an iterator, all that it yields."""
        if self.is_async:
            return anyio.run(partial(self._run_async, name, *arguments, **further))
        with Client(
            "http://service",
            transport=self.service.transport,
            pause=self.pauses.append,
            **self.options,
        ) as client:
            found = getattr(client, name)(*arguments, **further)
            return list(found) if isinstance(found, Iterator) else found

    async def _run_async(self, name: str, *arguments: Any, **further: Any) -> Any:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        async with AsyncClient(
            "http://service",
            transport=self.service.transport,
            pause=pause,
            **self.options,
        ) as client:
            found = getattr(client, name)(*arguments, **further)
            if isinstance(found, AsyncIterator):
                return [each async for each in found]
            assert isinstance(found, Awaitable)
            return await found


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture(params=[False, True], ids=["sync", "async"])
def bench(request, service) -> Bench:
    return Bench(service, request.param)


@pytest.fixture
def request_(tmp_path) -> JobRequest:
    for name in ("ct.nii.gz", "mr.nii.gz"):
        (tmp_path / name).write_bytes(name.encode())
    return JobRequest(tmp_path / "ct.nii.gz", tmp_path / "mr.nii.gz")


def busy(status: int = 503, retry_after: str | None = "7") -> httpx.Response:
    body = {"type": "urn:x", "title": "t", "status": status, "detail": "later"}
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return httpx.Response(status, json=body, headers=headers)


def public(kind: type) -> dict[str, Any]:
    return {
        name: each
        for name, each in vars(kind).items()
        if not name.startswith("_") and callable(each)
    }


def test_both_have_the_same_methods_with_the_same_arguments():
    assert public(Client).keys() == public(AsyncClient).keys()
    for name, method in public(Client).items():
        other = public(AsyncClient)[name]
        mine = inspect.signature(method).replace(return_annotation=None)
        its = inspect.signature(other).replace(return_annotation=None)
        assert str(mine) == str(its), name
        mine_returns = inspect.signature(method).return_annotation
        its_returns = inspect.signature(other).return_annotation
        assert its_returns.replace("AsyncIterator", "Iterator") == mine_returns


def test_what_is_public_is_documented_and_typed():
    for name in package.__all__:
        assert inspect.getdoc(getattr(package, name))
    for kind in (Client, AsyncClient):
        for name, method in public(kind).items():
            assert inspect.getdoc(method), name
            assert "return" in get_type_hints(
                method, localns={"SignedSheet": object}
            ), name


def test_a_case_goes_from_files_to_results(bench, request_, tmp_path):
    job = bench.run("submit", request_)
    assert [image.role for image in job.inputs] == ["ct", "mr"]
    assert bench.run("wait", job.id).state is JobState.SUCCEEDED
    bench.run("download", job.id, tmp_path / "out")
    assert (tmp_path / "out" / "job.json").is_file()


def test_a_folder_of_dicom_is_packed(bench, service, tmp_path):
    (tmp_path / "1").write_bytes(bytes(128) + b"DICM")
    bench.run("submit", JobRequest(tmp_path))
    assert service.sent["ct"].startswith(b"PK")


def test_all_results_come_as_one_archive(bench, request_, tmp_path):
    job = bench.run("submit", request_)
    target = tmp_path / "new" / "results.zip"
    assert bench.run("download_zip", job.id, target) == target
    with zipfile.ZipFile(target) as found:
        assert found.namelist() == ["job.json"]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("method", ["download", "download_zip"])
def test_damaged_results_leave_nothing(bench, service, request_, tmp_path, method):
    job = bench.run("submit", request_)
    service.damage = True
    with pytest.raises(errors.StoreError, match=r"job\.json was damaged"):
        bench.run(method, job.id, tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())


def test_an_archive_that_is_none_leaves_nothing(bench, service, request_, tmp_path):
    job = bench.run("submit", request_)
    service._archive = lambda _: b"no archive"
    with pytest.raises(errors.StoreError, match="the archive was damaged"):
        bench.run("download_zip", job.id, tmp_path / "new" / "x.zip")
    assert not list((tmp_path / "new").iterdir())


def test_one_file_takes_its_place_when_it_is_whole(bench, service, request_, tmp_path):
    job = bench.run("submit", request_)
    (listed,) = bench.run("results", job.id)
    folder = tmp_path / "new"
    assert bench.run("download_file", job.id, listed, folder) == folder / "job.json"
    whole = (folder / "job.json").read_bytes()
    service.damage = True
    with pytest.raises(errors.StoreError, match=r"job\.json was damaged"):
        bench.run("download_file", job.id, listed, folder)
    service.failures = [httpx.ReadError("reset")]
    bench.options["retry"] = None
    with pytest.raises(ConnectionLostError):
        bench.run("download_file", job.id, listed, folder)
    assert [path.name for path in folder.iterdir()] == ["job.json"]
    assert (folder / "job.json").read_bytes() == whole


def test_a_file_that_cannot_be_written_is_told(bench, request_, tmp_path):
    job = bench.run("submit", request_)
    (listed,) = bench.run("results", job.id)
    (tmp_path / "file").touch()
    with pytest.raises(errors.StoreError, match=r"cannot be written to .*/file"):
        bench.run("download_file", job.id, listed, tmp_path / "file")


def test_a_correction_that_is_not_there_is_told(bench, service, tmp_path):
    with pytest.raises(errors.InputError, match=r"own\.dcm cannot be read: No such"):
        bench.run("send_correction", "job0", tmp_path / "own.dcm")
    assert service.asked == []


def test_following_yields_every_state_to_the_end(bench, request_):
    job = bench.run("submit", request_)
    states = [seen.state for seen in bench.run("follow", job.id)]
    assert states == [JobState.REGISTERING, JobState.SEGMENTING, JobState.SUCCEEDED]


def test_a_stream_that_broke_off_is_taken_up_where_it_was(bench, service, request_):
    job = bench.run("submit", request_)
    running = job.model_copy(update={"state": JobState.REGISTERING})
    first = f"id: 4\nevent: job\ndata: {running.model_dump_json()}\n\n"
    service.failures = [httpx.Response(200, text=first), httpx.ReadError("reset")]
    seen = bench.run("follow", job.id)
    assert [each.state for each in seen][-1] is JobState.SUCCEEDED
    assert service.asked[-1].headers["Last-Event-ID"] == "4"
    assert len(bench.pauses) == 2


def test_following_ends_where_nothing_is_to_come(bench, service, request_):
    job = bench.run("submit", request_)
    service.failures = [httpx.Response(204)]
    assert bench.run("follow", job.id) == []


@pytest.mark.parametrize("status", [429, 503, 507])
def test_what_the_service_takes_later_is_sent_when_it_says(
    bench, service, request_, status: int
):
    service.failures = [busy(status), busy(status, "2")]
    bench.run("submit", request_)
    assert bench.pauses == [7.0, 2.0]
    assert len(service.jobs) == 1


def test_the_same_key_is_sent_again(bench, service, request_):
    service.failures = [busy(), httpx.ReadError("reset")]
    bench.run("submit", request_)
    keys = [each.headers["Idempotency-Key"] for each in service.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    service.asked.clear()
    bench.run("submit", request_, idempotency_key="mine")
    assert service.asked[0].headers["Idempotency-Key"] == "mine"


def test_a_key_whose_first_request_is_worked_on_is_asked_for_again(
    bench, service, request_
):
    kind = "urn:hanseg:problem:idempotency-key-in-use"
    body = {"type": kind, "title": "t", "status": 409, "detail": "ask again"}
    service.failures = [httpx.Response(409, json=body)]
    assert bench.run("submit", request_).id == "job0"


def test_without_a_word_pauses_grow(bench, service, request_):
    service.failures = [busy(retry_after=None) for _ in range(3)]
    bench.run("submit", request_)
    first, second, third = bench.pauses
    assert 0.5 <= first <= 1.0 <= second <= 2.0 <= third <= 4.0


def test_a_lost_connection_is_taken_up_again(bench, service, request_):
    job = bench.run("submit", request_)
    service.failures = [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.Response(502, text="<html>a proxy's page"),
    ]
    bench.run("job", job.id)
    assert len(bench.pauses) == 3


def test_what_may_have_arrived_is_not_sent_twice(bench, service, tmp_path):
    (tmp_path / "own.dcm").write_bytes(b"contours")
    service.failures = [httpx.ReadError("reset")]
    with pytest.raises(ConnectionLostError, match="broke off: reset"):
        bench.run("send_correction", "job0", tmp_path / "own.dcm")
    assert bench.pauses == []


@pytest.mark.parametrize("method", ["cancel", "delete_webhook", "test_webhook"])
def test_what_is_answered_otherwise_the_second_time_is_sent_once(
    bench, service, method
):
    service.failures = [httpx.ReadError("reset")]
    with pytest.raises(ConnectionLostError, match="broke off: reset"):
        bench.run(method, "0" * 32)
    assert len(service.asked) == 1


def test_deleting_a_job_is_sent_again(bench, service):
    service.failures = [httpx.ReadError("reset"), httpx.Response(204)]
    bench.run("delete", "job0")
    assert len(service.asked) == 2


def test_tries_are_used_up(bench, service):
    bench.options["retry"] = Retry(tries=3)
    service.failures = [busy(429, "1") for _ in range(9)]
    with pytest.raises(BusyError, match="later") as raised:
        bench.run("job", "job0")
    assert raised.value.retry_after == 1.0
    assert len(service.asked) == 3


def test_nobody_waits_for_longer_than_is_worth_it(bench, service):
    service.failures = [busy(503, "3600")]
    with pytest.raises(BusyError) as raised:
        bench.run("job", "job0")
    assert raised.value.retry_after == 3600.0
    assert bench.pauses == []


def test_without_retries_each_call_is_made_once(bench, service, request_):
    bench.options["retry"] = None
    service.failures = [busy()]
    with pytest.raises(BusyError):
        bench.run("submit", request_)
    assert "Idempotency-Key" not in service.asked[0].headers


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, KeyRefusedError),
        (403, KeyRefusedError),
        (404, errors.JobNotFoundError),
        (409, errors.JobStateError),
        (410, errors.JobStateError),
        (422, errors.InputError),
        (500, errors.JobError),
    ],
)
def test_each_status_is_an_error_that_is_not_tried_again(bench, service, status, kind):
    service.failures = [busy(status)]
    with pytest.raises(kind, match="later") as raised:
        bench.run("job", "job0")
    assert raised.value.problem_type == "urn:x"
    assert bench.pauses == []


def test_an_error_keeps_what_it_knows_on_its_way_through_a_queue():
    error = BusyError("later")
    error.retry_after, error.problem_type = 7.0, "urn:x"
    found = pickle.loads(pickle.dumps(error))
    assert (found.message, found.retry_after, found.problem_type) == (
        "later",
        7.0,
        "urn:x",
    )


def test_waiting_ends_in_time(bench, service, request_):
    service.road = (JobState.QUEUED,)
    job = bench.run("submit", request_)
    with pytest.raises(TimeoutError, match=f"job {job.id} is queued after 0 s"):
        bench.run("wait", job.id, timeout_seconds=0)


def test_waiting_asks_the_service_to_wait(bench, service, request_):
    job = bench.run("submit", request_)
    bench.run("wait", job.id)
    assert service.asked[-1].headers["Prefer"] == "wait=30"
    assert all(seconds == 1.0 for seconds in bench.pauses)


def test_a_stranger_gets_no_key(bench, service):
    bench.options["key"] = "secret"
    assert bench.run("is_ready") is True
    bench.run("require_service")
    assert not any("Authorization" in each.headers for each in service.asked)
    bench.run("templates")
    assert service.asked[-1].headers["Authorization"] == "Bearer secret"


def test_a_service_that_is_away_is_not_ready(bench, service):
    service.failures = [httpx.ConnectError("refused")]
    assert bench.run("is_ready") is False
    service.failures = [httpx.Response(200, text="<html>")]
    with pytest.raises(errors.ServiceUnavailableError, match="no contouring service"):
        bench.run("require_service")


def test_many_jobs_are_listed_page_by_page(bench, request_):
    for n in range(5):
        bench.run("submit", request_, idempotency_key=str(n))
    found, more = bench.run("jobs", limit=4)
    assert (len(found), more) == (4, True)


def test_a_cancelled_task_leaves_nothing_behind(service, request_, tmp_path: Path):
    async def stop_in_the_middle() -> None:
        transport = httpx.MockTransport(answer_slowly)
        async with AsyncClient("http://service", transport=transport) as client:
            with anyio.move_on_after(0.05):
                await client.download("job0", tmp_path / "out")

    async def answer_slowly(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/results"):
            return service.answer(request)
        await anyio.sleep_forever()
        raise AssertionError

    with Client("http://service", transport=service.transport) as client:
        client.submit(request_)
    anyio.run(stop_in_the_middle)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "ct.nii.gz",
        "mr.nii.gz",
    ]


def test_several_calls_go_on_at_one_time(service, request_):
    async def look_at_four() -> list[str]:
        found: list[str] = []
        async with (
            AsyncClient("http://service", transport=service.transport) as client,
            anyio.create_task_group() as group,
        ):

            async def do() -> None:
                job = await client.submit(request_)
                found.append((await client.wait(job.id)).state)

            for _ in range(4):
                group.start_soon(do)
        return found

    service.road = (JobState.QUEUED, JobState.SUCCEEDED)
    assert anyio.run(look_at_four) == ["succeeded"] * 4
