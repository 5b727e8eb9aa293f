"""No page has a serious fault for who cannot see well, in any state, light or dark.

Pages as they usually are have such a test beside their others; here is what is seldom.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from hanseg_shared.access import Scope
from hanseg_shared.jobs.record import NewJob
from hanseg_shared.jobs.store import PayloadStore
from tests.browser.axe import serious_faults
from tests.browser.shown_case import DOUBTED, ShownCase
from tests.jobs.fakes import CT

REVIEWER = (Scope.READ, Scope.SUBMIT, Scope.REVIEW)


@pytest.fixture(params=["light", "dark"])
def scheme(request) -> str:
    return str(request.param)


@pytest.fixture
def shown(tables, settings, tmp_path) -> ShownCase:
    return ShownCase(tables, PayloadStore(settings.store), tmp_path)


def add_cancelled(tables: Any, owner: str) -> str:
    job_id = uuid.uuid4().hex
    job = NewJob(id=job_id, inputs=(CT,), case_name="a case", owned_by=owner)
    tables.jobs.create(job)
    tables.jobs.request_cancel(job_id)
    return job_id


def test_a_key_that_opens_nothing(open_page, scheme):
    page = open_page(color_scheme=scheme)
    page.get_by_label("Access key").fill("hanseg_wrong")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("alert").wait_for()
    assert serious_faults(page) == []


def test_a_worklist_without_cases_and_one_with_a_question(signed_in, tables, scheme):
    owner = f"axel {scheme}"
    page = signed_in(owner, *REVIEWER, color_scheme=scheme)
    page.get_by_text("No cases yet").wait_for()
    assert serious_faults(page) == []
    add_cancelled(tables, owner)
    page.get_by_role("button", name="Delete a case").click()
    assert serious_faults(page) == []
    page.get_by_role("button", name="Delete the case").click()
    page.get_by_text("a case was deleted").wait_for()
    page.get_by_label("State: show only").select_option("failed")
    page.get_by_text("No case fits these filters").wait_for()
    assert serious_faults(page) == []


def test_addresses_at_which_there_is_nothing(signed_in, stack, tables, scheme):
    owner = f"birte {scheme}"
    page = signed_in(owner, *REVIEWER, color_scheme=scheme)
    page.goto(f"{stack.url}/reading-room")
    page.get_by_text("Nothing to count yet").wait_for()
    assert serious_faults(page) == []
    page.goto(f"{stack.url}/jobs/{add_cancelled(tables, owner)}/view")
    page.get_by_text("This case has no contours").wait_for()
    assert serious_faults(page) == []


def test_a_review_on_its_way_and_signed(signed_in, stack, shown, scheme):
    owner = f"clemens {scheme}"
    job_id = shown.make(owner, spacing=(6.0, 6.0, 6.0))
    page = signed_in(owner, *REVIEWER, color_scheme=scheme)
    page.goto(f"{stack.url}/jobs/{job_id}/view")
    page.locator("canvas[data-ready]").wait_for()
    page.get_by_role("button", name="Accept registration").click()
    page.locator(".registration .said", has_text="accepted by clemens").wait_for()
    page.locator(f"[data-organ={DOUBTED}] button.organ-name").click()
    page.locator(f"[data-reject={DOUBTED}]").wait_for()
    page.keyboard.press("r")
    page.get_by_label(f"Why is {DOUBTED} rejected?").fill("too small")
    assert serious_faults(page) == []
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(f"[data-organ={DOUBTED}]", has_text="Rejected").wait_for()
    page.get_by_role("button", name="without doubts").click()
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_role("heading", name="Signed").wait_for()
    assert serious_faults(page) == []
