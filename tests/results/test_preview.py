import dataclasses

import numpy as np
from matplotlib.image import imread

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.results.case_result import CaseResult
from hanseg_segmentation.results.preview import (
    VERDICTS,
    _remark,
    layout_of,
    write_preview,
)
from hanseg_shared.documents import MrVerdict, OrganResult, RegistrationReport
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.grid import Grid
from hanseg_shared.organs import OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.results.cases import USED, ct_on, result_on, roomy

AXIAL = Grid((20, 20, 20), (2.0, 2.0, 2.0))


def with_mr(plain: CaseResult) -> CaseResult:
    ct = plain.images.ct
    field = np.zeros(ct.array.shape, dtype=np.uint8)
    field[3:-3, 3:-3, 3:-3] = 1
    return dataclasses.replace(
        plain,
        registration=USED,
        images=CaseImages(ct, ct, ct.with_array(field)),
    )


def test_a_picture_with_mr_is_drawn_in_every_orientation(tmp_path, grid):
    path = tmp_path / "preview.png"
    write_preview(path, with_mr(result_on(roomy(grid))))
    image = imread(path)
    assert image.shape[0] >= 700
    assert image.shape[1] >= 900
    assert image.std() > 0.05


def test_the_outline_is_drawn_in_the_colour_of_the_organ(tmp_path):
    path = tmp_path / "preview.png"
    plain = result_on(roomy(AXIAL))
    write_preview(path, plain)
    pixels = (imread(path)[:, :900, :3] * 255).round().astype(int)
    colour = np.array(organ("Parotid_L").colour)
    assert (np.abs(pixels - colour).max(axis=-1) < 12).sum() > 50


def test_what_is_on_the_patients_right_is_drawn_on_the_left(tmp_path):
    """The whole way to the file: a mirrored picture must fail here."""
    grid = Grid((60, 50, 40), (1.5, 1.5, 2.0), (-44.0, -40.0, -40.0))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[18:22, 20:30, 8:14] = organ("Parotid_R").label  # x = -30 mm
    array[18:22, 20:30, 46:52] = organ("Parotid_L").label
    path = tmp_path / "preview.png"
    flat = Volume(np.full(grid.shape, -1000, dtype=np.int16), grid)
    empty = result_on(grid)
    labels = Volume(array, grid)
    images = CaseImages(flat)
    write_preview(path, dataclasses.replace(empty, images=images, labels=labels))
    image = (imread(path)[..., :3] * 255).round().astype(int)
    panel = image[: image.shape[0] // 2, : axial_width(grid)]
    right, left = (
        np.nonzero(np.abs(panel - organ(n).colour).max(axis=-1) < 12)[1].mean()
        for n in ("Parotid_R", "Parotid_L")
    )
    assert right < left


def axial_width(grid: Grid) -> int:
    """Return the first plane's right edge in pixels of the picture."""
    corners = grid.corners()
    low, high = (tuple(c.tolist()) for c in (corners.min(axis=0), corners.max(axis=0)))
    layout = layout_of(low, high)
    left, _, width, _ = layout.panel(0, 0)
    return int((left + width) * layout.size[0] * 100)


def test_a_picture_without_organs_is_drawn(tmp_path):
    nothing = result_on(roomy(AXIAL))
    nothing.labels.array[:] = 0
    write_preview(tmp_path / "preview.png", nothing)
    assert (tmp_path / "preview.png").stat().st_size > 1000


def test_every_status_and_a_long_reason_have_their_words(tmp_path):
    plain = result_on(roomy(AXIAL))
    statuses = list(OrganStatus) * 6
    organs = tuple(
        each.model_copy(update={"status": status})
        for each, status in zip(plain.organs, statuses, strict=True)
    )
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason="long " * 80)
    changed = dataclasses.replace(plain, organs=organs, registration=report)
    write_preview(tmp_path / "preview.png", changed)


def test_an_organ_that_the_scan_cuts_is_called_cut():
    cut = OrganResult(
        name="Parotid_L",
        label=27,
        status=OrganStatus.CONTOURED,
        volume_ml=12.34,
        flags=(Flag.of(FlagCode.TRUNCATED_AT_SCAN_EDGE),),
    )
    doubted = cut.model_copy(update={"status": OrganStatus.LOW_CONFIDENCE})
    assert _remark(cut) == "cut, 12.3 ml"
    assert _remark(doubted) == "check! cut, 12.3 ml"


def test_every_verdict_has_its_words():
    assert set(VERDICTS) == set(MrVerdict)


def test_a_scan_of_one_slice_is_drawn(tmp_path):
    grid = Grid((40, 38, 1), (1.5, 1.6, 3.0))
    array = np.zeros(grid.shape, dtype=np.uint8)
    array[0, 5:15, 6:18] = 27
    one = dataclasses.replace(
        result_on(roomy(AXIAL)),
        images=CaseImages(ct_on(grid)),
        labels=Volume(array, grid),
    )
    write_preview(tmp_path / "preview.png", one)


def test_an_mr_of_one_value_is_drawn(tmp_path):
    plain = with_mr(result_on(roomy(AXIAL)))
    flat = plain.images.ct.with_array(np.zeros(roomy(AXIAL).shape, dtype=np.float32))
    images = dataclasses.replace(plain.images, mr=flat)
    write_preview(tmp_path / "preview.png", dataclasses.replace(plain, images=images))
