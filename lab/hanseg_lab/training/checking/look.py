"""The check of one case's files: errors, and a picture that recognises its CT."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from hanseg_lab.training.checking.likeness import Likeness, likeness_of
from hanseg_lab.training.checking.outlines import (
    in_air,
    off_grid,
    overlaps,
    unusual_size,
)
from hanseg_lab.training.checking.sides import wrong_sides
from hanseg_lab.training.datasets.dataset import (
    Contour,
    DatasetCase,
    Finding,
)
from hanseg_shared.errors import InputError
from hanseg_shared.io.header import read_header
from hanseg_shared.io.read import read_mr
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class CaseLook:
    """What a look at a case found.

    Attributes:
        case: Its name.
        findings: Errors and remarks.
        contoured: Labels that count as contoured.
        likeness: What its CT is recognised by; None if that cannot be read.
    """

    case: str
    findings: tuple[Finding, ...]
    contoured: tuple[str, ...]
    likeness: Likeness | None


def look_at(case: DatasetCase) -> CaseLook:
    """Read every file of a case and return its errors; none of them is raised."""
    findings: list[Finding] = []
    try:
        ct = case.read_ct()
    except InputError as error:
        return CaseLook(case.name, (Finding(case.name, error.message),), (), None)
    findings += [*_of_headers(case), *_of_mr(case)]
    contours: list[Contour] = []
    for file in case.mask_files:
        try:
            found = case.read_contours(file)
        except InputError as error:
            findings.append(Finding(case.name, error.message))
            continue
        if not found:
            findings.append(Finding(case.name, f"{file.name} is empty; remove it"))
        contours += [each for each in found if each.label.name not in case.uncontoured]
    findings += _of_contours(case.name, contours, ct)
    names = tuple(each.label.name for each in contours)
    return CaseLook(case.name, tuple(findings), names, likeness_of(ct))


def _of_headers(case: DatasetCase) -> Iterator[Finding]:
    """Yield what the images' headers make remarkable; refusals come from reading."""
    for path in (case.ct, case.mr):
        if path is None:
            continue
        with contextlib.suppress(InputError):
            for remark in read_header(path).remarks:
                yield Finding(case.name, f"{path.name}: {remark}", refuses=False)


def _of_mr(case: DatasetCase) -> list[Finding]:
    if case.mr is None:
        return []
    try:
        read_mr(case.mr)
    except InputError as error:
        return [Finding(case.name, error.message)]
    return []


def _of_contours(case: str, contours: list[Contour], ct: Volume) -> Iterator[Finding]:
    ours = [each for each in contours if each.label.organs]
    placed = []
    for each in ours:
        wrong = off_grid(each, ct.grid)
        if wrong is None:
            placed.append(each)
            wrong = in_air(each, ct)
        if wrong is not None:
            yield Finding(case, wrong)
        odd = unusual_size(each)
        if odd is not None:
            yield Finding(case, odd, refuses=False)
    for message, refuses in overlaps(placed, ct.grid):
        yield Finding(case, message, refuses=refuses)
    for message in wrong_sides(placed):
        yield Finding(case, message)
