"""Commissioning, from the command to the page: sheet, figures, PDF, and warnings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from hanseg_lab.phantom import make_case
from hanseg_lab.phantom.folder import write_han_seg_case
from hanseg_shared.access import Scope
from hanseg_shared.client import Client
from hanseg_shared.documents import ModelSummary
from hanseg_shared.jobs.schema import commissioning_files, commissioning_sheets
from tests.browser.axe import serious_faults
from tests.browser.conftest import CASE_MS
from tests.browser.sheets import MISSED, draw_files, make_sheet

READER = (Scope.READ, Scope.READ_ALL)
WARNING = "Not as commissioned."
NOT_MET = 3
"""The status of the command where a limit is not met."""

LIMITS = "[organs.default]\nDSC = 0.0\n[organs.SpinalCord]\nDSC = 0.99\n"


@pytest.fixture
def register(stack, key, tables):
    """Have the service keep a made-up sheet; afterwards it has none."""

    def send(files: dict[str, bytes] | None = None, **what: Any) -> None:
        signed = make_sheet(files=files, **what)
        with Client(stack.url, key=key("admin", Scope.ADMIN)) as client:
            client.register_sheet(signed)
            for name, content in (files or {}).items():
                client.send_sheet_file(signed, name, content)

    yield send
    with tables.database.write() as connection:
        connection.execute(commissioning_files.delete())
        connection.execute(commissioning_sheets.delete())


@pytest.fixture
def commission(stack, key, tmp_path, register):
    """Run `hanseg commission` on a simulated case, and return its status."""
    del register  # which takes away what is registered here

    def run() -> int:
        made = make_case(3, ct_spacing=(4.0, 4.0, 5.0), mr=False)
        write_han_seg_case(made, tmp_path / "cases")
        (tmp_path / "limits.toml").write_text(LIMITS)
        options = {
            "--out": tmp_path / "out",
            "--limits": tmp_path / "limits.toml",
            "--model": "quick",
            "--signed-by": "Dr. Marie Example",
            "--workers": 1,
            "--url": stack.url,
        }
        done = subprocess.run(
            [
                Path(sys.executable).with_name("hanseg"),
                *("commission", tmp_path / "cases", "--no-phantoms", "--register"),
                *(str(word) for option in options.items() for word in option),
            ],
            env={
                **os.environ,
                "HANSEG_KEY": key("admin"),
                "HOME": str(tmp_path),
                "XDG_CONFIG_HOME": str(tmp_path / "config"),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=CASE_MS / 1000,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode

    return run


def test_a_commissioning_runs_from_the_command_to_the_page(commission, signed_in):
    assert commission() == NOT_MET
    page = signed_in("paul", *READER)
    page.get_by_text("did not meet all limits").wait_for()
    page.get_by_role("link", name="Look at the commissioning").click()
    page.get_by_text("Failed: 1 limit is not met").wait_for()
    page.get_by_text("Dr. Marie Example").wait_for()
    cord = page.get_by_role("row", name="SpinalCord")
    assert "fail" in cord.inner_text()
    assert "pass" in page.get_by_role("row", name="Bone_Mandible").inner_text()
    picture = page.get_by_role("img", name="SpinalCord: reference and service")
    picture.scroll_into_view_if_needed()
    assert picture.evaluate("each => each.decode().then(() => each.naturalWidth)") > 500
    with page.expect_download() as download:
        page.get_by_role("link", name="PDF").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")


def test_who_reads_only_their_own_jobs_sees_figures_and_no_pictures(
    register, signed_in
):
    register(files=draw_files("Brainstem"))
    page = signed_in("quentin", Scope.READ)
    page.get_by_role("link", name="Commissioning", exact=True).click()
    page.get_by_text("Passed: every limit is met").wait_for()
    page.get_by_text("a key with the scope read_all opens them").wait_for()
    assert page.get_by_role("img").count() == 0


def test_other_software_and_another_model_are_warned_of(register, signed_in):
    register(software="0.1.0")
    page = signed_in("rita", *READER)
    warning = page.get_by_role("note").filter(has_text=WARNING)
    warning.filter(has_text="0.1.0 was commissioned").wait_for()
    warning.get_by_role("link").click()
    warning.get_by_text("The model quick is 1 with other weights").wait_for()


def test_what_runs_as_commissioned_is_not_warned_of(
    register, signed_in, running_model, stack
):
    register(model=running_model)
    page = signed_in("sven", *READER)
    page.goto("about:blank")  # the first page's answer may still be on its way
    with page.expect_response("**/v1/commissioning?limit=1") as answer:
        page.goto(stack.url)
    assert answer.value.json()["sheets"][0]["matches"]
    page.get_by_text("Live").wait_for()
    assert page.get_by_text(WARNING).count() == 0


def test_who_never_commissioned_is_told_how(signed_in):
    page = signed_in("tina", *READER)
    page.get_by_role("link", name="Commissioning", exact=True).click()
    page.get_by_text("This service was never commissioned").wait_for()
    page.get_by_text("hanseg commission cases/").wait_for()


@pytest.fixture
def running_model(stack, key) -> ModelSummary:
    """The quick model as the service has it."""
    headers = {"Authorization": f"Bearer {key('admin', Scope.READ)}"}
    models = httpx.get(f"{stack.url}/v1/models", headers=headers).json()["models"]
    (found,) = (each for each in models if each["name"] == "quick")
    return ModelSummary(**{name: found[name] for name in ("name", "version", "sha256")})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(register, signed_in, scheme):
    page = signed_in(f"una {scheme}", *READER, color_scheme=scheme)
    page.get_by_role("link", name="Commissioning", exact=True).click()
    page.get_by_text("never commissioned").wait_for()
    assert serious_faults(page) == []
    register(files=draw_files(MISSED), passed=False)
    register(software="0.1.0")
    page.reload()
    page.get_by_role("button", name="Show the sheet of").click()
    page.get_by_text("Failed: 1 limit is not met").wait_for()
    page.get_by_role("img").first.wait_for()
    assert serious_faults(page) == []
