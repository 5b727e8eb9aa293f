"""The page below a path of a reverse proxy: sign in, send a case, see it finish."""

from __future__ import annotations

import gzip

import httpx
import numpy as np
import pytest

from hanseg_lab.phantom import make_case
from hanseg_shared.access import Scope
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.organs import organ
from hanseg_shared.stack import Stack
from tests.browser.conftest import CASE_MS, make_settings
from tests.browser.prefix_proxy import publish
from tests.browser.shown_case import SPACING, ShownCase

PREFIX = "/contouring"


@pytest.fixture(scope="module")
def below(tmp_path_factory, chromium):
    return make_settings(tmp_path_factory, root_path=PREFIX)


@pytest.fixture(scope="module")
def her_key(below):
    tables = open_tables(below)
    made = tables.api_keys.create("paula", frozenset({Scope.READ, Scope.SUBMIT}))
    tables.close()
    return made.text


@pytest.fixture(scope="module")
def service(below, her_key):
    with Stack(below) as stack:
        stack.wait_until_ready()
        yield stack.url


either_proxy = pytest.mark.parametrize(
    "takes_off", [False, True], ids=["left there", "taken off"]
)


@either_proxy
def test_a_case_is_sent_below_a_path(browser, service, her_key, case, takes_off):
    with publish(service, PREFIX, takes_off=takes_off) as address:
        context = browser.new_context()
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/")
        page.get_by_label("Access key").fill(her_key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Live").wait_for()
        page.get_by_role("button", name="Send a case").click()
        page.get_by_label("Files", exact=True).set_input_files(str(case[0]))
        page.get_by_label("Model", exact=True).select_option("quick")
        page.get_by_label("Case name").fill(f"sent {takes_off}")
        page.get_by_role("button", name="Send", exact=True).click()
        row = page.get_by_role("row", name=f"sent {takes_off}")
        row.get_by_text("Done").wait_for(timeout=CASE_MS)
        page.reload()  # the cookie is of the path
        row.wait_for()
        page.goto(address)  # without the last slash
        row.wait_for()
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Access key").wait_for()
        context.close()
    assert [each for each in asked if not each.startswith(address)] == []


@pytest.fixture(scope="module")
def corrected(below, service, tmp_path_factory):
    """A case whose one parotid gland was corrected, and the key of who did it."""
    tables = open_tables(below)
    shown = ShownCase(
        tables, PayloadStore(below.store), tmp_path_factory.mktemp("shown")
    )
    job_id = shown.make("rita")
    scopes = frozenset({Scope.READ, Scope.REVIEW})
    key = tables.api_keys.create("rita", scopes).text
    tables.close()
    labels = make_case(11, ct_spacing=SPACING, mr=False).labels.array
    mask = labels == organ("Parotid_L").label
    mask[: mask.shape[0] // 2] = False
    answer = httpx.put(
        f"{service}/v1/jobs/{job_id}/review/organs/Parotid_L/mask",
        content=gzip.compress(mask.astype(np.uint8).tobytes()),
        headers={"Content-Type": "application/gzip", "Authorization": f"Bearer {key}"},
    )
    assert answer.is_success, answer.text
    return job_id, key


@either_proxy
def test_a_correction_is_seen_below_a_path(browser, service, corrected, takes_off):
    job_id, key = corrected
    with publish(service, PREFIX, takes_off=takes_off) as address:
        context = browser.new_context()
        page = context.new_page()
        page.goto(f"{address}/")
        page.get_by_label("Access key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_text("Live").wait_for()
        with page.expect_response(lambda told: "/masks/" in told.url) as told:
            page.goto(f"{address}/jobs/{job_id}/view")
            page.locator("canvas[data-ready]").wait_for()
        context.close()
    masks = f"{address}/v1/jobs/{job_id}/review/versions/1/masks"
    assert told.value.url == f"{masks}/Parotid_L"
    assert told.value.status == 200
