"""What is dropped or chosen: files, folders of cases, DICOM series, all by a person."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hanseg_lab.phantom import make_case
from hanseg_shared.access import Scope
from hanseg_shared.volume import Volume
from tests.browser.axe import serious_faults
from tests.browser.conftest import CASE_MS
from tests.io.dicom.made_series import Modality, write_series

SENDER = (Scope.READ, Scope.SUBMIT)


def drop(page: Any, selector: str, paths: Sequence[Path]) -> None:
    """Drop files or folders of the disk, as the system's file manager does."""
    target = page.locator(selector).first
    target.wait_for()
    box = target.bounding_box()
    session = page.context.new_cdp_session(page)
    data = {
        "items": [],
        "files": [str(path) for path in paths],
        "dragOperationsMask": 1,
    }
    for kind in ("dragEnter", "dragOver", "drop"):
        at = {"x": box["x"] + box["width"] / 2, "y": box["y"] + 20}
        session.send("Input.dispatchDragEvent", {"type": kind, "data": data, **at})
        if kind == "dragOver" and selector == "main":
            page.get_by_text("Drop a case here").wait_for()
    session.detach()


def send(page: Any, name: str | re.Pattern[str]) -> None:
    page.get_by_label("Model", exact=True).select_option("quick")
    page.get_by_role("button", name=name).last.click()
    page.get_by_role("dialog").wait_for(state="detached", timeout=CASE_MS)


@pytest.fixture
def set_of_cases(case, tmp_path) -> Path:
    """A folder of two cases, of which one has an MR, with masks beside the CTs."""
    ct, mr = case
    for name in ("case_01", "case_02"):
        (tmp_path / "set_1" / name).mkdir(parents=True)
        shutil.copy(ct, tmp_path / "set_1" / name / f"{name}_IMG_CT.nii.gz")
    shutil.copy(mr, tmp_path / "set_1" / "case_02" / "case_02_IMG_MR_T1.nii.gz")
    (tmp_path / "set_1" / "case_01" / "case_01_OAR_Lips.seg.nrrd").write_bytes(b"-")
    return tmp_path / "set_1"


def test_a_dropped_folder_of_cases_is_shown_and_sent_case_by_case(
    signed_in, set_of_cases
):
    page = signed_in("anton", *SENDER)
    page.get_by_text("No cases yet").wait_for()
    drop(page, "main", [set_of_cases])
    dialog = page.get_by_role("dialog", name="Send 2 cases")
    dialog.wait_for()
    first, second = (dialog.get_by_role("group").nth(index) for index in range(2))
    assert first.get_by_label("Case name").input_value() == "case_01"
    assert second.get_by_label("Case name").input_value() == "case_02"
    of_mr = second.get_by_label("What case_02_IMG_MR_T1.nii.gz is", exact=True)
    assert of_mr.input_value() == "mr"
    dialog.get_by_text("1 file is left out").wait_for()
    assert serious_faults(page) == []

    belongs = dialog.get_by_label("Which case case_02_IMG_MR_T1.nii.gz belongs to")
    belongs.select_option("case_01")
    assert first.get_by_label("What case_02_IMG_MR_T1.nii.gz is").input_value() == "mr"
    second.get_by_label("Case name").fill("without MR")
    send(page, "Send 2 cases")
    page.get_by_text("2 of 2 cases were sent").wait_for()
    done = page.locator("tr[data-state=succeeded]")
    done.nth(1).wait_for(timeout=CASE_MS)
    assert "No MR" in page.get_by_role("row", name="without MR").inner_text()
    assert "No MR" not in page.get_by_role("row", name="case_01").inner_text()


def test_what_is_at_fault_stays_and_the_others_are_sent(signed_in, set_of_cases):
    (set_of_cases / "case_02" / "case_02_IMG_CT.nii.gz").write_bytes(b"no image")
    page = signed_in("beate", *SENDER)
    page.get_by_role("button", name="Send a case").click()
    page.get_by_label("Folder", exact=True).set_input_files(set_of_cases)
    page.get_by_label("Model", exact=True).select_option("quick")
    page.get_by_role("button", name="Send 2 cases").click()
    page.get_by_text("1 of 2 cases were sent").wait_for()
    left = page.get_by_role("dialog", name="Send a case")
    assert left.get_by_label("Case name").input_value() == "case_02"
    left.get_by_role("alert").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("row", name="case_01").wait_for()
    assert page.locator("tr[data-job]").count() == 1


def test_a_dropped_file_is_a_case(signed_in, case):
    page = signed_in("carola", *SENDER)
    page.get_by_text("No cases yet").wait_for()
    drop(page, "main", case[:1])
    page.get_by_label("What phantom_CT.nii.gz is").wait_for()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("dialog").wait_for(state="detached")
    page.get_by_role("button", name="Send a case").click()
    drop(page, ".chooser", case)
    page.get_by_label("What phantom_MR.nii.gz is").wait_for()
    assert page.get_by_label("Case name").input_value() == "phantom"


def test_a_dicom_folder_is_sent_with_its_mr(signed_in, tmp_path):
    made = make_case(7, ct_spacing=(4.0, 4.0, 5.0), mr_spacing=(4.0, 4.0, 6.0))
    assert made.mr is not None
    folder = tmp_path / "study"
    images: tuple[tuple[Modality, Volume], ...] = (("CT", made.ct), ("MR", made.mr))
    for modality, volume in images:
        (folder / f"series_{modality}").mkdir(parents=True)
        rounded = volume.with_array(volume.array.round().astype("int16"))
        write_series(folder / f"series_{modality}", rounded, modality)
    page = signed_in("detlef", *SENDER)
    page.get_by_role("button", name="Send a case").click()
    page.get_by_label("Folder", exact=True).set_input_files(folder)
    assert page.get_by_label("What study/series_CT is").input_value() == "ct"
    assert page.get_by_label("What study/series_MR is").input_value() == "mr"
    assert page.get_by_label("Case name").input_value() == "study"
    send(page, re.compile("^Send$"))
    row = page.get_by_role("row", name="study")
    row.get_by_text("Done").wait_for(timeout=CASE_MS)
    assert "No MR" not in row.inner_text()
