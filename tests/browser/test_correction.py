"""Contours corrected in the viewer: painted, filled, undone, saved as a version."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from hanseg_lab.phantom import make_case
from hanseg_shared.access import Scope
from hanseg_shared.grid import Grid
from hanseg_shared.jobs.store import PayloadStore
from hanseg_shared.organs import organ
from tests.browser.axe import serious_faults
from tests.browser.shown_case import SPACING, ShownCase, Storage, store_otherwise

REVIEWER = (Scope.READ, Scope.SUBMIT, Scope.REVIEW)

UNEVEN = (2.5, 3.5, 4.5)
"""A spacing, in mm, that differs in all directions."""

DIAMETER_MM = 12.0


@dataclass(frozen=True)
class Opened:
    """A case in the viewer, and what the model has made of it."""

    page: Any
    url: str
    labels: Any
    grid: Grid
    key: str

    def start(self, name: str) -> None:
        """Begin to correct an organ."""
        self.page.locator(f"[data-organ={name}] button.organ-name").click()
        self.page.keyboard.press("c")
        self.page.get_by_role("toolbar", name=f"Correct {name}").wait_for()

    def save(self, name: str) -> Any:
        """Save it; return the mask that the service has then, indexed z, y, x."""
        self.page.get_by_role("button", name="Save", exact=True).click()
        self.page.locator(f"[data-organ={name}] .verdict.edited").wait_for()
        return self.fetch(name)

    def fetch(self, name: str) -> Any:
        said = next(each for each in self.review()["organs"] if each["organ"] == name)
        answer = self.page.request.get(
            self.url + said["mask"]["href"], headers=self.headers
        )
        values = np.frombuffer(gzip.decompress(answer.body()), dtype=np.uint8)
        return values.reshape(self.grid.shape).astype(bool)

    def review(self) -> Any:
        job_id = self.page.url.split("/")[-2]
        path = f"{self.url}/v1/jobs/{job_id}/review"
        return self.page.request.get(path, headers=self.headers).json()

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def own(self, name: str) -> Any:
        return self.labels == organ(name).label

    def place(self, name: str, *, in_front_mm: float = 0.0) -> Any:
        """Return the middle of an organ, or a place in front of it, in mm, LPS."""
        inside = np.argwhere(self.own(name))[:, ::-1]
        nearest = np.argmin(np.linalg.norm(inside - inside.mean(axis=0), axis=1))
        return self.grid.index_to_world(inside[nearest]) - (0.0, in_front_mm, 0.0)

    def press(self, lps: Any, plane: str = "axial", *, finger: bool = False) -> None:
        """Press with the mouse, or a finger, on a place of a plane."""
        x, y, z = (float(each) for each in lps)
        at = self.page.evaluate(
            """async ([mm, plane]) => {
              const scene = window.hansegScene;
              for (let last = null; ; ) { // until nothing moves: bars come and go
                await new Promise((later) => setTimeout(later, 50));
                const at = await scene.onScreen(mm, plane);
                if (at && last && at[0] === last[0] && at[1] === last[1]) return at;
                last = at;
              }
            }""",
            [[-x, -y, z], plane],
        )
        frame = self.page.locator(".canvas-frame").bounding_box()
        press = self.page.touchscreen.tap if finger else self.page.mouse.click
        press(frame["x"] + at[0], frame["y"] + at[1])


@pytest.fixture
def open_case(signed_in, key, tables, settings, tmp_path, stack):
    """Open a case of an owner in the viewer, and wait until all of it is shown."""
    shown = ShownCase(tables, PayloadStore(settings.store), tmp_path)

    def open_(
        owner: str, *, spacing=SPACING, storage=Storage.AS_MADE, **options: Any
    ) -> Opened:
        job_id = shown.make(owner, spacing=spacing, storage=storage)
        page = signed_in(owner, *REVIEWER, **options)
        page.goto(f"{stack.url}/jobs/{job_id}/view")
        page.locator("canvas[data-ready]").wait_for()
        made = store_otherwise(
            make_case(11, ct_spacing=spacing, mr=False).labels, storage
        )
        return Opened(page, stack.url, made.array, made.grid, key(owner, *REVIEWER))

    return open_


@pytest.mark.parametrize("storage", list(Storage), ids=lambda each: each.value)
def test_strokes_land_where_they_are_seen(open_case, storage):
    case = open_case("anna", spacing=UNEVEN, storage=storage)
    places = {
        plane: case.place("Parotid_L", in_front_mm=in_front)
        for plane, in_front in (("axial", 28.0), ("coronal", 49.0), ("sagittal", 70.0))
    }
    case.start("Parotid_L")
    case.page.get_by_label("Brush").fill("8")
    for plane, place in places.items():
        case.press(place, plane)
    added = case.save("Parotid_L") & ~case.own("Parotid_L")
    found = case.grid.index_to_world(np.argwhere(added)[:, ::-1])
    assert found[:, 0].min() > 0  # the patient's left
    assert sum(_near(found, *each) for each in places.items()) == len(found)


def _near(found: Any, plane: str, place: Any) -> int:
    """Check the stroke around a place; return how many voxels it has."""
    stroke = found[np.linalg.norm(found - place, axis=1) < DIAMETER_MM]
    assert len(stroke), f"nothing was painted in the {plane} plane at {place}: {found}"
    reach = np.full(3, DIAMETER_MM / 2) + np.array(UNEVEN) / 2
    reach[{"axial": 2, "coronal": 1, "sagittal": 0}[plane]] = 0.01
    assert (np.abs(stroke - place).max(axis=0) <= reach).all()
    assert stroke.mean(axis=0) == pytest.approx(place, abs=0.6)
    return len(stroke)


def test_a_contour_is_corrected_from_first_to_last(open_case):
    case = open_case("berta", viewport={"width": 820, "height": 1180})
    page = case.page
    case.start("Brainstem")
    bar = page.get_by_role("toolbar", name="Correct Brainstem")
    assert page.get_by_role("button", name="Sign", exact=True).is_disabled()
    for key in ("1", "p", *8 * ".", " ", "Shift+ArrowUp", "w", "w", "w", " "):
        page.keyboard.press(key)
    bar.get_by_role("button", name="Fill between (2)").click()
    page.get_by_text("Filled 2 slices.").wait_for()
    page.locator("canvas").focus()
    page.keyboard.press("z")
    page.get_by_text("Undone.").wait_for()
    page.keyboard.press("Control+z")
    page.keyboard.press("y")
    page.get_by_text("Done again.").wait_for()
    page.keyboard.press("v")
    page.keyboard.press(" ")
    page.get_by_text("This is the only piece.").wait_for()
    page.locator("[data-organ=Brainstem]", has_text="Not saved").wait_for()
    page.keyboard.press("Control+s")
    page.get_by_text("Brainstem is saved in version 1").wait_for()
    page.get_by_text("Against the model's contour: Dice").first.wait_for()
    saved, own = case.fetch("Brainstem"), case.own("Brainstem")
    assert (saved != own).any()
    said = case.review()["organs"][0]
    assert said["comparison"]["corrected_ml"] == pytest.approx(
        saved.sum() * case.grid.voxel_ml
    )
    page.locator(".own-outline").first.wait_for()


def test_a_piece_is_painted_by_finger_removed_and_erased(open_case):
    case = open_case("clara", has_touch=True)
    place = case.place("Parotid_R")
    case.start("Parotid_R")
    apart = case.place("Parotid_R", in_front_mm=60.0)
    case.press(apart, finger=True)
    case.page.keyboard.press("v")
    case.press(apart, finger=True)
    case.page.get_by_text("Removed a piece of").wait_for()
    case.page.keyboard.press("e")
    case.press(place)
    saved = case.save("Parotid_R")
    x, y, z = np.rint(case.grid.world_to_index(place)).astype(int)
    assert case.own("Parotid_R")[z, y, x]
    assert not saved[z, y, x]
    assert not (saved & ~case.own("Parotid_R")).any()


def test_other_organs_are_kept_off_if_wanted(open_case):
    case = open_case("doris")
    case.start("SpinalCord")
    case.page.get_by_label("Keep off other organs").check()
    case.page.get_by_label("Brush").fill("13")
    case.press(case.place("Brainstem"))
    case.press(case.place("SpinalCord", in_front_mm=20.0))
    saved = case.save("SpinalCord")
    others = (case.labels > 0) & ~case.own("SpinalCord")
    assert not (saved & others).any()
    assert saved.sum() > case.own("SpinalCord").sum()


def test_what_is_not_saved_is_not_lost_unasked(open_case):
    case = open_case("emma")
    page = case.page
    case.start("Parotid_L")
    case.press(case.place("Parotid_L", in_front_mm=30.0))
    page.get_by_role("link", name="Worklist").click()
    page.get_by_role("heading", name="Leave without saving Parotid_L?").wait_for()
    page.get_by_role("button", name="Keep it").click()
    with page.expect_event("dialog") as asked:
        page.close(run_before_unload=True)
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Throw it away").click()
    page.get_by_role("toolbar", name="Correct Parotid_L").wait_for(state="detached")
    page.get_by_role("link", name="Worklist").click()
    page.get_by_role("heading", name="Worklist").wait_for()


def test_a_conflict_keeps_the_painting(open_case):
    case = open_case("fanny")
    page = case.page
    case.start("Parotid_L")
    case.press(case.place("Parotid_L", in_front_mm=30.0))
    job_id = page.url.split("/")[-2]
    other = page.request.put(
        f"{case.url}/v1/jobs/{job_id}/review/organs/Brainstem",
        data={"verdict": "accepted"},
        headers=case.headers,
    )
    assert other.ok, other.text()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Your correction is still here: look at version 1").wait_for()
    saved = case.save("Parotid_L")
    assert (saved & ~case.own("Parotid_L")).any()
    assert case.review()["version"] == 2


def test_a_distance_is_measured_without_a_mouse(open_case):
    page = open_case("gerda").page
    page.locator("[data-organ=Brainstem] button.organ-name").click()
    page.locator("canvas").focus()
    page.keyboard.press("d")
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    page.get_by_text("Distance").filter(has_text=f"{10 * SPACING[0]:.1f} mm").wait_for()
    page.keyboard.press("Escape")
    page.get_by_text("Distance").wait_for(state="detached")


def test_a_scale_bar_is_as_long_as_it_says(open_case):
    page = open_case("hilde", spacing=UNEVEN).page
    for presses in (0, 4):
        for _ in range(presses):
            page.get_by_role("button", name="Larger (+)").click()
        page.evaluate("() => new Promise(requestAnimationFrame)")
        for plane, axis in (("axial", 0), ("coronal", 0), ("sagittal", 1)):
            found = page.evaluate(
                """([plane, axis]) => {
                  const drawn = document.querySelector(`[data-plane=${plane}]`);
                  const bar = drawn.querySelector(".scale-bar");
                  const mm = Number(bar.dataset.mm);
                  const { width } = bar.querySelector(".line").getBBox();
                  const tiles = window.hansegScene.tiles();
                  const tile = tiles.find((each) => each.plane === plane);
                  return [mm, width * Math.abs(tile.across.per)];
                }""",
                [plane, axis],
            )
            assert found[1] * UNEVEN[axis] == pytest.approx(found[0], rel=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(open_case, scheme):
    case = open_case("ida", color_scheme=scheme)
    case.start("Parotid_L")
    case.press(case.place("Parotid_L"))
    assert serious_faults(case.page) == []
