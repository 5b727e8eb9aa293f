"""The REST API as Python calls: what comes back, and what each failure becomes."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import httpx
import pytest

from hanseg_shared import errors
from hanseg_shared.client import Client, JobRequest
from hanseg_shared.client.address import is_this_machine
from hanseg_shared.client.console import BarReporter, JsonReporter, share_done
from hanseg_shared.client.fetching import _FileSink
from hanseg_shared.client.results_folder import replace_results, require_writable
from hanseg_shared.client.segment import (
    PAUSE_SECONDS,
    follow_to_end,
    segment_case,
)
from hanseg_shared.documents import JobState, ListedFile, Problem
from tests.client.fake_service import FakeService


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service):
    with Client("http://service", transport=service.transport, retry=None) as client:
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
        Client("http://proxy", transport=page, retry=None) as client,
        pytest.raises(errors.ServiceUnavailableError, match="502 without a reason"),
    ):
        client.job("x")


def test_a_service_that_is_away_is_told_with_its_address():
    def refuse(request):
        raise httpx.ConnectError("refused", request=request)

    with (
        Client(
            "http://nowhere:1", transport=httpx.MockTransport(refuse), retry=None
        ) as client,
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


def test_masks_of_an_earlier_run_do_not_survive_in_the_folder(
    client, request_, tmp_path
):
    out = tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    for stale in ("masks/Larynx_SG.nii.gz", "masks/Brainstem.nii.gz", "transform.tfm"):
        (out / stale).write_text("of last year")
    (out / "masks" / "PTV.nii.gz").write_text("the user's own")
    with JsonReporter() as reporter:
        segment_case(client, request_, out, reporter)
    assert sorted(p.name for p in out.rglob("*") if p.is_file()) == [
        "PTV.nii.gz",
        "job.json",
    ]


def test_the_record_comes_last_so_that_an_interrupted_move_is_not_taken_for_done(
    tmp_path, monkeypatch
):
    source, folder = tmp_path / "new", tmp_path / "out"
    for name in ("job.json", "segmentation.nii.gz", "masks/Brainstem.nii.gz"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    folder.mkdir()
    (folder / "job.json").write_text("of last year")
    moved: list[str] = []
    replace = Path.replace

    def note(path: Path, target: Path) -> Path:
        assert not (folder / "job.json").exists()
        moved.append(path.name)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", note)
    replace_results(source, folder)
    assert moved[-1] == "job.json"
    assert len(moved) == 3


def test_a_service_cannot_choose_where_on_the_disk_its_files_go(
    client, service, request_, tmp_path, monkeypatch
):
    escaping = ListedFile(name="../../x", sha256="0" * 64, bytes=1, media_type="a/b")
    job = client.submit(request_)
    monkeypatch.setattr(service, "_file", lambda _: escaping.model_dump())
    with pytest.raises(errors.StoreError, match="no file name"):
        client.download(job.id, tmp_path / "out")


def test_a_full_disk_is_told_as_such(client, request_, tmp_path, monkeypatch):
    job = client.submit(request_)

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_FileSink, "write", full)
    with pytest.raises(errors.ServiceUnavailableError, match="no space is left"):
        client.download(job.id, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_program_on_the_port_is_not_taken_for_the_service():
    for page in ("<html>hello", "[]", '{"ready": false}', '"yes"'):
        other = httpx.MockTransport(lambda _, text=page: httpx.Response(200, text=text))
        with Client("http://127.0.0.1:8000", transport=other) as client:
            assert not client.is_ready()


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://localhost:8000", True),
        ("http://[::1]:8000", True),
        ("https://contours.hospital.example", False),
        ("http://10.0.0.5:8000", False),
    ],
)
def test_no_proxy_comes_between_the_client_and_its_own_machine(url, local, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    assert is_this_machine(url) is local
    with Client(url) as client:
        assert client._http.trust_env is not local


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1:8000",
        "ftp://host",
        "file:///etc/hosts",
        "http:/host:80",
        "host:port",
        "host:70000",
        "two words:80",
        "http://host/?a=b",
    ],
)
def test_an_impossible_address_is_told(url: str):
    with pytest.raises(errors.OptionError, match=r"no address of a service.*http://"):
        Client(url)


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("contours.hospital.example", "http://contours.hospital.example"),
        ("10.0.0.5:80/", "http://10.0.0.5:80"),
        ("[::1]:8000", "http://[::1]:8000"),
        (" https://host/prefix/ ", "https://host/prefix"),
    ],
)
def test_an_address_without_a_scheme_is_http(given: str, used: str):
    with Client(given) as client:
        assert client.url == used


def test_the_jobs_id_is_told_before_anything_else(client, request_, tmp_path, capsys):
    with JsonReporter() as reporter:
        segment_case(client, request_, tmp_path / "out", reporter)
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["message"] == "job job0 at http://service"


@pytest.mark.parametrize("lost", ["follow", "download"])
def test_a_lost_connection_says_how_the_results_are_fetched(
    client, request_, tmp_path, monkeypatch, lost: str
):
    def away(*_, **__):
        raise errors.ServiceUnavailableError("no service answers")

    monkeypatch.setattr(client, lost, away)
    monkeypatch.setattr("hanseg_shared.client.segment.LOST_TOUCH", 1)
    fetch = r"hanseg jobs fetch job0 --url http://service --out '.*/my results'"
    with (
        JsonReporter() as reporter,
        pytest.raises(errors.ServiceUnavailableError, match=fetch),
    ):
        segment_case(client, request_, tmp_path / "my results", reporter)


def test_a_service_of_this_command_alone_has_nothing_to_fetch_later(
    client, request_, tmp_path, monkeypatch
):
    def away(*_, **__):
        raise errors.ServiceUnavailableError("no service answers")

    client.lasting = False
    monkeypatch.setattr(client, "download", away)
    with (
        JsonReporter() as reporter,
        pytest.raises(errors.ServiceUnavailableError, match=r"^no service answers$"),
    ):
        segment_case(client, request_, tmp_path / "out", reporter)


def test_an_answer_of_another_version_is_told(tmp_path):
    strange = httpx.MockTransport(lambda _: httpx.Response(200, json={"id": 1}))
    with (
        Client("http://service", transport=strange, retry=None) as client,
        pytest.raises(errors.ServiceUnavailableError, match="same version"),
    ):
        client.job("x")


def test_following_gives_a_service_that_starts_again_its_time(client, request_):
    class Restarting(Client):
        """Breaks off twice, as a service does whose API is restarted."""

        breaks = 2

        def follow(self, job_id):
            if self.breaks:
                self.breaks -= 1
                raise errors.ServiceUnavailableError("the service broke off")
            return super().follow(job_id)

    pauses: list[float] = []
    job = client.submit(request_)
    client.__class__ = Restarting
    with JsonReporter() as reporter:
        done = follow_to_end(client, job, reporter, pause=pauses.append)
    assert done.state is JobState.SUCCEEDED
    assert pauses == [PAUSE_SECONDS] * 2


def test_a_service_that_stays_away_is_given_up(client, request_):
    class Away(Client):
        def follow(self, job_id):
            raise errors.ServiceUnavailableError("no service answers")

    pauses: list[float] = []
    job = client.submit(request_)
    client.__class__ = Away
    with (
        JsonReporter() as reporter,
        pytest.raises(errors.ServiceUnavailableError, match="no service answers"),
    ):
        follow_to_end(client, job, reporter, pause=pauses.append)
    assert sum(pauses) >= 50


def test_an_interruption_stays_one_when_the_cancel_fails(client, request_, tmp_path):
    class Impatient(JsonReporter):
        def show(self, job):
            def away(_):
                raise errors.ServiceUnavailableError("no service answers")

            client.cancel = away
            raise KeyboardInterrupt

    with Impatient() as reporter, pytest.raises(KeyboardInterrupt):
        segment_case(client, request_, tmp_path / "out", reporter)


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_sent(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.OptionError, match="--out"):
        require_writable(tmp_path / "file" / "out")
    require_writable(tmp_path / "made" / "later")


def test_square_brackets_in_a_path_are_shown_as_they_are(capsys):
    with BarReporter("case") as reporter:
        reporter.say("results: /data/[/bold]/[red]x")
    assert "/data/[/bold]/[red]x" in capsys.readouterr().err


def test_pages_of_a_service_below_a_path_follow_each_other():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        more = None if request.url.params.get("cursor") else "/below/v1/jobs?cursor=2"
        return httpx.Response(200, json={"jobs": [], "next": more})

    with Client(
        "http://service/below", transport=httpx.MockTransport(answer)
    ) as client:
        client.jobs(limit=3)
    assert asked == ["/below/v1/jobs"] * 2
