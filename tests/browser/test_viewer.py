"""The viewer as a person uses it: sides, places, contours, and the review of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hanseg_lab.phantom import make_case
from hanseg_shared.access import Scope
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.organs import organ
from tests.browser.axe import serious_faults
from tests.browser.shown_case import DOUBTED, SPACING, ShownCase, Storage

REVIEWER = (Scope.READ, Scope.SUBMIT, Scope.REVIEW)

LOOKS, FRAMES_MS = 50, 100
"""How often, and how far apart, a picture is looked at until it is drawn."""


@pytest.fixture
def shown(tables, settings, tmp_path) -> ShownCase:
    return ShownCase(tables, PayloadStore(settings.store), tmp_path)


@pytest.fixture
def open_case(signed_in, shown, stack):
    """Open a case of an owner in the viewer, and wait until all of it is shown."""

    def open_(owner: str, *, storage: Storage = Storage.AS_MADE, **options: Any) -> Any:
        job_id = shown.make(owner, storage=storage)
        page = signed_in(owner, *REVIEWER, **options)
        page.goto(f"{stack.url}/jobs/{job_id}/view")
        page.locator("canvas[data-ready]").wait_for()
        return page

    return open_


@pytest.fixture(scope="module")
def places() -> dict[str, list[float]]:
    """Where organs' voxels are, in mm, RAS, as the phantom itself has them."""
    labels = make_case(11, ct_spacing=SPACING, mr=False).labels
    found = {}
    for name in ("Parotid_L", "Parotid_R", "Glnd_Submand_L", "SpinalCord"):
        z, y, x = np.argwhere(labels.array == organ(name).label).T
        middle = len(x) // 2
        lps = labels.grid.index_to_world((x[middle], y[middle], z[middle]))
        found[name] = [-float(lps[0]), -float(lps[1]), float(lps[2])]
    return found


def read(page: Any, mm: list[float]) -> Any:
    return page.evaluate("mm => window.hansegScene.read(mm)", mm)


@pytest.mark.parametrize("storage", list(Storage), ids=lambda each: each.value)
def test_left_is_left_and_on_the_right_of_the_screen(open_case, places, storage):
    page = open_case("anna", storage=storage)
    for name, mm in places.items():
        assert read(page, mm)["label"] == organ(name).label, name
    at = {
        name: page.evaluate("mm => window.hansegScene.onScreen(mm)", mm)
        for name, mm in places.items()
    }
    assert places["Parotid_L"][0] < 0 < places["Parotid_R"][0]
    assert at["Parotid_R"][0] + 20 < at["SpinalCord"][0] < at["Parotid_L"][0] - 20
    page.get_by_role("button", name="Parotid_L").first.wait_for()
    page.locator("[data-organ=Parotid_L] button.organ-name").click()
    page.locator(".under", has_text="Parotid_L").wait_for()
    assert page.locator(".under").inner_text().startswith("L ")


def test_an_organ_is_drawn_in_its_colour_over_both_images(open_case):
    page = open_case("berta")
    page.locator("[data-organ=Parotid_L] button.organ-name").click()
    assert colour_share(page, "Parotid_L") > 0
    page.get_by_label("CT to MR").fill("1")
    assert colour_share(page, "Parotid_L") > 0
    page.get_by_role("button", name="Show Parotid_L").click()
    for _ in range(LOOKS):  # all planes are drawn anew within some frames
        if colour_share(page, "Parotid_L") == 0:
            break
        page.wait_for_timeout(FRAMES_MS)
    assert colour_share(page, "Parotid_L") == 0


def colour_share(page: Any, name: str) -> float:
    """Return the share of the canvas that has an organ's own colour: its rim."""
    return page.evaluate(
        """async ([r, g, b]) => {
          const canvas = document.querySelector("canvas");
          window.hansegScene.step(0);
          await new Promise(requestAnimationFrame);
          const picture = document.createElement("canvas");
          picture.width = canvas.width;
          picture.height = canvas.height;
          const drawing = picture.getContext("2d");
          drawing.drawImage(canvas, 0, 0);
          const all = drawing.getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let at = 0; at < all.length; at += 4) {
            const near = Math.max(
              Math.abs(all[at] - r),
              Math.abs(all[at + 1] - g),
              Math.abs(all[at + 2] - b),
            );
            if (near < 12) count++;
          }
          return (4 * count) / all.length;
        }""",
        list(organ(name).colour),
    )


@pytest.mark.parametrize("name", ["A_Carotid_L", "SpinalCord"])
def test_an_opened_organ_lengthens_no_page_that_fits(open_case, name):
    page = open_case("frida", viewport={"width": 1280, "height": 800})
    page.locator(f"[data-organ={name}] button.organ-name").press("Enter")
    page.get_by_label(f"Corrected contour of {name}").wait_for(state="attached")
    assert page.evaluate("document.scrollingElement.scrollHeight") == 800


def test_a_judged_registration_moves_no_organ_under_the_next_click(open_case):
    page = open_case("cora")

    def places() -> dict[str, float]:
        found = page.locator("[data-organ]")
        return {
            each.get_attribute("data-organ"): each.bounding_box()["y"]
            for each in found.all()
        }

    before = places()
    page.get_by_role("button", name="Accept registration").click()
    page.locator(".registration .said", has_text="accepted by cora").wait_for()
    assert places() == before


def test_a_case_is_reviewed_with_the_keyboard_and_signed(open_case):
    page = open_case("clara")
    page.get_by_role("button", name="Accept registration").click()
    page.locator(".registration .said", has_text="accepted by clara").wait_for()
    page.locator("[data-organ=Brainstem] button.organ-name").click()
    page.keyboard.press("r")
    page.get_by_label("Why is Brainstem rejected?").fill("one slice too high")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator("[data-organ=Brainstem]", has_text="Rejected").wait_for()
    page.locator(f"[data-organ={DOUBTED}] button.organ-name").click()
    page.get_by_text("The model itself was not sure of the organ.").wait_for()
    page.keyboard.press("a")
    page.locator(f"[data-organ={DOUBTED}]", has_text="Accepted").wait_for()
    page.get_by_role("button", name="without doubts").click()
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_role("heading", name="Signed").wait_for()
    page.get_by_role("button", name="Reopen").click()
    page.get_by_role("button", name="Sign", exact=True).wait_for()


def test_what_another_reviewer_said_meanwhile_is_not_overwritten(open_case, stack, key):
    page = open_case("doris")
    job_id = page.url.split("/")[-2]
    other = page.request.put(
        f"{stack.url}/v1/jobs/{job_id}/review/organs/Brainstem",
        data={"verdict": "accepted"},
        headers={"Authorization": f"Bearer {key('doris', *REVIEWER)}"},
    )
    assert other.ok, other.text()
    page.locator("[data-organ=SpinalCord] button.organ-name").click()
    page.keyboard.press("a")
    page.get_by_text("Somebody else changed this review meanwhile").wait_for()
    page.locator("[data-organ=Brainstem]", has_text="Accepted").wait_for()
    assert page.locator("[data-organ=SpinalCord]", has_text="Accepted").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(open_case, scheme):
    page = open_case("emma", color_scheme=scheme)
    page.locator(f"[data-organ={DOUBTED}] button.organ-name").click()
    assert serious_faults(page) == []
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    assert serious_faults(page) == []
