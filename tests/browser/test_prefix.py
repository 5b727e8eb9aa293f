"""The page below a path of a reverse proxy: sign in, send a case, see it finish."""

from __future__ import annotations

import pytest

from hanseg_shared.access import Scope
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.stack import Stack
from tests.browser.conftest import CASE_MS, make_settings
from tests.browser.prefix_proxy import publish

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


@pytest.mark.parametrize("takes_off", [False, True], ids=["left there", "taken off"])
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
