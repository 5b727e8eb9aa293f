"""Pictures of every page in light and dark: for the documentation, or of all widths.

    make pictures-page                              those that the documentation shows
    python -m benchmarks.page --pictures FOLDER     every page, also as a tablet has it

All patients are simulated, all figures are made up.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page
from tests.browser.sheets import KEY, draw_pictures, make_sheet
from tests.browser.shown_case import ShownCase
from tests.browser.statistics import write_year

from hanseg_lab.commissioning.run import write_sheet
from hanseg_lab.phantom import make_case
from hanseg_lab.phantom.folder import write_han_seg_case
from hanseg_shared.access import LOCAL_OWNER
from hanseg_shared.client import Client
from hanseg_shared.documents import ModelSummary
from hanseg_shared.jobs.services import Services

SIZES = {1280: 800, 820: 1100}
SCHEMES = ("light", "dark")
COLOURS = 256
"""Of a picture: enough for a page, a CT and its organs, in a third of the bytes."""

SHOWN_SPACING = (2.0, 2.0, 2.5)
PATIENCE_MS = 120_000
DRAWN_MS = 1500
"""After which the viewer has drawn, also by a processor."""


Opener = Callable[[Page, str], None]
"""Opens one page of the service at an address."""


@contextmanager
def furnished(services: Services, url: str) -> Iterator[dict[str, Opener]]:
    """Make what the pages show; yields how each is opened, by its name."""
    write_year(services.tables, LOCAL_OWNER)
    with tempfile.TemporaryDirectory() as folder:
        _register(url, Path(folder) / "sheet")
        shown = ShownCase(services.tables, services.store, Path(folder))
        job_id = shown.make(LOCAL_OWNER, name="HN_0043", spacing=SHOWN_SPACING)
        cases = _write_cases(Path(folder) / "spring")

        def view(page: Page, url: str) -> None:
            page.goto(f"{url}/jobs/{job_id}/view")
            page.locator("canvas[data-ready]").wait_for()
            page.locator("[data-organ=Parotid_L] button.organ-name").press("Enter")
            page.wait_for_timeout(DRAWN_MS)

        def send(page: Page, url: str) -> None:
            _open_worklist(page, url)
            page.get_by_role("button", name="Send a case").click()
            page.get_by_label("Folder", exact=True).set_input_files(cases)
            page.get_by_role("dialog", name="Send 2 cases").wait_for()

        yield {
            "worklist": _open_worklist,
            "send": send,
            "viewer": view,
            "reading-room": _open_reading_room,
            "commissioning": _open_commissioning,
        }


def take(
    browser: Browser,
    url: str,
    services: Services,
    folder: Path,
    *,
    every_width: bool = False,
) -> None:
    """Take the pictures, as ``viewer-dark.png``, with the width if of several."""
    folder.mkdir(parents=True, exist_ok=True)
    widths = SIZES if every_width else {1280: SIZES[1280]}
    with furnished(services, url) as pages:
        for name, open_page in pages.items():
            for scheme in SCHEMES:
                for width, height in widths.items():
                    page = browser.new_page(
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                    )
                    page.set_default_timeout(PATIENCE_MS)
                    open_page(page, url)
                    suffix = f"-{width}" if every_width else ""
                    _shoot(page, folder / f"{name}-{scheme}{suffix}.png", every_width)
                    page.close()


def _shoot(page: Page, path: Path, whole: bool) -> None:
    page.screenshot(path=path, full_page=whole)
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def _open_worklist(page: Page, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("tr[data-job]")
    page.get_by_text("Live").wait_for()


def _open_reading_room(page: Page, url: str) -> None:
    page.goto(f"{url}/reading-room")
    page.locator(".course .point").first.wait_for()


def _open_commissioning(page: Page, url: str) -> None:
    page.goto(f"{url}/commissioning")
    page.locator(".pictures img").last.wait_for()
    page.evaluate("Promise.all([...document.images].map((each) => each.decode()))")


def _register(url: str, folder: Path) -> None:
    """Register a sheet of the model that is there, with pictures of a phantom."""
    models = httpx.get(f"{url}/v1/models").json()["models"]
    model = next(each for each in models if each["name"] == "default")
    names = ("name", "version", "sha256")
    running = ModelSummary(**{name: model[name] for name in names})
    pictures = draw_pictures("OpticChiasm", "Glnd_Submand_L", "Cochlea_R", "Parotid_L")
    signed = write_sheet(folder, make_sheet(model=running).sheet, [], pictures, KEY)
    with Client(url) as client:
        client.register_sheet(signed)
        for file in signed.sheet.files:
            content = (folder / file.name).read_bytes()
            client.send_sheet_file(signed, file.name, content)


def _write_cases(folder: Path) -> Path:
    for seed in (1, 2):
        made = make_case(seed, ct_spacing=(6.0, 6.0, 6.0), mr=seed == 2)
        write_han_seg_case(made, folder)
    return folder
