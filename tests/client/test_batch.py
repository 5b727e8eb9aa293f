"""A folder of cases: bounded in flight, resumable, each done once."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager

import pytest

from hanseg_shared import cli
from hanseg_shared.client import Client, session
from hanseg_shared.client.batch import IN_FLIGHT, SUMMARY, BatchRun, outcome_of
from hanseg_shared.client.batch_console import BatchBar, make_batch_reporter
from hanseg_shared.documents import (
    JobDocument,
    JobOptions,
    JobState,
    MrVerdict,
    OrganResult,
    Problem,
    RegistrationReport,
    TransformKind,
)
from hanseg_shared.errors import JobStateError, ServiceUnavailableError
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.io.cases import CaseFiles, PassedOver
from hanseg_shared.organs import OrganStatus
from tests.client.fake_service import NOW, FakeService


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def client(service):
    with Client("http://service", transport=service.transport, retry=None) as client:
        yield client


@pytest.fixture
def cases(tmp_path) -> list[CaseFiles]:
    made = []
    for number in range(10):
        ct = tmp_path / f"case_{number}_ct.nii.gz"
        ct.write_bytes(b"%d" % number)
        made.append(CaseFiles(name=f"case_{number}", ct=ct, mr=None))
    return made


@pytest.fixture
def batch(client, cases, tmp_path):
    return BatchRun(client, cases, JobOptions(), tmp_path / "out")


def again(batch: BatchRun, **changes) -> BatchRun:
    made = BatchRun(batch.client, batch.cases, batch.options, batch.out)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_every_case_is_done(batch, service):
    outcomes = batch.run()
    assert [outcome.case for outcome in outcomes] == [c.name for c in batch.cases]
    assert all(outcome.succeeded for outcome in outcomes)
    assert len(service.jobs) == 10


def test_few_cases_are_in_flight_at_a_time(batch, service):
    batch.run()
    assert service.most_in_flight == IN_FLIGHT


def test_a_second_run_does_nothing_again(batch, service):
    batch.run()
    outcomes = again(batch).run()
    assert len(service.jobs) == 10
    assert all(outcome.succeeded for outcome in outcomes)


def test_a_run_killed_half_way_goes_on_without_doing_a_case_twice(batch, service):
    class Killed(Exception):
        pass

    def kill(running: BatchRun) -> None:
        if len(running.outcomes) == 5:
            raise Killed

    with pytest.raises(Killed):
        again(batch, on_change=kill).run()
    outcomes = again(batch).run()
    assert len(outcomes) == len(service.jobs) == 10


def test_a_case_that_failed_gets_one_more_try_in_the_next_run(batch, service):
    service.road = (JobState.QUEUED, JobState.FAILED)
    assert not any(outcome.succeeded for outcome in batch.run())
    service.road = (JobState.QUEUED, JobState.SUCCEEDED)
    assert all(outcome.succeeded for outcome in again(batch).run())
    assert len(service.jobs) == 20


def test_other_options_are_another_job(batch, service):
    batch.run()
    again(batch, options=JobOptions(registration=TransformKind.NONE)).run()
    assert len(service.jobs) == 20


def test_a_changed_image_is_another_job(batch, service):
    batch.run()
    batch.cases[3].ct.write_bytes(b"another patient")
    again(batch).run()
    assert len(service.jobs) == 11


def test_a_refused_case_does_not_stop_the_others(batch, service):
    service.refusal = Problem(
        type="urn:x", title="t", status=422, detail="the CT is no CT"
    )
    outcomes = batch.run()
    assert {outcome.state for outcome in outcomes} == {"refused"}
    assert outcomes[0].reason == "the CT is no CT"


def test_the_summary_has_one_row_a_case(batch):
    batch.run()
    with (batch.out / SUMMARY).open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    assert rows[0]["state"] == "succeeded"
    assert {"case", "mr_verdict", "organs_found", "seconds"} <= set(rows[0])


def test_a_damaged_record_of_an_earlier_run_does_not_end_the_batch(batch, service):
    (batch.out / "case_3").mkdir(parents=True)
    (batch.out / "case_3" / "job.json").write_text('{"of": "another version"}')
    outcomes = batch.run()
    assert all(outcome.succeeded for outcome in outcomes)
    assert len(service.jobs) == 10


def test_a_case_whose_first_request_is_still_processed_is_sent_again(batch, client):
    pauses: list[float] = []
    busy = {"case_2": 3}

    class Busy(Client):
        def submit(self, request, *, idempotency_key=None):
            if busy.get(request.case):
                busy[request.case] -= 1
                raise JobStateError("the first request with this key is processed")
            return super().submit(request, idempotency_key=idempotency_key)

    client.__class__ = Busy
    batch.pause = pauses.append
    outcomes = batch.run()
    assert [outcome.case for outcome in outcomes] == [c.name for c in batch.cases]
    assert all(outcome.succeeded for outcome in outcomes)
    assert len(pauses) == 3


def test_a_batch_gives_a_service_that_starts_again_its_time(batch, client, service):
    pauses: list[float] = []
    calls = iter(range(1000))

    class Flaky(Client):
        def _call(self, call):
            if next(calls) % 3 == 1:
                raise ServiceUnavailableError("the service broke off")
            return super()._call(call)

    client.__class__ = Flaky
    batch.pause = pauses.append
    assert all(outcome.succeeded for outcome in batch.run())
    assert pauses
    assert len(service.jobs) == 10


def test_a_batch_gives_up_a_service_that_stays_away(batch, client):
    pauses: list[float] = []

    class Away(Client):
        def _call(self, call):
            raise ServiceUnavailableError("no service answers")

    client.__class__ = Away
    batch.pause = pauses.append
    with pytest.raises(ServiceUnavailableError, match="no service answers"):
        batch.run()
    assert sum(pauses) >= 50


def test_a_case_that_cannot_be_read_is_refused_and_the_others_are_done(batch):
    batch.cases[4].ct.unlink()
    outcomes = {outcome.case: outcome for outcome in batch.run()}
    assert outcomes["case_4"].state == "refused"
    assert "case_4_ct.nii.gz" in outcomes["case_4"].reason
    assert sum(outcome.succeeded for outcome in outcomes.values()) == 9


def test_the_summary_says_why_the_mr_was_rejected_and_what_the_checks_found():
    organ = OrganResult(
        name="Cochlea_L",
        label=8,
        status=OrganStatus.LOW_CONFIDENCE,
        flags=(
            Flag.of(FlagCode.FEW_VOXELS, 1, limit=8),
            Flag.of(FlagCode.PIECES_REMOVED, 2.48),
        ),
    )
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason="MR rejected: no")
    job = JobDocument(
        id="1",
        state=JobState.SUCCEEDED,
        created_at=NOW,
        organs=(organ,),
        registration=report,
        mr_verdict=report.verdict,
    )
    row = outcome_of("one", job)
    assert (row.mr_verdict, row.mr_reason) == ("rejected", "MR rejected: no")
    assert row.flags == (
        "Cochlea_L few_voxels voxels=1 limit=8; Cochlea_L pieces_removed ml=2.48"
    )


def test_remarks_are_in_the_summary_and_told_once(batch, service, cases, capsys):
    job = JobDocument(
        id="1",
        state=JobState.SUCCEEDED,
        created_at=NOW,
        remarks=("the CT: far away", "the MR: coarse"),
    )
    row = outcome_of("one", job)
    assert row.remarks == "the CT: far away | the MR: coarse"
    batch.outcomes["one"] = row
    for as_json in (False, True):
        reporter = make_batch_reporter(1, as_json=as_json)
        with reporter:
            reporter.show(batch)
            reporter.show(batch)
        shown = "".join(capsys.readouterr())
        assert shown.count("the CT: far away | the MR: coarse") == 1


def test_what_was_passed_over_is_in_the_summary(batch, tmp_path):
    skipped = PassedOver(tmp_path / "dose.nii.gz", "dose.nii.gz", "its name says dose")
    again(batch, passed_over=(skipped,)).run()
    with (batch.out / SUMMARY).open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 11
    assert rows[-1]["case"] == "dose.nii.gz"
    assert rows[-1]["state"] == "passed over"
    assert rows[-1]["reason"] == "its name says dose"


def test_the_bar_counts_cases_not_stages(batch):
    counted: list[tuple[float, int]] = []
    bar = BatchBar(total=len(batch.cases))

    def show(running: BatchRun) -> None:
        bar.show(running)
        (task,) = bar._progress.tasks
        counted.append((task.completed, len(running.outcomes)))

    again(batch, on_change=show).run()
    assert all(completed == ended for completed, ended in counted)
    assert counted[-1][0] == 10


@pytest.fixture
def folder(tmp_path, cases):
    """A folder as `hanseg batch` takes it."""
    made = tmp_path / "cohort"
    for case in cases:
        (made / case.name).mkdir(parents=True)
        (made / case.name / f"{case.name}_IMG_CT.nrrd").write_bytes(
            case.ct.read_bytes()
        )
    return made


@pytest.fixture
def hanseg(monkeypatch, capsys):
    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["hanseg", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return int(ended.value.code or 0), told.out, told.err

    return call


@pytest.fixture
def opened(monkeypatch, service) -> list[str]:
    """Each time that a service is looked for, or one started."""
    found: list[str] = []

    @contextmanager
    def open_client(*_, **__):
        found.append("opened")
        with Client(
            "http://service", transport=service.transport, retry=None
        ) as client:
            yield client

    monkeypatch.setattr(session, "open_client", open_client)
    return found


def test_nothing_is_started_when_nothing_is_left_to_do(
    hanseg, folder, tmp_path, opened
):
    out = tmp_path / "out"
    status, first, _ = hanseg("batch", folder, "--out", out)
    assert (status, len(opened)) == (0, 1)
    (out / SUMMARY).unlink()
    status, second, _ = hanseg("batch", folder, "--out", out)
    assert (status, len(opened)) == (0, 1)
    assert second == first
    assert (out / SUMMARY).is_file()


@pytest.mark.parametrize("columns", [80, 60])
def test_the_closing_table_fits_and_says_why_cases_failed(
    hanseg, folder, tmp_path, opened, service, monkeypatch, columns: int
):
    monkeypatch.setenv("COLUMNS", str(columns))
    service.road = (JobState.QUEUED, JobState.FAILED)
    status, out, err = hanseg("batch", folder, "--out", tmp_path / "out")
    assert status == 3
    table = [line for line in out.splitlines() if "failed" in line and ":" not in line]
    assert len(table) == 10
    assert all(len(line) <= columns for line in table)
    assert "case_3: failed: it broke" in out
    assert "10 cases: 10 failed" in out
    assert err.endswith("hanseg: 10 of 10 cases have no results\n")


def test_json_says_what_the_table_says(hanseg, folder, tmp_path, opened, service):
    service.road = (JobState.QUEUED, JobState.FAILED)
    status, out, err = hanseg("batch", folder, "--out", tmp_path / "out", "--json")
    assert (status, err) == (3, "")
    events = [json.loads(line) for line in out.splitlines()]
    cases = [event for event in events if event["event"] == "case"]
    assert len(cases) == 10
    assert {(each["state"], each["reason"]) for each in cases} == {
        ("failed", "it broke")
    }
    assert events[-2]["states"] == {"failed": 10}
    assert events[-1] == {
        "event": "error",
        "message": "10 of 10 cases have no results",
        "status": 3,
    }
