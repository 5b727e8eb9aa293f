"""The sheet as a PDF to be printed, signed and filed."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanseg_lab.commissioning.report import (
    HEADINGS,
    LEGEND,
    PHANTOM_HEADINGS,
    PHANTOMS,
    TITLE,
    Picture,
    describe_cases,
    describe_check,
    describe_origin,
    describe_phantom,
    describe_registration_limit,
    signature_line,
    verdict_of,
)
from hanseg_shared.dicom.review.paper import (
    DIM_INK,
    DOTS_PER_INCH,
    INK,
    LINE,
    MARGIN,
    PAPER,
    SMALL_SIZE,
    WARNING_INK,
    Page,
    wrap,
)
from hanseg_shared.signing.sheet import CommissioningSheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GOOD_INK = "#14622f"

BOTTOM = PAPER[1] - 0.8
"""Where a page is full, inches from its top."""

WIDTH = PAPER[0] - 2 * MARGIN

ORGAN_COLUMNS = (0.0, 1.4, 2.3, 3.4, 4.6, 5.85, 6.85)
PHANTOM_COLUMNS = (0.0, 1.4, 2.4, 3.4, 4.6)
ORIGIN_COLUMNS = (0.0, 2.3)

_PICTURE_HEIGHT = 2.75


class SheetPaper:
    """Pages that are written from the top down; a new one begins when one is full."""

    def __init__(self) -> None:
        self._pages: list[Page] = []
        self.turn()

    @property
    def page(self) -> Page:
        """The page that is being written."""
        return self._pages[-1]

    def turn(self) -> None:
        """Begin a page."""
        from matplotlib.figure import Figure

        page = Page(Figure(figsize=PAPER, dpi=DOTS_PER_INCH, facecolor="white"))
        page.down = MARGIN + LINE
        self._pages.append(page)

    def need(self, inches: float) -> None:
        """Begin a page unless there is so much room left."""
        if self.page.down + inches > BOTTOM:
            self.turn()

    def heading(self, text: str) -> None:
        """Write a heading with room above, and for a few lines below."""
        self.need(6 * LINE)
        self.page.down += LINE
        self.page.write(text, size=11, weight="bold")
        self.page.down += 1.6 * LINE

    def text(self, words: str, *, colour: str = INK) -> None:
        """Write a paragraph."""
        for line in wrap(words, WIDTH, 40):
            self.need(LINE)
            self.page.write(line, colour=colour)
            self.page.down += LINE

    def row(
        self, cells: Sequence[str], columns: Sequence[float], *, colour: str = INK
    ) -> None:
        """Write a row of a table."""
        self.need(LINE)
        for cell, left in zip(cells, columns, strict=True):
            self.page.write(cell, left=MARGIN + left, size=7.5, colour=colour)
        self.page.down += LINE

    def picture(self, picture: Picture) -> None:
        """Put a picture over the whole width."""
        from matplotlib.image import imread

        self.need(_PICTURE_HEIGHT + LINE)
        pixels = imread(io.BytesIO(picture.png), format="png")
        height = min(_PICTURE_HEIGHT, WIDTH * pixels.shape[0] / pixels.shape[1])
        width = height * pixels.shape[1] / pixels.shape[0]
        bottom = PAPER[1] - self.page.down - height
        axes = self.page.figure.add_axes(
            (
                MARGIN / PAPER[0],
                bottom / PAPER[1],
                width / PAPER[0],
                height / PAPER[1],
            )
        )
        axes.imshow(pixels, aspect="auto", interpolation="antialiased")
        axes.set_axis_off()
        self.page.down += height + LINE

    def figures(self, footer: str) -> Iterator[Figure]:
        """Return the pages, with their footers."""
        for number, page in enumerate(self._pages, start=1):
            page.down = PAPER[1] - 0.4
            page.write(footer, size=SMALL_SIZE, colour=DIM_INK)
            page.write(
                f"page {number} of {len(self._pages)}",
                left=PAPER[0] - MARGIN,
                size=SMALL_SIZE,
                colour=DIM_INK,
                align="right",
            )
            yield page.figure


def write_pdf(
    path: Path, sheet: CommissioningSheet, pictures: Sequence[Picture]
) -> None:
    """Write the sheet; the file says when the sheet was made and nothing of where."""
    from matplotlib.backends.backend_pdf import PdfPages

    paper = SheetPaper()
    _write_verdict(paper, sheet)
    _write_origin(paper, sheet)
    _write_organs(paper, sheet)
    _write_phantoms(paper, sheet)
    if pictures:
        paper.turn()
        paper.heading("Where contours differ most")
        paper.text(LEGEND, colour=DIM_INK)
    for picture in pictures:
        paper.picture(picture)
    about = {
        "Title": TITLE,
        "Creator": "hanseg",
        "Producer": None,
        "CreationDate": sheet.made_at,
        "ModDate": None,
    }
    model = sheet.made_of.model
    footer = f"{TITLE}, {sheet.made_at:%Y-%m-%d}, {model.name} {model.version}"
    with PdfPages(path, metadata=about) as pages:
        for figure in paper.figures(footer):
            pages.savefig(figure)


def _write_verdict(paper: SheetPaper, sheet: CommissioningSheet) -> None:
    paper.page.write(TITLE, size=15, weight="bold")
    paper.page.down += 2.2 * LINE
    ink = GOOD_INK if sheet.passed else WARNING_INK
    paper.page.write(verdict_of(sheet), size=13, weight="bold", colour=ink)
    paper.page.down += 2 * LINE
    for line in sheet.failures:
        paper.text(line)
    paper.page.down += 1.5 * LINE
    paper.need(3 * LINE)
    paper.page.write(signature_line(sheet), size=9)
    paper.page.down += LINE


def _write_origin(paper: SheetPaper, sheet: CommissioningSheet) -> None:
    paper.heading("What was commissioned")
    for row in describe_origin(sheet):
        paper.row(row, ORIGIN_COLUMNS)
    for remark in sheet.remarks:
        paper.text(remark)


def _write_organs(paper: SheetPaper, sheet: CommissioningSheet) -> None:
    paper.heading("Organs: mean over the cases, and the limit")
    header = ("organ", "cases", *HEADINGS.values(), "tol. [mm]")
    paper.row(header, ORGAN_COLUMNS, colour=DIM_INK)
    for organ in sheet.organs:
        cells = (
            organ.organ,
            describe_cases(organ),
            *(describe_check(check) for check in organ.checks),
            f"{organ.tolerance_mm:g}",
        )
        ink = INK if organ.passed else WARNING_INK
        paper.row(cells, ORGAN_COLUMNS, colour=ink)


def _write_phantoms(paper: SheetPaper, sheet: CommissioningSheet) -> None:
    paper.heading(PHANTOMS)
    if not sheet.phantoms:
        paper.text("Not tested.")
        return
    paper.text(describe_registration_limit(sheet), colour=DIM_INK)
    paper.row(PHANTOM_HEADINGS, PHANTOM_COLUMNS, colour=DIM_INK)
    for phantom in sheet.phantoms:
        ink = INK if phantom.passed else WARNING_INK
        paper.row(describe_phantom(phantom), PHANTOM_COLUMNS, colour=ink)
