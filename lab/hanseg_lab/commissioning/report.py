"""The sheet as one HTML page, and the words that it shares with the PDF."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hanseg_lab.commissioning.figures import DIGITS
from hanseg_lab.commissioning.limits import Limit
from hanseg_lab.evaluation.page import ReportPage
from hanseg_shared.signing.sheet import (
    CommissioningSheet,
    LimitCheck,
    OrganSheet,
    PhantomSheet,
)

TITLE = "Commissioning of the contouring service"

HEADINGS = {
    Limit.DSC: "DSC",
    Limit.HD95: "HD95 [mm]",
    Limit.SURFACE_DSC: "surface DSC",
    Limit.VOLUME_BIAS: "volume bias [%]",
}

PHANTOMS = "Registration of a phantom, its CT stored in every position"

PHANTOM_HEADINGS = ("CT stored as", "MR", "mean [mm]", "largest [mm]", "")

LEGEND = (
    "Reference green, service red, in the planes where they differ most; the patient's "
    "right is on the left."
)

NOT_MET = "✗"
"""Beside a figure that does not meet its limit: read also in black and white."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of the sheet.

    Attributes:
        title: What it shows; may name a case, as the PDF does.
        png: The picture, in which no case is named.
        shown: What it shows without a case, as the start of a file's name: an organ,
            or how the phantom was stored.
    """

    title: str
    png: bytes
    shown: str


def verdict_of(sheet: CommissioningSheet) -> str:
    """Return the verdict in a sentence."""
    if sheet.passed:
        return "PASS: every limit is met."
    count = len(sheet.failures)
    return f"FAIL: {count} {'limit is' if count == 1 else 'limits are'} not met."


def describe_origin(sheet: CommissioningSheet) -> list[tuple[str, str]]:
    """Return what was commissioned, as pairs of a name and a value."""
    made_of = sheet.made_of
    parameters = made_of.registration_parameters_sha256 or "no MR was registered"
    return [
        ("made", f"{sheet.made_at:%Y-%m-%d %H:%M} UTC"),
        (
            "reference cases",
            f"{sheet.cases}, of which {sheet.cases_with_mr} with their MR",
        ),
        ("model", f"{made_of.model.name} {made_of.model.version}"),
        ("model, SHA-256", made_of.model.sha256),
        ("registration parameters, SHA-256", parameters),
        ("limits, SHA-256", made_of.limits_sha256),
        ("images sent, SHA-256", made_of.images_sha256),
        *((name, version) for name, version in sorted(made_of.versions.items())),
    ]


def describe_check(check: LimitCheck) -> str:
    """Return a figure and its limit, such as ``0.712 (≥ 0.75) ✗``."""
    limit = Limit(check.metric)
    digits = DIGITS[limit]
    figure = "none" if check.mean is None else f"{check.mean:.{digits}f}"
    if check.limit is None:
        return figure
    word = "≥" if limit.is_share else "≤"
    return f"{figure} ({word} {check.limit:g})" + (
        "" if check.passed else f" {NOT_MET}"
    )


def describe_cases(organ: OrganSheet) -> str:
    """Return in how many cases an organ was compared, and missed."""
    return f"{organ.cases}, {organ.missed} missed" if organ.missed else str(organ.cases)


def describe_registration_limit(sheet: CommissioningSheet) -> str:
    """Return what is measured of the registrations of the phantom, and the limit."""
    return (
        "Target registration error over the brain; the limit of the mean is "
        f"{sheet.registration_limit_mm:g} mm, and the MR must be used."
    )


def describe_phantom(phantom: PhantomSheet) -> tuple[str, ...]:
    """Return a row: position, verdict of the MR, error in the mean and at most."""
    errors = (
        "none" if each is None else f"{each:.2f}"
        for each in (phantom.mean_mm, phantom.max_mm)
    )
    verdict = phantom.verdict.value if phantom.verdict else "none"
    result = "pass" if phantom.passed else f"fail {NOT_MET}"
    return (phantom.position, verdict, *errors, result)


def sheet_page(sheet: CommissioningSheet, pictures: Sequence[Picture]) -> str:
    """Return the sheet as an HTML document."""
    page = ReportPage(TITLE)
    page.heading(verdict_of(sheet))
    page.items(sheet.failures)
    page.paragraph(signature_line(sheet))
    page.heading("What was commissioned")
    page.table(("", ""), describe_origin(sheet))
    if sheet.remarks:
        page.items(sheet.remarks)
    _add_organs(page, sheet)
    _add_phantoms(page, sheet)
    page.heading("Where contours differ most")
    page.note(LEGEND)
    for picture in pictures:
        page.picture(picture.png, what=picture.title)
    return page.render()


def signature_line(sheet: CommissioningSheet) -> str:
    """Return who answers for the sheet, or room for a name and a date."""
    if sheet.signed_by is None:
        line = "_" * 24
        return f"Name: {line}    Date: {line[:12]}    Signature: {line}"
    return f"Signed by {sheet.signed_by}, {sheet.made_at:%Y-%m-%d}"


def _add_organs(page: ReportPage, sheet: CommissioningSheet) -> None:
    page.heading("Organs: mean over the cases, and the limit")
    rows = [
        (
            organ.organ,
            describe_cases(organ),
            *(describe_check(check) for check in organ.checks),
            f"{organ.tolerance_mm:g}",
            "pass" if organ.passed else f"fail {NOT_MET}",
        )
        for organ in sheet.organs
    ]
    header = ("organ", "cases", *HEADINGS.values(), "tolerance [mm]", "")
    page.table(header, rows)


def _add_phantoms(page: ReportPage, sheet: CommissioningSheet) -> None:
    page.heading(PHANTOMS)
    if not sheet.phantoms:
        page.paragraph("Not tested.")
        return
    page.note(describe_registration_limit(sheet))
    page.table(PHANTOM_HEADINGS, map(describe_phantom, sheet.phantoms))
