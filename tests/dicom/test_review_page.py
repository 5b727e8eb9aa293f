"""The review page: complete, the same every time, with letters that can be printed."""

import subprocess
import sys
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.review.content import (
    GROUPS,
    Box,
    Review,
    choose_name,
    find_groups,
    list_checks,
)
from hanseg_shared.dicom.review.sheets import draw_pages
from hanseg_shared.dicom.review.table import split_table
from hanseg_shared.dicom.review_page import encapsulate, write_review_page
from hanseg_shared.documents import (
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.errors import GridMismatchError
from hanseg_shared.flags import Flag, FlagCode
from hanseg_shared.grid import Grid
from hanseg_shared.io.dicom.source import DicomIdentity
from hanseg_shared.organs import ORGANS, OrganStatus, organ
from hanseg_shared.volume import Volume
from tests.dicom.cases import dicom_case, identity
from tests.dicom.verifier import errors_of

CT = Grid((24, 20, 12), (5.0, 5.0, 8.0), (-60.0, -50.0, -200.0))
MODEL = ModelSummary(name="default", version="1.2.0", sha256="0123456789abcdef" * 4)
USED = RegistrationReport(verdict=MrVerdict.USED, reason="MR used: it fits.")
EMPTY = Volume(np.zeros(CT.shape, np.uint8), CT)
ABSENT = RegistrationReport(verdict=MrVerdict.ABSENT, reason="No MR was sent.")


def labels_on(grid: Grid) -> Volume:
    """Return a label map in which every organ but the lips has a few voxels."""
    array = np.zeros(grid.shape, np.uint8)
    places = np.random.default_rng(5).permutation(array.size)
    for number, each in enumerate(ORGANS):
        if each.name != "Lips":
            array.ravel()[places[3 * number : 3 * number + 3]] = each.label
    return Volume(array, grid)


def results(**flags: tuple[Flag, ...]) -> tuple[OrganResult, ...]:
    found = []
    for each in ORGANS:
        status = OrganStatus.CONTOURED
        if each.name in flags:
            status = OrganStatus.LOW_CONFIDENCE
        if each.name == "Lips":
            status = OrganStatus.EMPTY
        volume = 0.0 if each.name == "Lips" else 0.6
        found.append(
            OrganResult(
                name=each.name,
                label=each.label,
                status=status,
                volume_ml=volume,
                flags=flags.get(each.name, ()),
            )
        )
    return tuple(found)


def review(grid: Grid = CT, case: DicomCase | None = None, **changes) -> Review:
    ct = Volume(np.random.default_rng(1).normal(0, 80, grid.shape), grid)
    content = {
        "ct": ct,
        "labels": labels_on(grid),
        "mr": None,
        "field_of_view": None,
        "organs": results(),
        "registration": ABSENT,
        "model": MODEL,
        "case": case,
        "remarks": (),
    }
    return Review(**(content | changes))


def words_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.texts]


def all_words(what: Review) -> list[str]:
    return [word for figure in draw_pages(what) for word in words_of(figure)]


def write(folder: Path, case: DicomCase | None, **changes) -> tuple[Path, Path]:
    content = review(case=case, **changes)
    pdf, dicom = folder / "report.pdf", folder / "report.dcm"
    named = {each.name: getattr(content, each.name) for each in fields(Review)}
    write_review_page(pdf, dicom, **named)
    return pdf, dicom


def with_mr() -> dict[str, Any]:
    ct = review().ct
    view = np.zeros(CT.shape, np.uint8)
    view[3:9] = 1
    mr = ct.with_array(np.abs(ct.array) + 5)
    return {"mr": mr, "field_of_view": ct.with_array(view), "registration": USED}


@pytest.fixture(scope="module")
def pages() -> list[Figure]:
    """The pages of a case with an MR, flags and an organ that was not found."""
    flag = Flag.of(FlagCode.SMALL_VOLUME, 7.2, limit=8)
    organs = results(Parotid_L=(flag,), Eye_AL=(flag,) * 6)
    remarks = ("the CT: a slice is missing",)
    what = review(case=dicom_case(CT), organs=organs, remarks=remarks, **with_mr())
    return list(draw_pages(what))


def test_each_organ_is_in_one_group():
    counts = Counter(name for _, names in GROUPS for name in names)
    assert counts == dict.fromkeys((each.name for each in ORGANS), 1)


def test_the_table_has_all_thirty_organs(pages):
    words = words_of(pages[-1])
    assert all(each.name in words for each in ORGANS)
    assert words.count("contoured") == 27
    assert "not found" in words


def test_flags_stand_beside_their_organ(pages):
    assert "small volume 7.2 ml (limit 8 ml)" in words_of(pages[-1])
    assert "Check first: Eye_AL, Parotid_L" in words_of(pages[0])


def test_many_flags_make_the_table_longer():
    flags = tuple(Flag.of(code, 1.0) for code in FlagCode if code is not FlagCode.HOLES)
    crowded = results(**{each.name: flags for each in ORGANS})
    assert len(split_table(results())) == 1
    assert len(split_table(crowded)) > 1


def test_the_first_page_says_whose_which_model_and_why(pages):
    words = words_of(pages[0])
    for expected in (
        "Doe, Jane",
        "0815",
        "2026-03-01",
        "2026-03-04 05:06 UTC",
        "default 1.2.0",
        f"SHA-256 {MODEL.sha256}",
        "CT and MR: the MR was used",
        "It fits.",
    ):
        assert expected in words


def test_every_page_says_whose_it_is(pages):
    for page in pages:
        assert "Doe, Jane, ID 0815" in words_of(page)


def test_without_a_case_there_is_neither_patient_nor_date():
    words = words_of(next(draw_pages(review())))
    assert "Patient" not in words
    assert "Contoured" not in words


def test_few_remarks_stand_on_the_first_page(pages):
    assert "the CT: a slice is missing" in words_of(pages[0])


def test_many_remarks_have_a_page_of_their_own():
    remarks = tuple(f"remark {n}" for n in range(9))
    first, *_, last = draw_pages(review(labels=EMPTY, remarks=remarks))
    assert "remark 8" in words_of(last)
    assert "see page 5" in words_of(first)


def crowded(remarks: tuple[str, ...]) -> Review:
    """Return a review with as much to say as there can be, in the widest letters."""
    reason = "MR rejected: " + "it does not fit " * 90
    report = RegistrationReport(verdict=MrVerdict.REJECTED, reason=reason)
    flags = (Flag.of(FlagCode.ASYMMETRIC, 3.0, limit=2),) * 6
    attributes = identity("W" * 60).attributes | {
        "00100020": {"vr": "LO", "Value": ["W" * 64]}
    }
    return review(
        case=dicom_case(CT, whose=DicomIdentity(attributes=attributes)),
        labels=EMPTY,
        remarks=remarks,
        organs=results(**{each.name: flags for each in ORGANS if each.label % 2}),
        model=MODEL.model_copy(update={"name": "W" * 64}),
        **(with_mr() | {"registration": report}),
    )


def boxes_of(figure: Figure) -> list[Bbox]:
    figure.draw_without_rendering()  # pixels would take 250 MB a page, and are kept
    return [text.get_window_extent() for text in figure.texts if text.get_text()]


def overlap(one: Bbox, other: Bbox) -> float:
    """Return by how many pixels two boxes overlap."""
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    along = min(one.y1, other.y1) - max(one.y0, other.y0)
    return float(min(across, along))


def test_nothing_leaves_the_page_or_runs_into_something_else():
    for figure in draw_pages(crowded(remarks=("x " * 400,) * 30)):
        boxes = boxes_of(figure)
        footer, body = boxes[:4], boxes[4:]
        assert max(box.y1 for box in footer) < min(box.y0 for box in body)
        assert max(box.x1 for box in boxes) <= figure.bbox.x1
        assert min(box.x0 for box in boxes) >= 0
        assert all(axes.bbox.y0 > footer[0].y1 for axes in figure.axes)
        assert max(overlap(*pair) for pair in combinations(boxes, 2)) <= 2.5


def test_lines_do_not_run_into_each_other(pages):
    for figure in pages:
        pairs = combinations(boxes_of(figure), 2)
        assert max(overlap(*pair) for pair in pairs) <= 2.5


def left_parotid() -> Volume:
    array = np.zeros(CT.shape, np.uint8)
    array[4:8, 8:12, 18:22] = organ("Parotid_L").label  # +x: the patient's left
    return Volume(array, CT)


def test_left_organs_are_drawn_on_the_right_of_an_axial_plane():
    page = next(draw_pages(review(labels=left_parotid())))
    axial = next(a for a in page.axes if "axial" in a.texts[0].get_text())
    (outline,) = [c for c in axial.collections if c.get_paths()]
    across = np.asarray(outline.get_paths()[0].vertices)[:, 0]
    assert across.mean() > np.mean(axial.get_xlim())
    letters = {t.get_text(): t.get_position()[0] for t in axial.texts}
    assert letters["R"] < 0.5 < letters["L"]


def test_any_orientation_can_be_drawn(grid):
    assert next(draw_pages(review(grid))).axes


@pytest.mark.parametrize("size", [(24, 20, 1), (1, 1, 1)])
def test_a_ct_of_one_slice_can_be_drawn(size):
    grid = Grid(size, (2.0, 2.0, 3.0))
    labels = Volume(np.zeros(grid.shape, np.uint8), grid)
    assert next(draw_pages(review(grid, labels=labels))).axes


def test_a_box_is_widened_only_as_far_as_the_ct_reaches():
    grid = Grid((50, 50, 50))
    box = Box.around(np.array([[25.0, 25.0, 25.0]]), grid, smallest_mm=10.0)
    wide = box.fill(0, 1, 2.0, grid)
    assert np.subtract(wide.high, wide.low) == pytest.approx((48, 24, 24))
    assert box.fill(0, 1, 99.0, grid).high[0] == 49.5


def test_a_group_without_contours_is_named():
    assert all(group.labels is None for group in find_groups(EMPTY))
    words = all_words(review(labels=EMPTY))
    assert words.count("None of these organs has a contour.") == len(GROUPS)


def named(alphabetic: str, ideographic: str = "") -> DicomIdentity:
    name = {"Alphabetic": alphabetic, "Ideographic": ideographic}
    return DicomIdentity(attributes={"00100010": {"vr": "PN", "Value": [name]}})


@pytest.mark.parametrize(
    ("alphabetic", "shown"),
    [
        ("Doe^Jane", "Doe, Jane"),
        ("Müller^Zoë^^Dr.", "Müller, Zoë, Dr."),
        ("Пушкин^Александр", "Пушкин, Александр"),
        ("Παπαδόπουλος^Γιώργος", "Παπαδόπουλος, Γιώργος"),
        ("a$x^2$", "a$x, 2$"),
        ("山田^太郎", ""),
        ("כהן^דוד", ""),
        ("قباني^لنزار", ""),
        ("Doe\n^Jane", ""),
        ("", ""),
    ],
)
def test_a_name_is_shown_if_its_letters_can_be_printed(alphabetic, shown):
    assert choose_name(named(alphabetic)) == shown


def test_another_form_of_the_name_is_taken_if_the_first_cannot_be_printed():
    assert choose_name(named("山田^太郎", "Yamada^Tarou")) == "Yamada, Tarou"


def test_an_identity_without_name_and_id_can_be_shown():
    case = dicom_case(CT, whose=DicomIdentity())
    words = words_of(next(draw_pages(review(case=case))))
    assert "(none)" in words


def test_organs_without_fault_are_said_to_have_none():
    sound = [each for each in results() if each.name != "Lips"]
    assert list_checks(sound) == [
        "All 30 organs are contoured, and no check found a fault"
    ]


def test_the_dicom_object_holds_the_same_pdf(tmp_path):
    pdf, dicom = write(tmp_path, dicom_case(CT), labels=EMPTY)
    read = pydicom.dcmread(dicom)
    assert read.EncapsulatedDocument[: read.EncapsulatedDocumentLength] == (
        pdf.read_bytes()
    )
    assert read.MIMETypeOfEncapsulatedDocument == "application/pdf"
    assert read.PatientID == "0815"


def test_without_a_case_only_the_pdf_is_written(tmp_path):
    pdf, dicom = write(tmp_path, None, labels=EMPTY)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert not dicom.exists()


def test_the_pdf_has_no_date_but_the_cases(tmp_path):
    pdf, _ = write(tmp_path, dicom_case(CT), labels=EMPTY)
    assert b"20260304050607" in pdf.read_bytes()
    plain, _ = write(tmp_path, None, labels=EMPTY)
    assert b"CreationDate" not in plain.read_bytes()
    assert str(datetime.now(tz=UTC).year).encode() + b"-" not in plain.read_bytes()


SCRIPT = """
import sys
from itertools import combinations
from pathlib import Path
from typing import Any
from tests.dicom.cases import dicom_case
from tests.dicom.test_review_page import CT, left_parotid, with_mr, write
write(Path(sys.argv[1]), dicom_case(CT), labels=left_parotid(), **with_mr())
"""


def test_equal_input_gives_equal_bytes_in_any_process(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    write(here, dicom_case(CT), labels=left_parotid(), **with_mr())
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(there)],
        check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"},
        cwd=Path(__file__).resolve().parents[2],
    )
    for name in ("report.pdf", "report.dcm"):
        assert (here / name).read_bytes() == (there / name).read_bytes()


def test_labels_on_another_grid_are_refused(tmp_path):
    with pytest.raises(GridMismatchError, match="the segmentation"):
        write(tmp_path, None, labels=labels_on(Grid((24, 20, 12))))


@pytest.mark.dicom
@pytest.mark.parametrize("name", ["Doe^Jane", "Müller^Zoë", ""])
def test_dciodvfy_finds_no_error(tmp_path, name):
    case = dicom_case(CT, whose=identity(name))
    path = tmp_path / "report.dcm"
    encapsulate(b"%PDF-1.4 of an odd length", case).save_as(
        path, enforce_file_format=True
    )
    assert errors_of(path) == []
