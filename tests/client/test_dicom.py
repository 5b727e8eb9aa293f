"""Folders and archives of DICOM through the client and the command line."""

from __future__ import annotations

import io
import json
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from hanseg_shared import cli
from hanseg_shared.client import Client, JobRequest, session
from hanseg_shared.client.batch import BatchRun
from hanseg_shared.client.inputs import sent_sha256
from hanseg_shared.dicom.template import Structure, Template
from hanseg_shared.documents import JobOptions, JobState
from hanseg_shared.errors import InputError
from hanseg_shared.io.cases import find_cases
from tests.client.fake_service import FakeService
from tests.io.files import nifti, written

HEAD = bytes(128) + b"DICM"
EYE = Structure(name="Eye_L", organs=("Eye_AL", "Eye_PL"))
CLINIC = Template(name="clinic", structures=(EYE,))


@pytest.fixture
def service(monkeypatch) -> FakeService:
    made = FakeService()

    @contextmanager
    def opened(url, **_):
        with Client("http://service", transport=made.transport, retry=None) as client:
            yield client

    monkeypatch.setattr(session, "open_client", opened)
    monkeypatch.setattr(session, "open_running", opened)
    return made


@pytest.fixture
def client(service: FakeService):
    with Client("http://service", transport=service.transport, retry=None) as client:
        yield client


@pytest.fixture
def patient(tmp_path) -> Path:
    folder = tmp_path / "patient"
    for name in ("CT/1", "CT/2", "MR/1"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(HEAD + name.encode())
    (folder / "readme.txt").write_text("not DICOM")
    return folder


@pytest.fixture
def hanseg(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["hanseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


def entries(sent: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(sent)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_folder_is_sent_as_an_archive_of_its_dicom_files(client, service, patient):
    client.submit(JobRequest(patient))
    assert set(entries(service.sent["ct"])) == {"CT/1", "CT/2", "MR/1"}


def test_packing_leaves_nothing_behind(client, patient, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    client.submit(JobRequest(patient))
    assert list((tmp_path / "scratch").iterdir()) == []


def test_an_archive_is_sent_as_it_is(client, service, tmp_path):
    with zipfile.ZipFile(tmp_path / "ct.zip", "w") as archive:
        archive.writestr("1.dcm", HEAD)
    client.submit(JobRequest(tmp_path / "ct.zip"))
    assert service.sent["ct"] == (tmp_path / "ct.zip").read_bytes()


def test_all_that_is_asked_of_dicom_is_sent(client, service, patient, tmp_path):
    (tmp_path / "reg.dcm").write_bytes(HEAD + b"reg")
    client.submit(
        JobRequest(
            patient / "CT",
            patient / "MR",
            reg=tmp_path / "reg.dcm",
            ct_series="1.2",
            mr_series="1.3",
            template=CLINIC,
        )
    )
    assert service.sent["reg"] == HEAD + b"reg"
    asked = json.loads(service.sent["request"])
    assert (asked["ct_series"], asked["mr_series"]) == ("1.2", "1.3")
    assert Template.model_validate(asked["template_document"]) == CLINIC


def test_a_folder_without_dicom_is_refused(client, tmp_path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(InputError, match="letters: the folder holds no DICOM"):
        client.submit(JobRequest(tmp_path / "letters"))


def test_a_batch_of_folders_is_resumed_by_what_was_sent(client, service, tmp_path):
    for name in ("anna", "bert"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "1").write_bytes(HEAD + name.encode())
    cases = find_cases(tmp_path / "in").cases
    for _ in range(2):
        run = BatchRun(client, cases, JobOptions(), tmp_path / "out")
        assert all(each.succeeded for each in run.run())
    assert len(service.jobs) == 2


def test_equal_folders_are_sent_alike(patient, tmp_path):
    other = tmp_path / "other"
    for path in patient.rglob("*"):
        if path.is_file():
            target = other / path.relative_to(patient)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    assert sent_sha256(patient) == sent_sha256(other)


class TestSegment:
    def test_dicom_asks_for_all_objects(self, hanseg, service, patient, tmp_path):
        status, _, told = hanseg(
            "segment", patient, "--dicom", "--out", tmp_path / "out"
        )
        assert status == 0, told
        (job,) = service.jobs.values()
        assert job.options.outputs == ("rtstruct", "seg", "reg", "mr", "report")

    @pytest.mark.parametrize(
        "asked",
        [("--dicom",), ("--template", "clinic"), ("--ct-series", "1.2")],
    )
    def test_what_needs_dicom_is_refused_without(
        self, hanseg, service, tmp_path, asked
    ):
        ct = written(tmp_path / "ct.nii.gz", nifti())
        status, _, told = hanseg("segment", ct, *asked, "--out", tmp_path / "out")
        assert status == 2
        assert f"{asked[0]} needs DICOM" in told
        assert service.jobs == {}

    def test_a_template_is_a_name_or_a_file(self, hanseg, service, patient, tmp_path):
        out = tmp_path / "out"
        hanseg("segment", patient, "--template", "clinic@2", "--out", out)
        assert list(service.jobs.values())[-1].options.template == "clinic@2"
        file = tmp_path / "clinic.json"
        file.write_text(CLINIC.model_dump_json())
        hanseg("segment", patient, "--template", file, "--out", out)
        assert json.loads(service.sent["request"])["template_document"]["name"] == (
            "clinic"
        )

    def test_a_template_that_is_none_is_refused(self, hanseg, patient, tmp_path):
        file = tmp_path / "clinic.json"
        file.write_text('{"name": "clinic", "structures": []}')
        status, _, told = hanseg(
            "segment", patient, "--template", file, "--out", tmp_path / "out"
        )
        assert status == 2
        assert "structures" in told


class TestTemplates:
    def test_they_are_listed(self, hanseg, service):
        status, out, _ = hanseg("templates", "list")
        assert status == 0
        assert "clinic" in out

    def test_one_is_shown_as_it_is_saved(self, hanseg, service, tmp_path):
        file = tmp_path / "clinic.json"
        file.write_text(CLINIC.model_dump_json())
        status, out, told = hanseg("templates", "put", file)
        assert (status, out.strip()) == (0, "clinic@1"), told
        _, shown, _ = hanseg("templates", "show", "clinic")
        assert Template.model_validate_json(shown) == CLINIC

    def test_one_that_is_not_there_is_bad_input(self, hanseg, service):
        status, _, told = hanseg("templates", "show", "nowhere")
        assert status == 2
        assert "nowhere" in told

    @pytest.mark.parametrize("command", ["batch", "watch"])
    def test_many_cases_take_names_only(
        self, hanseg, service, patient, tmp_path, command
    ):
        file = tmp_path / "clinic.json"
        file.write_text(CLINIC.model_dump_json())
        status, _, told = hanseg(
            command, patient, "--template", file, "--out", tmp_path / "out"
        )
        assert status == 2
        assert "hanseg templates put" in told

    @pytest.mark.parametrize("asked", [("--dicom",), ("--template", "clinic")])
    def test_a_batch_that_needs_dicom_says_why(self, hanseg, service, tmp_path, asked):
        folder = tmp_path / "in"
        folder.mkdir()
        written(folder / "anna_ct.nii.gz", nifti())
        status, _, told = hanseg("batch", folder, *asked, "--out", tmp_path / "out")
        assert status == 2
        assert f"{asked[0]} needs DICOM" in told
        assert service.jobs == {}


def test_the_states_of_a_job_are_the_same(client, patient):
    job = client.submit(JobRequest(patient))
    assert [each.state for each in client.follow(job.id)][-1] is JobState.SUCCEEDED
