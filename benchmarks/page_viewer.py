"""The viewer in Chromium: 512 x 512 x 150 with 30 organs, opened and scrolled.

    make bench-page                      these figures after those of the worklist

The processor draws here, in SwiftShader, so frames are slower than on any graphics
card, and what a card would hold counts as memory of Chromium's graphics process.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page
from tests.browser.shown_case import ShownCase

from hanseg_lab.phantom import make_case
from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.grid import Grid
from hanseg_shared.jobs.services import Services
from hanseg_shared.volume import Volume

SIZE = (512, 512, 150)
FINER = 2
"""The patient is simulated on a coarser grid, in the plane, to be ready in seconds."""

SPACING = (420 / 512 * FINER, 420 / 512 * FINER, 2.24)
NOISE_HU = 12.0
"""As a scanner's: without it the CT would be unpacked faster than a real one."""

OPENED = 3
"""How often the case is opened, each time by a browser that has nothing of it."""

STEPS = 60
PATIENCE_MS = 120_000

SHOWN = """async () => {
  while (!window.hansegScene) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now();
}"""
"""Waits until CT and contours are drawn; the milliseconds since the start."""

FRAMES = """async (steps) => {
  const times = [], drawn = [];
  let last = await new Promise(requestAnimationFrame);
  for (let n = 0; n < steps; n++) {
    const before = performance.now();
    window.hansegScene.step(n < steps / 2 ? 1 : -1);
    drawn.push(performance.now() - before);
    const now = await new Promise(requestAnimationFrame);
    times.push(now - last);
    last = now;
  }
  return [times.slice(2), drawn];
}"""
"""Steps a slice a frame, there and back; returns milliseconds from frame to frame."""

PROCESSES = {"renderer": "tab_gb", "GPU": "graphics_gb"}


def make_job(services: Services) -> str:
    """Make a simulated case of the size, and return its job."""
    made = make_case(11, ct_spacing=SPACING, mr=False, t1=True)
    assert made.t1 is not None
    rng = np.random.default_rng(1)
    noise = rng.normal(0.0, NOISE_HU, SIZE[::-1])
    ct = _enlarge(made.ct, outside=-1000)
    mr = _enlarge(made.t1, outside=0)
    with tempfile.TemporaryDirectory() as folder:
        shown = ShownCase(services.tables, services.store, Path(folder))
        return shown.put(
            LOCAL_OWNER,
            ct.with_array(ct.array + noise),
            _enlarge(made.labels, outside=0),
            mr.with_array(np.maximum(0, mr.array + noise)),
            name="HN_0000",
        )


def _enlarge(volume: Volume, *, outside: float) -> Volume:
    """Return a volume of `SIZE`: finer in the plane, with air before and behind."""
    x, y, z = SIZE
    fine = volume.array.repeat(FINER, axis=1).repeat(FINER, axis=2)[:z, :y, :x]
    whole = np.full((z, y, x), outside, fine.dtype)
    whole[: fine.shape[0], : fine.shape[1], : fine.shape[2]] = fine
    spacing = volume.grid.spacing
    finer = (spacing[0] / FINER, spacing[1] / FINER, spacing[2])
    grid = Grid(SIZE, finer, volume.grid.origin, volume.grid.direction)
    return Volume(whole, grid)


def measure(browser: Browser, url: str, job_id: str) -> dict[str, Any]:
    """Return seconds until the case is open, memory, and times of frames."""
    shown, complete = [], []
    figures: dict[str, Any] = {}
    for _ in range(OPENED):
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(PATIENCE_MS)
        page.goto(f"{url}/jobs/{job_id}/view")
        shown.append(page.evaluate(SHOWN) / 1000)
        page.locator("canvas[data-ready]").wait_for()
        complete.append(_seconds(page))
        figures = _frames(page) | _memory(browser)
        page.close()
    return {
        "size": SIZE,
        "ct_and_contours_s": round(statistics.median(shown), 2),
        "with_mr_s": round(statistics.median(complete), 2),
        **figures,
    }


def _seconds(page: Page) -> float:
    """Return the seconds since the address was opened, once a frame is drawn."""
    milliseconds: float = page.evaluate(
        "new Promise(requestAnimationFrame).then(() => performance.now())"
    )
    return milliseconds / 1000


def _frames(page: Page) -> dict[str, float]:
    times, drawn = page.evaluate(FRAMES, STEPS)
    return {
        "frame_ms": round(statistics.median(times), 1),
        "frame_ms_p95": round(sorted(times)[int(0.95 * len(times))], 1),
        "script_ms": round(statistics.median(drawn), 1),
    }


def _memory(browser: Browser) -> dict[str, float]:
    """Return the proportional memory of Chromium's processes, the largest of a kind."""
    session = browser.new_browser_cdp_session()
    found: dict[str, float] = {}
    for each in session.send("SystemInfo.getProcessInfo")["processInfo"]:
        name = PROCESSES.get(each["type"])
        if name is not None:
            found[name] = max(found.get(name, 0.0), _gigabytes(each["id"]))
    session.detach()
    return {name: round(value, 2) for name, value in found.items()}


def _gigabytes(process: int) -> float:
    rollup = Path(f"/proc/{process}/smaps_rollup").read_text()
    (line,) = (each for each in rollup.splitlines() if each.startswith("Pss:"))
    return int(line.split()[1]) * 1024 / 1e9
