"""The bridge's small parts: settings, archives, UIDs of files, commands, the lock."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from hanseg_dicom import cli
from hanseg_dicom.archive import write_archive
from hanseg_dicom.bridge import Bridge, is_running, sole_bridge
from hanseg_dicom.choice import MANUFACTURER
from hanseg_dicom.cli import bridge as command
from hanseg_dicom.ledger import FILE, Ledger
from hanseg_dicom.orthanc import Orthanc
from hanseg_dicom.plan import Plan, PlannedInstance
from hanseg_dicom.records import CaseState
from hanseg_dicom.settings import PREFIX, BridgeSettings, read_bridge_settings
from hanseg_dicom.work import LONGEST_PAUSE_SECONDS, pause_seconds
from hanseg_shared.dicom import case as written
from hanseg_shared.documents import DicomOutput, JobOptions
from hanseg_shared.errors import (
    InputError,
    JobError,
    OptionError,
    ServiceUnavailableError,
)
from hanseg_shared.settings import OF_BRIDGE
from tests.bridge.conftest import World, series
from tests.bridge.fake_orthanc import FakeOrthanc
from tests.bridge.fake_service import made_results
from tests.docs.pages import PROJECT


def plan_of(*names: str) -> Plan:
    return Plan(ct=tuple(PlannedInstance(id=n, sop_uid=n) for n in names))


class TestSettings:
    def test_every_setting_is_known_to_all(self):
        own = {f"{PREFIX}{n.upper()}" for n in BridgeSettings.model_fields}
        assert (
            own - {f"{PREFIX}{n}" for n in ("URL", "LOG", "KEY", "KEY_FILE")}
            == OF_BRIDGE
        )

    def test_every_setting_is_explained(self):
        page = (PROJECT / "docs" / "reference" / "settings.md").read_text()
        assert not [name for name in OF_BRIDGE if f"`{name}`" not in page]

    def test_lists_are_separated_by_commas(self, monkeypatch):
        monkeypatch.setenv("HANSEG_BRIDGE_OUTPUTS", "rtstruct, seg")
        monkeypatch.setenv("HANSEG_BRIDGE_DESTINATIONS", "TPS,PACS")
        monkeypatch.setenv("HANSEG_URL", "http://api:8000")
        settings = read_bridge_settings()
        assert settings.outputs == (DicomOutput.RTSTRUCT, DicomOutput.SEG)
        assert settings.destinations == ("TPS", "PACS")
        assert settings.url == "http://api:8000"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("OUTPUTS", "rtstrct"),
            ("MR_DESCRIPTION", "(t1"),
            ("TEMPLATE", "../x"),
            ("POLL_SECONDS", "0"),
        ],
    )
    def test_a_value_that_makes_no_sense_is_refused(
        self, monkeypatch, name: str, value: str
    ):
        monkeypatch.setenv(f"{PREFIX}{name}", value)
        with pytest.raises(OptionError, match=f"^{PREFIX}{name}: "):
            read_bridge_settings()

    def test_a_misspelt_setting_is_refused(self, monkeypatch):
        monkeypatch.setenv("HANSEG_BRIDGE_ORTHANC_URI", "http://x")
        with pytest.raises(OptionError, match=r"HANSEG_BRIDGE_ORTHANC_URL\?"):
            read_bridge_settings()

    def test_the_password_is_not_shown(self):
        settings = BridgeSettings.model_validate({"orthanc_password": "hush"})
        assert settings.password == "hush"
        assert "hush" not in repr(settings)


class TestPlan:
    def test_the_key_does_not_depend_on_the_order(self):
        assert plan_of("1.2", "1.3").key == plan_of("1.3", "1.2").key
        assert plan_of("1.2").key != plan_of("1.2", "1.3").key

    def test_what_needs_an_mr_is_not_asked_for_without_one(self):
        outputs = (DicomOutput.RTSTRUCT, DicomOutput.REG, DicomOutput.MR)
        assert plan_of("1.2").options(outputs, "default").outputs == (
            DicomOutput.RTSTRUCT,
        )


def test_the_manufacturer_is_the_one_that_is_written():
    assert written.MANUFACTURER == MANUFACTURER


def test_an_archive_has_the_same_bytes_every_time(tmp_path: Path):
    fake = FakeOrthanc()
    fake.receive(*series("CT"))
    orthanc = Orthanc("http://orthanc", transport=fake.transport)
    (study,) = (each.id for each in orthanc.studies())
    (found,) = orthanc.series_of(study)
    instances = tuple(
        PlannedInstance(id=each.id, sop_uid=each.sop_uid)
        for each in orthanc.instances_of(found.id)
    )
    for name in ("a.zip", "b.zip"):
        write_archive(orthanc, instances, tmp_path / name)
    orthanc.close()
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {each.compress_type for each in archive.infolist()} == {0}
        assert archive.read("000001.dcm") == fake.instances[instances[0].id].content


def test_pauses_grow_up_to_the_longest():
    assert [pause_seconds(n) for n in range(3)] == [5.0, 10.0, 20.0]
    assert pause_seconds(1000) == LONGEST_PAUSE_SECONDS


def test_a_second_bridge_is_refused(tmp_path: Path):
    with sole_bridge(tmp_path / "data"):
        assert is_running(tmp_path / "data")
        with (
            pytest.raises(ServiceUnavailableError, match="another bridge already"),
            sole_bridge(tmp_path / "data"),
        ):
            pass
    assert not is_running(tmp_path / "data")
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700


def test_a_ledger_of_a_later_version_is_refused(tmp_path: Path):
    ledger = Ledger(tmp_path)
    ledger.put("version", "99")
    ledger.close()
    with pytest.raises(ServiceUnavailableError, match="later version"):
        Ledger(tmp_path)


def test_a_ledger_that_is_none_is_refused(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"no database" * 1000)
    with pytest.raises(ServiceUnavailableError, match="cannot be used"):
        Ledger(tmp_path)


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The ledger that the commands open; its bridge does not run."""
    monkeypatch.setenv("HANSEG_BRIDGE_DATA", str(tmp_path))
    found = Ledger(tmp_path)
    yield found
    found.close()


def find(ledger: Ledger, name: str, state: CaseState, reason: str = "") -> str:
    """Add a case; returns its name."""
    plan = plan_of(name)
    ledger.find_case("study", "", plan, JobOptions(), 1_000_000.0)
    ledger.move(plan.key, state, 1_000_000.0, reason=reason)
    return ledger.case(plan.key).name


def invoke(*arguments: str):
    return CliRunner().invoke(command, arguments)


class TestCommands:
    def test_status_without_a_bridge_says_so(self, ledger: Ledger):
        done = invoke("status")
        assert isinstance(done.exception, ServiceUnavailableError)
        assert "no bridge runs" in done.exception.message

    def test_status_where_none_ever_ran_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HANSEG_BRIDGE_DATA", str(tmp_path))
        done = invoke("status")
        assert isinstance(done.exception, ServiceUnavailableError)
        assert "no bridge ever ran" in done.exception.message

    def test_status_lists_what_is_under_way_and_what_failed(
        self, ledger: Ledger, tmp_path: Path
    ):
        ledger.put("beat", "1e12")
        find(ledger, "1.1", CaseState.DONE)
        failed = find(ledger, "1.2", CaseState.FAILED, "the CT is tilted")
        under_way = find(ledger, "1.3", CaseState.SUBMITTED)
        with sole_bridge(tmp_path):
            done = invoke("status", "--json")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert [each.get("case") for each in events] == [under_way, failed, None]
        assert events[1]["reason"] == "the CT is tilted"
        assert [events[-1][n] for n in ("under_way", "failed", "done")] == [1, 1, 1]
        assert isinstance(done.exception, JobError)

    def test_of_too_many_cases_those_under_way_are_listed(
        self, ledger: Ledger, tmp_path: Path, monkeypatch
    ):
        monkeypatch.setattr(cli, "SHOWN", 3)
        ledger.put("beat", "1e12")
        under_way = [find(ledger, n, CaseState.SUBMITTED) for n in ("1.1", "1.2")]
        failed = {find(ledger, n, CaseState.FAILED) for n in ("1.3", "1.4")}
        with sole_bridge(tmp_path):
            done = invoke("status", "--json")
        events = [json.loads(line) for line in done.stdout.splitlines()]
        *listed, last = (each["case"] for each in events[:-1])
        assert set(listed) == set(under_way)
        assert last in failed

    def test_a_superseded_case_is_not_done(self, ledger: Ledger, tmp_path: Path):
        ledger.put("beat", "1e12")
        find(ledger, "1.1", CaseState.DONE)
        find(ledger, "1.2", CaseState.SUPERSEDED, "its images are gone")
        with sole_bridge(tmp_path):
            done = invoke("status")
        assert "0 under way, 0 failed, 1 done" in done.stdout

    def test_status_of_a_bridge_whose_cases_are_done_is_success(
        self, ledger: Ledger, tmp_path: Path
    ):
        ledger.put("beat", "1e12")
        find(ledger, "1.1", CaseState.DONE)
        with sole_bridge(tmp_path):
            done = invoke("status")
        assert done.exit_code == 0
        assert "0 under way, 0 failed, 1 done" in done.stdout

    def test_a_bridge_that_does_no_rounds_is_not_well(
        self, ledger: Ledger, tmp_path: Path
    ):
        ledger.put("beat", "1000")
        with sole_bridge(tmp_path):
            done = invoke("health")
        assert isinstance(done.exception, ServiceUnavailableError)

    def test_a_failed_case_can_be_done_again(self, ledger: Ledger):
        name = find(ledger, "1.2", CaseState.FAILED, "x")
        before = ledger.cases()[0].idempotency_key
        assert invoke("retry", name).exit_code == 0
        assert ledger.cases()[0].state is CaseState.FOUND
        assert ledger.cases()[0].idempotency_key != before

    @pytest.mark.parametrize(
        ("state", "why"),
        [(CaseState.SUBMITTED, "not ended"), (CaseState.SUPERSEDED, "superseded")],
    )
    def test_other_cases_cannot(self, ledger: Ledger, state: CaseState, why: str):
        done = invoke("retry", find(ledger, "1.2", state))
        assert isinstance(done.exception, InputError)
        assert why in done.exception.message

    def test_an_unknown_case_is_refused(self, ledger: Ledger):
        done = invoke("retry", "orthanc-1")
        assert isinstance(done.exception, InputError)


def test_a_retried_case_makes_another_job(world: World):
    world.service.results = lambda *_: {}
    world.round()
    world.orthanc.receive(*series("CT"), *series("MR"))
    world.run()
    assert world.states == [CaseState.FAILED]
    assert isinstance(world.bridge, Bridge)
    world.bridge.ledger.begin_anew(world.cases[0].key, world.now)
    world.service.results = made_results
    world.run()
    assert len(world.jobs) == 2
    assert world.states == [CaseState.DONE]


def test_the_ledger_can_be_read_while_the_bridge_writes(world: World):
    world.round()
    reader = sqlite3.connect(f"file:{world.data / FILE}?mode=ro", uri=True)
    world.orthanc.receive(*series("CT"), *series("MR"))
    world.run()
    (count,) = reader.execute("SELECT count(*) FROM cases").fetchone()
    reader.close()
    assert count == 1
