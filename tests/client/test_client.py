"""The REST API as Python calls: what comes back, and what each failure becomes."""

from __future__ import annotations

import httpx
import pytest

from hanseg_shared import errors
from hanseg_shared.client import Client, JobRequest
from hanseg_shared.client.console import BarReporter, JsonReporter, share_done
from hanseg_shared.client.segment import segment_case
from hanseg_shared.documents import JobState, Problem
from tests.client.fake_service import FakeService


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service):
    with Client("http://service", transport=service.transport) as client:
        yield client


@pytest.fixture
def request_(tmp_path) -> JobRequest:
    for name in ("ct.nii.gz", "mr.nii.gz"):
        (tmp_path / name).write_bytes(name.encode())
    return JobRequest(tmp_path / "ct.nii.gz", tmp_path / "mr.nii.gz")


def test_a_submitted_job_names_its_inputs_by_hash(client, request_):
    job = client.submit(request_)
    assert [image.role for image in job.inputs] == ["ct", "mr"]


def test_the_same_key_makes_no_second_job(client, service, request_):
    first = client.submit(request_, idempotency_key="k")
    assert client.submit(request_, idempotency_key="k").id == first.id
    assert len(service.jobs) == 1


def test_following_a_job_yields_every_state_to_the_end(client, request_):
    job = client.submit(request_)
    states = [seen.state for seen in client.follow(job.id)]
    assert states == [JobState.REGISTERING, JobState.SEGMENTING, JobState.SUCCEEDED]


def test_a_case_goes_from_files_to_results(client, request_, tmp_path):
    with JsonReporter() as reporter:
        job = segment_case(client, request_, tmp_path / "out", reporter)
    assert job.state is JobState.SUCCEEDED
    assert (tmp_path / "out" / "job.json").is_file()


def test_results_are_put_into_a_folder_that_exists(client, request_, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "note.txt").write_text("mine")
    with JsonReporter() as reporter:
        segment_case(client, request_, out, reporter)
    assert sorted(p.name for p in out.iterdir()) == ["job.json", "note.txt"]


def test_a_damaged_download_leaves_nothing(client, service, request_, tmp_path):
    service.damage = True
    with JsonReporter() as reporter, pytest.raises(errors.StoreError, match="damaged"):
        segment_case(client, request_, tmp_path / "out", reporter)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct.nii.gz", "mr.nii.gz"]


def test_a_failed_job_is_an_error_with_its_reason(client, service, request_, tmp_path):
    service.road = (JobState.QUEUED, JobState.FAILED)
    with JsonReporter() as reporter, pytest.raises(errors.JobError, match="it broke"):
        segment_case(client, request_, tmp_path / "out", reporter)


def test_an_interruption_cancels_the_job(client, service, request_, tmp_path):
    class Impatient(JsonReporter):
        def show(self, job):
            raise KeyboardInterrupt

    with Impatient() as reporter, pytest.raises(KeyboardInterrupt):
        segment_case(client, request_, tmp_path / "out", reporter)
    assert service.cancelled == ["job0"]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, errors.JobNotFoundError),
        (409, errors.JobStateError),
        (413, errors.InputError),
        (422, errors.InputError),
        (503, errors.ServiceUnavailableError),
        (500, errors.JobError),
    ],
)
def test_each_status_becomes_an_error(client, service, request_, status, error):
    service.refusal = Problem(type="urn:x", title="t", status=status, detail="because")
    with pytest.raises(error, match="because"):
        client.submit(request_)


def test_another_servers_error_page_is_told_as_such():
    page = httpx.MockTransport(lambda _: httpx.Response(502, text="<html>"))
    with (
        Client("http://proxy", transport=page) as client,
        pytest.raises(errors.ServiceUnavailableError, match="502 without a reason"),
    ):
        client.job("x")


def test_a_service_that_is_away_is_told_with_its_address():
    def refuse(request):
        raise httpx.ConnectError("refused", request=request)

    with (
        Client("http://nowhere:1", transport=httpx.MockTransport(refuse)) as client,
        pytest.raises(errors.ServiceUnavailableError, match="http://nowhere:1/"),
    ):
        client.job("x")


def test_the_bar_only_moves_forward(client, request_):
    job = client.submit(request_)
    shares = [share_done(job), *(share_done(seen) for seen in client.follow(job.id))]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_json_lines_carry_state_and_progress(client, request_, capsys):
    with JsonReporter() as reporter:
        reporter.show(client.submit(request_))
    assert '"state": "queued", "progress": 0.0' in capsys.readouterr().out


def test_the_bar_goes_to_the_error_stream(client, request_, capsys):
    with BarReporter("case") as reporter:
        reporter.show(client.submit(request_))
    assert capsys.readouterr().out == ""
