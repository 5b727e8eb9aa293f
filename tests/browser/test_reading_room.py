"""The reading room as a physicist uses it: look, narrow, read values, export."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from hanseg_shared.access import Scope
from tests.browser.axe import serious_faults
from tests.browser.statistics import MODELS, write_year


@pytest.fixture
def reading_room(signed_in, tables) -> Any:
    """Open the reading room for somebody, of whom a year is known or nothing."""

    def enter(owner: str, *, known: bool = True, **options: Any) -> Any:
        if known:
            write_year(tables, owner)
        page = signed_in(owner, Scope.READ, **options)
        page.get_by_role("link", name="Reading room").click()
        page.get_by_role("heading", name="Reading room").wait_for()
        return page

    return enter


def chart(page: Any, title: str) -> Any:
    return page.get_by_role("figure", name=title)


def test_charts_are_read_narrowed_and_exported(reading_room, tables):
    write_year(tables, "somebody else")
    page = reading_room("nora")
    volume = chart(page, "Volume, mean ± SD")
    volume.wait_for()
    assert volume.locator(".point").count() == 12
    assert volume.locator(".band-name").text_content() == "plausible: 12 to 45 ml"
    page.get_by_text("jobs ended", exact=True).wait_for()
    assert page.locator(".totals dd").first.inner_text() == "240"

    volume.locator(".point[tabindex='0']").focus()
    said = volume.locator(".course-said")
    assert said.inner_text() == "Jan 2025: Mean volume 20 ± 4.1 (n = 20)"
    page.keyboard.press("End")
    assert said.inner_text().startswith("Dec 2025: Mean volume 20")

    page.get_by_role("button", name="SpinalCord").press("Enter")
    page.get_by_role("heading", name="SpinalCord").wait_for()
    page.get_by_label("Model and version").select_option(MODELS[1])
    page.locator(".totals dd").first.get_by_text("120").wait_for()
    rejected = chart(page, "MR rejected by the service")
    rejected.locator("summary").click()
    assert rejected.get_by_role("row", name="Aug 2025 MR rejected 6.7 %").count() == 1

    with page.expect_download() as download:
        page.get_by_role("link", name="Export as CSV").click()
    with Path(download.value.path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["model"] for row in rows} == {MODELS[1]}
    assert len(rows) == 30 * 6


def test_who_has_nothing_is_told_what_to_do(reading_room):
    page = reading_room("otto", known=False)
    page.get_by_text("Nothing to count yet").wait_for()
    page.get_by_label("From").fill("2026-01-01")
    page.get_by_text("No job ended in this time").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(reading_room, scheme):
    page = reading_room(f"paula {scheme}", color_scheme=scheme)
    chart(page, "Volume, mean ± SD").wait_for()
    assert serious_faults(page) == []
