"""The worklist as a person uses it: sign in, send a case, watch it, narrow the list."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from hanseg_shared.access import Scope
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.tables import Tables
from tests.browser.axe import serious_faults
from tests.browser.conftest import CASE_MS
from tests.jobs.fakes import CT, PROBLEM


@pytest.fixture
def make_job(tables):
    """Make a job that no worker hears of."""

    def make(owner: str, name: str) -> str:
        job_id = uuid.uuid4().hex
        tables.jobs.create(
            NewJob(id=job_id, inputs=(CT,), case_name=name, owned_by=owner)
        )
        tables.jobs.request_cancel(job_id)
        return job_id

    return make


def claim(tables: Tables, job_id: str) -> Job:
    """Claim a job's first stage, so that no worker takes it."""
    job = tables.claims.claim(job_id, Stage.REGISTER, lease_seconds=600.0)
    assert job is not None
    return job


@pytest.fixture
def start_job(tables):
    """Make a job whose first stage runs, and never ends."""

    def make(owner: str, name: str) -> None:
        job_id = uuid.uuid4().hex
        tables.jobs.create(
            NewJob(id=job_id, inputs=(CT,), case_name=name, owned_by=owner)
        )
        claim(tables, job_id)

    return make


def cases(page: Any) -> list[str]:
    return [each.strip() for each in page.locator("tr[data-job] th").all_inner_texts()]


def test_without_a_key_there_is_a_form_and_nothing_else(open_page):
    page = open_page()
    page.get_by_label("Access key").fill("hanseg_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").filter(has_text="key").wait_for()
    assert page.locator("tr[data-job]").count() == 0


def test_who_signs_in_sees_their_own_jobs_alone(signed_in, make_job):
    make_job("carla", "carlas case")
    make_job("dirk", "dirks case")
    page = signed_in("carla", Scope.READ, Scope.SUBMIT)
    page.get_by_role("row", name="carlas case").wait_for()
    assert cases(page) == ["carlas case"]
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Access key").wait_for()
    page.reload()
    page.get_by_label("Access key").wait_for()


def test_who_has_nothing_is_told_what_to_do(signed_in):
    page = signed_in("emil", Scope.READ, Scope.SUBMIT)
    page.get_by_text("Drop a planning CT here").wait_for()


def test_who_may_only_read_is_offered_nothing_else(signed_in, make_job):
    make_job("fritz", "a case")
    page = signed_in("fritz", Scope.READ)
    page.get_by_role("row", name="a case").wait_for()
    assert page.get_by_role("button", name="Send a case").count() == 0
    assert page.get_by_role("button", name="Delete a case").count() == 0


def test_a_case_is_sent_and_seen_to_finish(signed_in, case):
    page = signed_in("gerd", Scope.READ, Scope.SUBMIT)
    page.get_by_role("button", name="Send a case").click()
    page.get_by_label("Files", exact=True).set_input_files([str(each) for each in case])
    assert page.get_by_label("What phantom_CT.nii.gz is").input_value() == "ct"
    assert page.get_by_label("What phantom_MR.nii.gz is").input_value() == "mr"
    assert page.get_by_label("Case name").input_value() == "phantom"
    page.get_by_label("Model", exact=True).select_option("quick")
    page.get_by_role("button", name="Send", exact=True).click()
    row = page.get_by_role("row", name="phantom")
    row.wait_for()
    row.get_by_text("Done").wait_for(timeout=CASE_MS)
    row.get_by_text("Not reviewed").wait_for()
    assert "MR" in row.inner_text()


def test_what_cannot_be_used_is_said_in_a_sentence(signed_in, tmp_path):
    image = tmp_path / "ct.nii.gz"
    image.write_bytes(b"no image")
    page = signed_in("hans", Scope.READ, Scope.SUBMIT)
    page.get_by_role("button", name="Send a case").click()
    page.get_by_label("Files", exact=True).set_input_files(str(image))
    page.get_by_role("button", name="Send", exact=True).click()
    said = page.get_by_role("dialog").get_by_role("alert")
    said.wait_for()
    assert re.search(r"^Ct", said.inner_text())


def test_the_list_is_narrowed_and_widened(signed_in, make_job):
    for name in ("Lena", "Lothar", "Mia"):
        make_job("irma", name)
    page = signed_in("irma", Scope.READ, Scope.SUBMIT)
    page.get_by_role("row", name="Mia").wait_for()
    page.keyboard.press("/")
    page.keyboard.type("lo")
    page.get_by_role("row", name="Lena").wait_for(state="detached")
    assert cases(page) == ["Lothar"]
    page.get_by_label("State: show only").select_option("failed")
    page.get_by_text("No case fits these filters").wait_for()
    page.get_by_role("button", name="Show all cases").click()
    page.get_by_role("row", name="Lena").wait_for()
    assert len(cases(page)) == 3


def test_a_job_is_deleted_after_a_question(signed_in, make_job):
    make_job("jana", "to go")
    page = signed_in("jana", Scope.READ, Scope.SUBMIT)
    page.get_by_role("button", name="Delete to go").click()
    page.get_by_role("button", name="Keep it").click()
    assert page.get_by_role("dialog").count() == 0
    page.get_by_role("button", name="Delete to go").press("Enter")
    page.get_by_role("button", name="Delete the case").press("Enter")
    page.locator("tr[data-state=expired]").wait_for()


def test_a_running_case_is_cancelled_after_a_question(signed_in, start_job):
    start_job("kurt", "to stop")
    page = signed_in("kurt", Scope.READ, Scope.SUBMIT)
    page.get_by_role("button", name="Cancel to stop").click()
    page.get_by_role("button", name="Keep it").click()
    page.get_by_role("button", name="Cancel to stop").click()
    page.get_by_role("button", name="Cancel the case").click()
    row = page.get_by_role("row", name="to stop")
    row.get_by_text("Cancelling", exact=True).wait_for()
    assert row.get_by_role("button").count() == 0


def test_a_batch_has_a_bar_that_follows_its_jobs(signed_in, tables):
    members = [
        NewJob(id=uuid.uuid4().hex, inputs=(CT,), case_name=name, owned_by="lars")
        for name in ("Anna", "Bert", "Carl")
    ]
    tables.batches.create("spring", members, owned_by="lars")
    first, *_ = [claim(tables, job.id) for job in members]
    page = signed_in("lars", Scope.READ, Scope.SUBMIT)
    bar = page.get_by_role("button", name="spring")
    bar.get_by_text("0 of 3 done").wait_for()
    assert tables.claims.fail(first, PROBLEM)
    bar.get_by_text("1 of 3 done, 1 failed").wait_for()
    bar.click()
    assert bar.get_attribute("aria-pressed") == "true"
    assert len(cases(page)) == 3


def test_a_new_job_appears_by_itself(signed_in, make_job):
    page = signed_in("karl", Scope.READ, Scope.SUBMIT)
    page.get_by_text("Live").wait_for()
    make_job("karl", "just sent")
    page.get_by_role("row", name="just sent").wait_for()


def test_a_revoked_key_shows_nothing_from_then_on(signed_in, make_job, tables):
    make_job("lisa", "hers")
    page = signed_in("lisa", Scope.READ, Scope.SUBMIT)
    page.get_by_role("row", name="hers").wait_for()
    for each in tables.api_keys.list():
        if each.owner == "lisa":
            tables.api_keys.revoke(each.id)
    page.get_by_label("State: show only").select_option("failed")
    page.get_by_label("Access key").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(signed_in, open_page, make_job, scheme):
    make_job("mona", f"seen in {scheme}")
    page = signed_in("mona", color_scheme=scheme)
    page.get_by_role("row", name=f"seen in {scheme}").wait_for()
    assert serious_faults(page) == []
    page.get_by_role("button", name="Send a case").click()
    assert serious_faults(page) == []
    assert serious_faults(open_page(color_scheme=scheme)) == []
