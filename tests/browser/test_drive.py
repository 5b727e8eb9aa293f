"""A person's whole day on the page: send two cases, judge, correct, sign, hand on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from scipy import ndimage

from hanseg_lab.phantom import make_case
from hanseg_shared.access import Scope
from hanseg_shared.io.read import read_labels
from hanseg_shared.io.write import write_volume
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.result_files import SEGMENTATION
from hanseg_shared.stack import Stack
from hanseg_shared.volume import Volume
from tests.browser.conftest import CASE_MS, FIFTH, make_settings
from tests.browser.prefix_proxy import publish
from tests.io.dicom.made_series import Modality, write_series

PHYSICIAN = frozenset({Scope.READ, Scope.SUBMIT, Scope.REVIEW})
PREFIX = "/contouring"
CORRECTED = "SpinalCord"
REJECTED = ORGANS[4].name

EnterPage = Callable[[], tuple[Any, str]]


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> Path:
    """A folder of two simulated patients as DICOM, the second with an MR."""
    folder = tmp_path_factory.mktemp("studies")
    for name, seed, with_mr in (("anna", 7, False), ("bert", 8, True)):
        made = make_case(
            seed, ct_spacing=(4.0, 4.0, 5.0), mr=with_mr, mr_spacing=(4.0, 4.0, 6.0)
        )
        images: tuple[tuple[Modality, Volume | None], ...]
        images = (("CT", made.ct), ("MR", made.mr))
        for modality, volume in images:
            if volume is None:
                continue
            series = folder / name / modality
            series.mkdir(parents=True)
            whole = volume.with_array(np.rint(volume.array).astype(np.int16))
            write_series(series, whole, modality, study=name, PatientID=name)
    return folder


@pytest.fixture(params=["at the root", "below a path"])
def enter(request, browser, tmp_path_factory) -> Iterator[EnterPage]:
    """Sign a physician in, at the service itself or below a path of a proxy."""
    with ExitStack() as open_things:
        if request.param == "at the root":
            stack = request.getfixturevalue("stack")
            tables, address = request.getfixturevalue("tables"), stack.url
        else:
            settings = make_settings(tmp_path_factory, root_path=PREFIX)
            tables = open_tables(settings)
            open_things.callback(tables.close)
            tables.api_keys.create("first", frozenset(Scope))  # or it does not start
            service = open_things.enter_context(Stack(settings))
            service.wait_until_ready()
            proxy = publish(service.url, PREFIX, takes_off=True)
            address = open_things.enter_context(proxy)
        key = tables.api_keys.create("Dr. Muster", PHYSICIAN).text
        context = browser.new_context(accept_downloads=True)
        open_things.callback(context.close)

        def sign_in() -> tuple[Any, str]:
            page = context.new_page()
            page.goto(f"{address}/")
            page.get_by_label("Access key").fill(key)
            page.get_by_role("button", name="Sign in").click()
            page.get_by_text("Live").wait_for()
            return page, address

        yield sign_in


def test_two_cases_from_sending_to_the_structure_set(enter, studies, tmp_path):
    page, address = enter()
    send_both(page, studies)
    for name in ("anna", "bert"):
        row = page.get_by_role("row", name=name)
        row.get_by_text("Done").wait_for(timeout=CASE_MS)
    open_case(page, "anna")
    reject(page, REJECTED)
    sent_ml = send_corrected(page, address, tmp_path)
    require_signed(page, "anna", sent_ml)

    page.get_by_role("link", name="Worklist").click()
    open_case(page, "bert")
    reject(page, REJECTED)
    painted_ml = paint(page, address)
    if page.get_by_role("button", name="Accept registration").count():
        page.get_by_role("button", name="Accept registration").click()
        page.get_by_text("accepted by Dr. Muster").wait_for()
    require_signed(page, "bert", painted_ml)


def require_signed(page: Any, patient: str, volume_ml: float) -> None:
    """Sign, fetch the structure set, and find in it what was changed, and no more."""
    sign(page)
    structures = fetch_structures(page)
    assert str(structures.PatientID) == patient
    assert structures.ApprovalStatus == "APPROVED"
    assert str(structures.ReviewerName) == "Dr. Muster"
    rois = {str(roi.ROIName): roi for roi in structures.StructureSetROISequence}
    assert set(rois) == {CORRECTED}
    assert rois[CORRECTED].ROIGenerationAlgorithm == "SEMIAUTOMATIC"
    assert float(rois[CORRECTED].ROIVolume) == pytest.approx(volume_ml, rel=1e-3)


def open_case(page: Any, name: str) -> None:
    page.get_by_role("link", name=name).click()
    page.locator("canvas[data-ready]").wait_for()


def send_both(page: Any, studies: Path) -> None:
    page.get_by_role("button", name="Send a case").click()
    page.get_by_label("Folder", exact=True).set_input_files(studies)
    dialog = page.get_by_role("dialog", name="Send 2 cases")
    dialog.wait_for()
    assert [each.input_value() for each in dialog.get_by_label("Case name").all()] == [
        "anna",
        "bert",
    ]
    page.get_by_label("Model", exact=True).select_option(FIFTH)
    page.get_by_role("button", name="Send 2 cases").click()
    dialog.wait_for(state="detached", timeout=CASE_MS)


def reject(page: Any, name: str) -> None:
    page.locator(f"[data-organ={name}] button.organ-name").click()
    page.locator(".under", has_text=name).wait_for()
    page.locator(f"[data-reject={name}]").wait_for()
    page.keyboard.press("r")
    page.get_by_label(f"Why is {name} rejected?").fill("it is the skull")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(f"[data-organ={name}]", has_text="Rejected").wait_for()


def send_corrected(page: Any, address: str, folder: Path) -> float:
    """Make an organ larger in another program, send it, and return its volume in ml."""
    job_id = page.url.split("/")[-2]
    answer = page.request.get(f"{address}/v1/jobs/{job_id}/results/{SEGMENTATION}")
    (folder / SEGMENTATION).write_bytes(answer.body())
    labels = read_labels(folder / SEGMENTATION)
    own = labels.array == organ(CORRECTED).label
    larger = ndimage.binary_dilation(own)
    assert larger.sum() > 1.1 * own.sum()
    path = folder / "corrected.nii.gz"
    write_volume(labels.with_array(larger.astype(np.uint8)), path)
    page.locator(f"[data-organ={CORRECTED}] button.organ-name").click()
    page.get_by_label(f"Corrected contour of {CORRECTED}").set_input_files(path)
    page.locator(f"[data-organ={CORRECTED}]", has_text="Corrected").wait_for()
    return float(larger.sum() * labels.grid.voxel_ml)


def paint(page: Any, address: str) -> float:
    """Paint at an organ's middle and beside it, and return its volume in ml then."""
    page.locator(f"[data-organ={CORRECTED}] button.organ-name").click()
    page.keyboard.press("c")
    page.get_by_role("toolbar", name=f"Correct {CORRECTED}").wait_for()
    for key in ("1", "p", *6 * ".", " ", *4 * ["Shift+ArrowUp"], " ", "Control+s"):
        page.keyboard.press(key)
    page.locator(f"[data-organ={CORRECTED}] .verdict.edited").wait_for()
    job_id = page.url.split("/")[-2]
    answer = page.request.get(f"{address}/v1/jobs/{job_id}/review").json()
    (said,) = (each for each in answer["organs"] if each["organ"] == CORRECTED)
    comparison = said["comparison"]
    assert comparison["dice"] < 1
    return float(comparison["corrected_ml"])


def sign(page: Any) -> None:
    page.get_by_role("button", name="Sign", exact=True).click()
    page.get_by_role("heading", name="Signed").wait_for()


def fetch_structures(page: Any) -> pydicom.FileDataset:
    with page.expect_download() as download:
        page.get_by_role("link", name="Structure set").click()
    return pydicom.dcmread(BytesIO(Path(download.value.path()).read_bytes()))
