"""What is deleted is gone whole, whatever else is being done with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hanseg_shared.jobs.store import PayloadStore
from tests.api.fakes import CT
from tests.api.requests import announce, assert_problem, new_job, submit, upload
from tests.api.test_stow import STUDIES, STUDY, instances, store

NAME = "Planted^Trillian"


@pytest.fixture
def before(monkeypatch) -> Callable[[str, Callable[[], None]], None]:
    """Has something done once, before a method of the store is called."""

    def install(method: str, act: Callable[[], None]) -> None:
        original = getattr(PayloadStore, method)

        def call(*arguments: object, **named: object) -> object:
            monkeypatch.setattr(PayloadStore, method, original)
            act()
            return original(*arguments, **named)

        monkeypatch.setattr(PayloadStore, method, call)

    return install


@pytest.fixture
def after(monkeypatch) -> Callable[[str, Callable[[], None]], None]:
    """Has something done once, after a method of the store was called."""

    def install(method: str, act: Callable[[], None]) -> None:
        original = getattr(PayloadStore, method)

        def call(*arguments: object, **named: object) -> object:
            monkeypatch.setattr(PayloadStore, method, original)
            found = original(*arguments, **named)
            act()
            return found

        monkeypatch.setattr(PayloadStore, method, call)

    return install


def deleting(api, path: str) -> Callable[[], None]:
    def delete() -> None:
        assert api.delete(path).status_code == 204

    return delete


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_upload_that_is_deleted_while_it_comes_leaves_nothing_and_is_told(
    api, services, moment, before, after
):
    path = announce(api, CT).headers["location"]
    {"before": before, "after": after}[moment]("put", deleting(api, path))
    answer = api.put(f"{path}/content", content=CT)
    assert_problem(answer, 404, "not-found", "was deleted while its content came")
    assert services.store.owners() == []


def test_an_upload_that_is_deleted_while_a_job_fetches_it_is_no_fault(api, before):
    upload_id = upload(api, CT)
    before("open", deleting(api, f"/v1/uploads/{upload_id}"))
    answer = api.post("/v1/jobs", json={"ct": upload_id})
    assert_problem(answer, 422, "bad-option", "there is no upload")


def test_an_upload_that_is_deleted_while_a_job_is_made_of_it_is_no_fault(
    api, services, before
):
    upload_id = upload(api, CT)
    before("adopt", deleting(api, f"/v1/uploads/{upload_id}"))
    answer = api.post("/v1/jobs", json={"ct": upload_id})
    assert_problem(answer, 409, "wrong-state", "was deleted while a job was made of it")
    assert services.store.owners() == []
    assert api.get("/v1/jobs").json()["jobs"] == []


def test_a_job_that_is_deleted_while_it_is_tried_again_is_no_fault(
    api, services, before
):
    job_id = new_job(api)
    api.post(f"/v1/jobs/{job_id}/cancel")
    before("adopt", deleting(api, f"/v1/jobs/{job_id}"))
    answer = api.post(f"/v1/jobs/{job_id}/retry")
    assert_problem(answer, 409, "wrong-state", "was deleted while a job was made of it")
    assert services.store.owners() == []


def test_an_image_that_is_missing_without_a_deletion_stays_a_fault(
    api, services, before
):
    upload_id = upload(api, CT)
    before("adopt", lambda: services.store.purge(f"upload-{upload_id}"))
    assert api.post("/v1/jobs", json={"ct": upload_id}).status_code == 500


def test_a_study_that_is_deleted_while_it_is_stored_has_rows_with_files_only(
    api, services, after
):
    first, *others = instances()
    store(api, [first])
    after("put", deleting(api, f"{STUDIES}/{STUDY}"))
    assert store(api, others).status_code == 200
    stored = services.tables.dicom_instances.list_study(STUDY)
    assert len(stored) == len(others)
    assert all(services.store.exists(each.owner, each.sha256) for each in stored)


def test_an_instance_that_comes_while_its_study_is_deleted_is_deleted_with_it(
    api, services, before
):
    first, *others = instances()
    store(api, [first])
    before("purge", lambda: store(api, others))
    assert api.delete(f"{STUDIES}/{STUDY}").status_code == 204
    assert services.tables.dicom_instances.list_study(STUDY) == []
    assert services.store.owners() == []


def test_a_deleted_batch_keeps_nothing_of_its_jobs_or_its_name(api, services):
    cases = [{"name": NAME, "ct": upload(api, CT + bytes([n]))} for n in range(1)]
    sent = {"name": NAME, "cases": cases}
    batch = api.post("/v1/batches", json=sent).json()
    [job] = api.get(batch["links"]["jobs"]).json()["jobs"]
    path = batch["links"]["self"]

    assert api.delete(path).status_code == 204
    left = api.get(path).json()
    assert (left["name"], left["counts"]["expired"]) == (None, 1)
    assert api.get(f"/v1/jobs/{job['id']}").json()["case"] is None
    assert job["id"] not in services.store.owners()
    assert api.delete(path).status_code == 204
    assert_problem(api.delete(f"/v1/batches/{'0' * 32}"), 404, "not-found")


def test_a_tombstone_says_what_was_removed_and_when(api, worker):
    job_id = new_job(api)
    assert api.get(f"/v1/jobs/{job_id}").json()["removed"] == []
    worker.succeed(job_id, {"segmentation.nii.gz": b"labels"})
    api.delete(f"/v1/jobs/{job_id}")
    tombstone = api.get(f"/v1/jobs/{job_id}").json()
    assert [(each["what"], each["files"]) for each in tombstone["removed"]] == [
        ("inputs", 1),
        ("results", 1),
    ]
    assert {each["why"] for each in tombstone["removed"]} == {"deleted"}
    assert tombstone["removed"][0]["at"] == tombstone["expires_at"]


def find_name(folder: Path) -> list[str]:
    return [
        path.name
        for path in folder.rglob("*")
        if path.is_file() and NAME.encode() in path.read_bytes()
    ]


def test_after_delete_no_byte_of_the_data_folder_names_the_case(
    api, services, settings, worker
):
    job_id = submit(api, CT + NAME.encode(), case=NAME, key="a-key").json()["id"]
    cases = [{"name": NAME, "ct": upload(api, CT + NAME.encode())}]
    batch = api.post("/v1/batches", json={"name": NAME, "cases": cases}).json()
    worker.succeed(job_id, {"job.json": NAME.encode()})
    (settings.data / "made").unlink()  # the fake worker's own
    assert len(find_name(settings.data)) > 3  # the control: it would be found

    api.delete(f"/v1/jobs/{job_id}")
    api.delete(batch["links"]["self"])
    api.delete(f"/v1/uploads/{cases[0]['ct']}")
    assert find_name(settings.data) == []
