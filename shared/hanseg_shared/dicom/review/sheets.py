"""The pages of the review: the case, its registration, and the organs in groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from hanseg_shared.dicom.review.content import (
    STATUS_WORDS,
    VERDICT_WORDS,
    Box,
    Group,
    Review,
    describe_patient,
    find_groups,
    find_middle_mm,
    list_checks,
    shorten,
)
from hanseg_shared.dicom.review.paper import (
    DIM_INK,
    DOTS_PER_INCH,
    INK,
    LINE,
    MARGIN,
    MOST_LINES,
    PANEL_HEIGHT,
    PANEL_WIDTH,
    PAPER,
    SMALL_SIZE,
    TITLE,
    WARNING_INK,
    WINDOW_HU,
    Page,
    colour_of,
    new_page,
    wrap,
    wrap_all,
    write_list,
)
from hanseg_shared.dicom.review.table import draw_table, split_table
from hanseg_shared.documents import MrVerdict
from hanseg_shared.grid import Grid
from hanseg_shared.itk import Interpolation
from hanseg_shared.organs import ORGANS, Organ, OrganStatus
from hanseg_shared.pictures.checkerboard import SQUARE_MM, make_checkerboard
from hanseg_shared.pictures.choice import choose_planes
from hanseg_shared.pictures.planes import Direction, Pixels, Plane, sample_plane
from hanseg_shared.pictures.sheet import contour, show
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AIR_HU = -1024.0
"""Shown where the CT ends."""

MOST_REASON_LINES = 6
MOST_COVER_LINES = 3
"""Of the organs to be checked, and of the remarks, on the first page; more remarks have
a page of their own."""

VERDICT_COLOURS = {
    MrVerdict.USED: "#dcefe1",
    MrVerdict.REJECTED: "#f7d9d6",
    MrVerdict.ABSENT: "#e8eaec",
}

DIRECTIONS = (Direction.AXIAL, Direction.CORONAL, Direction.SAGITTAL)

GROUPS_A_PAGE = 3


def draw_pages(review: Review) -> Iterator[Figure]:
    """Yield the pages: the case and its registration, the organ groups, the table."""
    middle_mm = find_middle_mm(review.labels)
    groups = find_groups(review.labels)
    tables = split_table(review.organs)
    remarks = wrap_all(review.remarks)
    more = len(remarks) > MOST_COVER_LINES
    pages = 1 + -(-len(groups) // GROUPS_A_PAGE) + len(tables) + int(more)
    on_cover = [f"see page {pages}"] if more else remarks
    yield _draw_cover(review, middle_mm, on_cover, f"page 1 of {pages}")
    number = 1
    for first in range(0, len(groups), GROUPS_A_PAGE):
        number += 1
        page = new_page(review, f"page {number} of {pages}")
        for group in groups[first : first + GROUPS_A_PAGE]:
            _draw_group(page, review, group, middle_mm)
        yield page.figure
    for rows in tables:
        number += 1
        page = new_page(review, f"page {number} of {pages}")
        draw_table(page, rows)
        yield page.figure
    if more:
        page = new_page(review, f"page {pages} of {pages}")
        write_list(page, "Remarks", remarks, MOST_LINES)
        yield page.figure


def _draw_cover(
    review: Review, middle_mm: float, remarks: list[str], number: str
) -> Figure:
    page = new_page(review, number)
    page.write("Organs at risk of the head and neck", size=15, weight="bold")
    page.down += 0.32
    _write_facts(page, review)
    _write_verdict(page, review)
    labels = _contoured(review.labels)
    if review.mr is not None:
        _draw_registration(page, review, labels, middle_mm)
    _draw_organs(page, review, labels, middle_mm)
    organs = wrap_all(list_checks(review.organs))
    write_list(page, "Organs", organs, MOST_COVER_LINES)
    write_list(page, "Remarks", remarks, MOST_COVER_LINES)
    return page.figure


def _write_facts(page: Page, review: Review) -> None:
    """Write who, when, which CT and which model."""
    grid, model = review.ct.grid, review.model
    size = " x ".join(str(n) for n in grid.size)
    spacing = " x ".join(f"{s:.3g}" for s in grid.spacing)
    if review.case is not None:
        for caption, words in describe_patient(review.case):
            _write_fact(page, caption, words)
        made = review.case.created_at.strftime("%Y-%m-%d %H:%M UTC")
        _write_fact(page, "Contoured", made)
    _write_fact(page, "CT", f"{size} voxels of {spacing} mm")
    _write_fact(page, "Model", f"{model.name} {model.version}")
    page.write("Weights", colour=DIM_INK)
    page.write(f"SHA-256 {model.sha256}", left=MARGIN + 0.85, size=SMALL_SIZE)
    page.down += LINE * 1.4


def _write_fact(page: Page, caption: str, words: str) -> None:
    page.write(caption, colour=DIM_INK)
    page.write(shorten(words), left=MARGIN + 0.85, weight="bold")
    page.down += LINE * 1.05


def _write_verdict(page: Page, review: Review) -> None:
    """Write what became of the MR and why, on a coloured band."""
    from matplotlib.patches import Rectangle

    report = review.registration
    lines = wrap(report.why, PAPER[0] - 2 * MARGIN - 0.2, MOST_REASON_LINES)
    height = 0.3 + LINE * len(lines)
    place = (MARGIN / PAPER[0], 1.0 - (page.down - 0.1 + height) / PAPER[1])
    size = ((PAPER[0] - 2 * MARGIN) / PAPER[0], height / PAPER[1])
    colour = VERDICT_COLOURS[report.verdict]
    band = Rectangle(place, *size, transform=page.figure.transFigure, color=colour)
    page.figure.patches.append(band)
    page.down += 0.03
    page.write(VERDICT_WORDS[report.verdict], left=MARGIN + 0.1, size=10, weight="bold")
    for line in lines:
        page.down += LINE
        page.write(line, left=MARGIN + 0.1)
    page.down += 0.26


def _contoured(labels: Volume) -> Volume:
    """Return the part of a label map that has organs; all of it where none has."""
    found = [np.flatnonzero(labels.array.any(axis=axes)) for axes in _OTHER_AXES]
    if not all(len(places) for places in found):
        return labels
    z, y, x = (slice(int(places[0]), int(places[-1]) + 1) for places in found)
    grid = labels.grid.crop(
        (x.start, y.start, z.start),
        (x.stop - x.start, y.stop - y.start, z.stop - z.start),
    )
    return Volume(labels.array[z, y, x], grid)


_OTHER_AXES = ((1, 2), (0, 2), (0, 1))


def _draw_registration(
    page: Page, review: Review, labels: Volume, middle_mm: float
) -> None:
    """Draw the checkerboard of CT and MR in three planes."""
    page.write("Registration", weight="bold")
    words = (
        f"squares of {SQUARE_MM:.0f} mm of CT (bluish) and MR (yellowish): bone, skin "
        "and ventricles must continue across their edges"
    )
    page.write(words, left=MARGIN + 0.9, size=7, colour=DIM_INK)
    page.down += 0.03
    box = Box.around(labels.grid.corners(), review.ct.grid)
    planes = choose_planes(labels, DIRECTIONS)
    window = _find_mr_window(review, planes, box)
    for column, plane in enumerate(planes):
        axes, pixels = _place(page, column, plane, box, review.ct.grid)
        ct = sample_plane(review.ct, pixels, background=AIR_HU)
        mr, inside = _sample_mr(review, pixels)
        colours = make_checkerboard(
            ct, mr, inside, pixels, ct_window=WINDOW_HU, mr_window=window
        )
        title = f"CT and MR {plane.direction.name.lower()}"
        _show(axes, colours, plane, pixels, title, middle_mm)
    page.down += TITLE + PANEL_HEIGHT + 0.2


def _sample_mr(review: Review, pixels: Grid) -> tuple[Pixels, np.ndarray]:
    """Return the MR in a plane's pixels, and where it has data."""
    assert review.mr is not None
    mr = sample_plane(review.mr, pixels)
    if review.field_of_view is None:
        return mr, np.ones(mr.shape, dtype=bool)
    view = review.field_of_view
    return mr, sample_plane(view, pixels, interpolation=Interpolation.NEAREST) != 0


def _find_mr_window(
    review: Review, planes: list[Plane], box: Box
) -> tuple[float, float]:
    """Return the middle 98 % of what the planes show of the MR."""
    seen = []
    for plane in planes:
        mr, inside = _sample_mr(review, plane.grid(box.low, box.high, pixel_mm=2.0))
        seen.append(mr[inside].astype(np.float64))
    values = np.concatenate(seen)
    if not values.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(values, (1, 99)))
    return (low, high) if high > low else (low, low + 1.0)


def _draw_organs(page: Page, review: Review, labels: Volume, middle_mm: float) -> None:
    """Draw all organs in three planes."""
    page.write("All organs", weight="bold")
    page.down += 0.03
    box = Box.around(labels.grid.corners(), review.ct.grid)
    _draw_planes(page, review, ORGANS, labels, box, middle_mm)


def _draw_group(page: Page, review: Review, group: Group, middle_mm: float) -> None:
    """Draw a group of organs in three planes, with its legend."""
    page.write(group.title, size=10, weight="bold")
    page.down += 0.19
    _write_legend(page, review, group.organs)
    if group.labels is None:
        page.down += 0.3
        page.write("None of these organs has a contour.", colour=DIM_INK)
        page.down += TITLE + PANEL_HEIGHT + 0.05
        return
    _draw_planes(page, review, group.organs, group.labels, group.box, middle_mm)


def _write_legend(page: Page, review: Review, members: tuple[Organ, ...]) -> None:
    """Write the members' names in their colours' order, and what to know of each."""
    from matplotlib.patches import Rectangle

    left, most = MARGIN, PAPER[0] - MARGIN
    for member in members:
        result = review.organs[member.label - 1]
        status = result.status
        words = member.name
        if status is not OrganStatus.CONTOURED:
            words = f"{words} ({STATUS_WORDS[status]})"
        width = 0.13 + 0.0725 * len(words) + 0.12
        if left + width > most:
            left, page.down = MARGIN, page.down + LINE
        place = (left / PAPER[0], 1.0 - (page.down + 0.045) / PAPER[1])
        colour = colour_of(member) if result.volume_ml > 0 else "white"
        square = Rectangle(
            place,
            0.09 / PAPER[0],
            0.09 / PAPER[1],
            transform=page.figure.transFigure,
            facecolor=colour,
            edgecolor=INK,
            linewidth=0.4,
        )
        page.figure.patches.append(square)
        ink = WARNING_INK if status is OrganStatus.LOW_CONFIDENCE else INK
        ink = ink if result.volume_ml > 0 else DIM_INK
        page.write(words, left=left + 0.14, size=7.5, colour=ink)
        left += width
    page.down += 0.1


def _draw_planes(
    page: Page,
    review: Review,
    members: tuple[Organ, ...],
    labels: Volume,
    box: Box,
    middle_mm: float,
) -> None:
    for column, plane in enumerate(choose_planes(labels, DIRECTIONS)):
        axes, pixels = _place(page, column, plane, box, review.ct.grid)
        image = sample_plane(review.ct, pixels, background=AIR_HU)
        title = f"CT {plane.direction.name.lower()}"
        _show(axes, image, plane, pixels, title, middle_mm)
        flat = sample_plane(labels, pixels, interpolation=Interpolation.NEAREST)
        for member in members:
            mask = flat == member.label
            contour(axes, mask, pixels, colour=colour_of(member), width=1.0)
    page.down += TITLE + PANEL_HEIGHT + 0.2


def _place(
    page: Page, column: int, plane: Plane, box: Box, ct: Grid
) -> tuple[Axes, Grid]:
    """Return axes and pixels of a plane, fitted into one of the three fields.

    More of the CT than the box is shown where that fills the field.
    """
    across, down = plane.direction.across, plane.direction.down
    box = box.fill(across, down, PANEL_WIDTH / PANEL_HEIGHT, ct)
    width_mm = box.high[across] - box.low[across]
    height_mm = box.high[down] - box.low[down]
    scale = min(PANEL_WIDTH / width_mm, PANEL_HEIGHT / height_mm)
    axes = page.panel(column, width_mm * scale, height_mm * scale)
    pixels = plane.grid(box.low, box.high, pixel_mm=1.0 / (scale * DOTS_PER_INCH))
    return axes, pixels


def _show(
    axes: Axes,
    image: np.ndarray,
    plane: Plane,
    pixels: Grid,
    title: str,
    middle_mm: float,
) -> None:
    show(
        axes,
        image,
        plane,
        pixels,
        window=WINDOW_HU,
        title=title,
        middle_mm=middle_mm,
        font_size=7,
    )
