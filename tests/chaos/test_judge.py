"""The judge finds what is planted; without anything planted it finds nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hanseg_lab.quick_model import NAME
from hanseg_segmentation.results.manifest import make_manifest
from hanseg_shared.client import JobRequest
from hanseg_shared.documents import JobState, ModelSummary, ResultFile
from hanseg_shared.jobs import schema
from hanseg_shared.jobs.audit import Event
from hanseg_shared.jobs.record import Job, NewJob, StageResult
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.jobs.stores.files import hash_file
from hanseg_shared.jobs.tables.keys import KeyClaim
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.result_files import MANIFEST, RECORD, SEGMENTATION, SIGNATURE
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import PublicKey, signing_key
from hanseg_shared.signing.manifest import sign
from tests.chaos import judge as judging
from tests.chaos.callers import Case, Sent
from tests.chaos.judge import Reference, Verdict, judge, take_prints
from tests.jobs.fakes import CT

MODEL = ModelSummary(name=NAME, version="1", sha256="a" * 64)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "QUIET_SECONDS", 0.0)


class Finished:
    """A house without processes, with one job that has ended."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings(data=folder / "data")
        self.settings.scratch.mkdir(parents=True)
        self.tables: Tables = open_tables(self.settings)
        self.store = PayloadStore(self.settings.store)
        self.store.bind(self.tables.installation.identity())
        self.tables.audit.record(Event("submit", subject="a job"))
        self.folder = folder
        self.case = Case("ct", JobRequest(folder / "ct"))
        self.case.request.ct.write_bytes(b"an image")
        self.job = self.make_job("key")
        prints = take_prints(self.job, self.store, self.tables)
        self.references = {"ct": Reference(JobState.SUCCEEDED, prints)}
        self.sent = [Sent("key", self.case, {self.job.id})]

    def make_job(self, key: str, *, labels: bytes = b"labels") -> Job:
        claim = self.tables.keys.reserve(key, "asked")
        job_id = f"job-of-{key}"
        ct = self.store.put(job_id, self.case.request.ct)
        image = CT.model_copy(update={"sha256": ct.sha256, "bytes": ct.bytes})
        new = NewJob(id=job_id, inputs=(image,), case_name=key)
        held = claim if isinstance(claim, KeyClaim) else None
        job = self.tables.jobs.create(new, key=held)
        for stage in Stage:
            claimed = self.tables.claims.claim(job.id, stage, lease_seconds=30.0)
            assert claimed is not None
            result = StageResult(model=MODEL)
            if stage is Stage.PACKAGE:
                result = StageResult(files=self._package(claimed, labels))
            assert self.tables.claims.finish_stage(claimed, stage, result)
        return self.tables.jobs.get(job.id)

    def _package(self, job: Job, labels: bytes) -> tuple[ResultFile, ...]:
        files = (
            self.put(job, SEGMENTATION, labels),
            self.put(job, RECORD, f'{{"id": "{job.id}", "organs": 6}}'.encode()),
        )
        key = signing_key(self.settings)
        self.tables.signing_keys.add(PublicKey.of(key).text)
        content = make_manifest(job, files, finished_at=1.0).canonical()
        signature = sign(content, key).model_dump_json().encode()
        return (
            *files,
            self.put(job, MANIFEST, content),
            self.put(job, SIGNATURE, signature),
        )

    def put(self, job: Job, name: str, content: bytes) -> ResultFile:
        path = self.folder / "written"
        path.write_bytes(content)
        payload = self.store.put(job.id, path)
        return ResultFile(
            name=name, sha256=payload.sha256, bytes=payload.bytes, media_type="x/y"
        )

    def payload(self, name: str) -> Path:
        file = self.job.file(name)
        assert file is not None
        return self.settings.data / "payloads" / self.job.id / file.sha256

    def judge(self) -> Verdict:
        return judge(self.settings, self.tables, self.sent, self.references)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Finished]:
    house = Finished(tmp_path)
    yield house
    house.tables.close()


def test_nothing_is_found_where_nothing_is_wrong(house):
    verdict = house.judge()
    assert verdict.is_good
    assert verdict.jobs == 1


def test_two_runs_differ_in_nothing_that_counts(house):
    other = house.make_job("another")
    house.sent.append(Sent("another", house.case, {other.id}))
    house.judge().require_good()


def test_a_changed_byte_of_a_result_is_found(house):
    house.payload(SEGMENTATION).write_bytes(b"labelz")
    assert "has other bytes" in house.judge().wrong[0]


def test_a_result_that_differs_from_a_calm_run_is_found(house):
    other = house.make_job("another", labels=b"other labels")
    house.sent.append(Sent("another", house.case, {other.id}))
    wrong = house.judge().wrong
    assert any(f"{SEGMENTATION} differs" in each for each in wrong)


def test_a_record_that_says_otherwise_is_found(house):
    calm = house.references["ct"]
    record = calm.files[RECORD].replace("6", "7")
    files = calm.files | {RECORD: record}
    house.references["ct"] = dataclasses.replace(calm, files=files)
    assert f"{RECORD} differs" in house.judge().wrong[0]


def test_a_manifest_that_was_altered_is_found(house):
    text = house.payload(MANIFEST).read_bytes().replace(b"quick", b"other")
    house.payload(MANIFEST).write_bytes(text)
    assert house.judge().wrong


def test_a_job_that_failed_instead_is_found(house):
    calm = Reference(JobState.FAILED, {})
    house.references["ct"] = calm
    assert "is succeeded" in house.judge().wrong[0]


def test_a_job_that_has_not_ended_is_found(house):
    with house.tables.database.write() as connection:
        connection.execute(schema.jobs.update().values(state=JobState.SEGMENTING))
    assert "is segmenting" in house.judge().lost[0]


def test_a_job_without_a_row_is_found(house):
    house.sent.append(Sent("gone", house.case, {"no-such-job"}))
    assert "no row has" in house.judge().lost[0]


def test_a_submission_that_was_never_accepted_is_found(house):
    house.sent.append(Sent("refused", house.case, refusal="full"))
    assert "never accepted" in house.judge().lost[0]


def test_a_second_job_of_one_submission_is_found(house):
    with house.tables.database.write() as connection:
        connection.execute(
            schema.jobs.insert().from_select(
                [column.name for column in schema.jobs.c],
                sa.select(
                    *(
                        sa.literal("a-second-one") if column.name == "id" else column
                        for column in schema.jobs.c
                    )
                ),
            )
        )
    assert set(house.judge().doubled) == {
        "key: 2 jobs",
        "nobody sent job a-second-one",
    }


def test_two_answers_to_one_key_are_found(house):
    other = house.make_job("another")
    house.sent[0].job_ids.add(other.id)
    assert "answered with jobs" in house.judge().doubled[0]


def test_a_file_that_is_there_twice_is_found(house):
    files = [file.model_dump(mode="json") for file in house.job.files]
    with house.tables.database.write() as connection:
        connection.execute(schema.jobs.update().values(files=[*files, files[0]]))
    assert "more than once" in house.judge().doubled[0]


@pytest.mark.parametrize("name", ["attempt-x-1", "request-x", "tmpxyz"])
def test_what_is_left_in_the_scratch_folder_is_found(house, name):
    (house.settings.scratch / name).mkdir()
    assert house.judge().faults == [f"scratch: {name} is left"]


def test_a_file_of_the_store_that_no_row_names_is_found(house):
    late = house.folder / "late"
    late.write_bytes(b"late")
    house.store.put(house.job.id, late)
    [fault] = house.judge().faults
    assert hash_file(late).sha256 in fault


def test_what_the_sweep_would_not_delete_of_the_store_is_found(house):
    house.settings.data.joinpath("payloads", "database").write_text("another")
    late = house.folder / "late"
    late.write_bytes(b"late")
    house.store.put("nobody", late)
    assert house.judge().faults == ["store: nobody is nobody's"]


def test_a_key_without_its_job_is_found(house):
    house.tables.keys.reserve("forgotten", "asked")
    assert house.judge().faults == ["database: 1 unsettled keys are left"]


def test_a_changed_audit_log_is_found(house):
    with house.tables.database.write() as connection:
        connection.execute(schema.audit.update().values(line='{"what": "nothing"}'))
    [fault] = house.judge().faults
    assert fault.startswith("audit log")


def test_a_job_that_is_still_held_is_found(house):
    with house.tables.database.write() as connection:
        connection.execute(schema.jobs.update().values(token="t"))
    assert house.judge().faults == ["database: 1 claims on jobs are left"]
