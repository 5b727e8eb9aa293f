"""The real service with a quick model, and Debian's Chromium to look at its page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hanseg_lab.phantom import make_case
from hanseg_lab.quick_model import write_quick_model
from hanseg_segmentation.api.web.site import BUILT
from hanseg_shared.access import Scope
from hanseg_shared.io import write_volume
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.settings import Settings
from hanseg_shared.stack import Stack
from hanseg_shared.stack.redis_server import free_port

CHROMIUM = os.environ.get("HANSEG_TEST_CHROMIUM") or shutil.which("chromium")

ARGUMENTS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
]

PATIENCE_MS = 30_000
"""What is not shown by then will not be; machines of tests may be slow."""

CASE_MS = 120_000
"""A case that is not done by then is lost."""

FIFTH = "fifth"
"""A quick model one of whose organs is the fifth of all, the brainstem."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(item.fspath).parent == Path(__file__).parent:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return make_settings(tmp_path_factory)


def make_settings(
    tmp_path_factory: pytest.TempPathFactory, *, root_path: str | None = None
) -> Settings:
    """Return settings of a service with the quick model, for people with keys."""
    models = tmp_path_factory.mktemp("models")
    write_quick_model(models)
    write_quick_model(models, name=FIFTH, bands=("SpinalCord", "Brainstem"))
    return Settings(
        data=tmp_path_factory.mktemp("service"),
        models=models,
        port=free_port(),
        access="keys",
        root_path=root_path,
        reconcile_seconds=5.0,  # rare, as tests do jobs that workers could take
        min_free_bytes=0,
        threads=1,
    )


@pytest.fixture(scope="session")
def chromium() -> str:
    if CHROMIUM is None:
        pytest.skip("there is no chromium; Debian's package has it")
    if not (BUILT / "index.html").is_file():
        pytest.fail("the page was not built: run make page")
    return CHROMIUM


@pytest.fixture(scope="session")
def stack(settings: Settings, chromium: str) -> Iterator[Stack]:
    del chromium  # without it there is nothing to look at
    tables = open_tables(settings)  # the service will not start without a key
    tables.api_keys.create("first", frozenset(Scope))
    tables.close()
    with Stack(settings) as stack:
        stack.wait_until_ready()
        yield stack


@pytest.fixture(scope="session")
def tables(stack: Stack, settings: Settings) -> Iterator[Tables]:
    tables = open_tables(settings)
    yield tables
    tables.close()


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=ARGUMENTS, headless=True
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any, stack: Stack) -> Iterator[Callable[..., Any]]:
    """Open the page in a browser of its own; what the page breaks fails the test."""
    contexts, faults = [], []

    def open_(path: str = "/", **options: Any) -> Any:
        context = browser.new_context(**options)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.extend(_faults(message)))
        page.goto(f"{stack.url}{path}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not faults


def _faults(message: Any) -> list[str]:
    """Return what a console message says is broken; refused requests are no fault."""
    if message.type != "error" or "Failed to load resource" in message.text:
        return []
    return [message.text]


@pytest.fixture
def key(tables: Tables) -> Callable[..., str]:
    def make(owner: str, *scopes: Scope) -> str:
        return tables.api_keys.create(owner, frozenset(scopes or Scope)).text

    return make


@pytest.fixture
def signed_in(open_page, key) -> Callable[..., Any]:
    """Open the page as an owner who has signed in."""

    def enter(owner: str = "anna", *scopes: Scope, **options: Any) -> Any:
        page = open_page(**options)
        page.get_by_label("Access key").fill(key(owner, *scopes))
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("heading", name="Worklist").wait_for()
        return page

    return enter


@pytest.fixture(scope="session")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The CT and the MR of a simulated patient."""
    folder = tmp_path_factory.mktemp("case")
    made = make_case(7, ct_spacing=(4.0, 4.0, 5.0), mr_spacing=(3.0, 3.0, 6.0))
    assert made.mr is not None
    ct, mr = folder / "phantom_CT.nii.gz", folder / "phantom_MR.nii.gz"
    write_volume(made.ct, ct)
    write_volume(made.mr, mr)
    return ct, mr
