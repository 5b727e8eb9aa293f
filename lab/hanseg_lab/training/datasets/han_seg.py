"""HaN-Seg's own folder, as the public data set is unpacked and as phantoms are written.

`set_1/case_01/case_01_IMG_CT.nrrd`, `case_01_IMG_MR_T1.nrrd` (in its own frame),
`case_01_OAR_<organ>.seg.nrrd` and `set_1/OAR_data.csv`. Organs go by the names of
their files, never by their order. Which of them count says the table; see
`organ_table`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_lab.declaration import (
    FILE,
    Declaration,
    known_declaration,
    read_declaration,
)
from hanseg_lab.training.datasets.dataset import Dataset, Finding, list_names
from hanseg_lab.training.datasets.image_case import ImageCase, MaskFile
from hanseg_lab.training.datasets.organ_table import (
    TABLE,
    OrganTable,
    read_organ_table,
)
from hanseg_shared.io.names import image_stem, natural

SET_FOLDER = "set_1"
"""The folder of the public cases."""

_FILE = re.compile(r"(?P<case>.+?)_(?P<kind>IMG|OAR)_(?P<what>.+?)(\.seg)?\.nrrd")


@dataclass(slots=True)
class _Files:
    """What a case's folder holds."""

    folder: Path
    images: dict[str, Path] = field(default_factory=dict)
    organs: dict[str, Path] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)


def cases_folder(folder: Path) -> Path | None:
    """Return the folder whose sub-folders are HaN-Seg's cases, if it is one."""
    for place in (folder / SET_FOLDER, folder):
        if place.is_dir() and ((place / TABLE).exists() or any(_case_folders(place))):
            return place
    return None


def find_han_seg(folder: Path) -> Dataset:
    """Return HaN-Seg's cases; `folder` is what `cases_folder` gave.

    Raises:
        InputError: The table of organs or the declaration cannot be used.
    """
    declaration = _declaration(folder)
    if not (folder / TABLE).exists():
        missing = Finding(
            "", f"{folder / TABLE} is missing: it says which masks are whole"
        )
        return Dataset(declaration, (), (missing,))
    table = read_organ_table(folder / TABLE)
    found = [_look_into(path) for path in _case_folders(folder)]
    cases = [_case(each, declaration, table) for each in found if "CT" in each.images]
    findings = _findings_of_table(table, found)
    findings += _report_passed_over(folder)
    for each in found:
        findings += _findings_of_files(each, declaration)
        findings += _findings_of_organs(each, table)
    return Dataset(declaration, tuple(cases), tuple(findings))


def _declaration(folder: Path) -> Declaration:
    places = [folder / FILE, folder.parent / FILE]
    named = next((path for path in places if path.exists()), None)
    return known_declaration("han_seg") if named is None else read_declaration(named)


def _case_folders(folder: Path) -> list[Path]:
    """Return the sub-folders that hold a file named as HaN-Seg's."""
    found = [
        path
        for path in folder.iterdir()
        if path.is_dir() and any(_FILE.fullmatch(each.name) for each in path.iterdir())
    ]
    return sorted(found, key=lambda path: natural(path.name))


def _report_passed_over(folder: Path) -> list[Finding]:
    """Return the images, and folders of images, that are not called as HaN-Seg's."""
    cases = _case_folders(folder)
    strange = [
        path
        for path in sorted(folder.iterdir(), key=lambda path: natural(path.name))
        if path not in cases and not path.name.startswith(".") and _holds_image(path)
    ]
    why = f"was passed over: it is no case_NN with case_NN_IMG_CT.nrrd below {folder}"
    return [Finding("", f"{path.name} {why}", refuses=False) for path in strange]


def _holds_image(path: Path) -> bool:
    inside = path.iterdir() if path.is_dir() else (path,)
    return any(image_stem(each) is not None for each in inside)


def _look_into(folder: Path) -> _Files:
    files = _Files(folder)
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is None or match["case"] != folder.name:
            if not path.name.startswith("."):
                files.strange.append(path.name)
            continue
        kept = files.images if match["kind"] == "IMG" else files.organs
        kept[match["what"]] = path
    return files


def _case(files: _Files, declaration: Declaration, table: OrganTable) -> ImageCase:
    name = files.folder.name
    masks = tuple(
        MaskFile(files.organs[label.name], (label,), alone=True)
        for label in declaration.labels
        if label.name in files.organs
    )
    doubted = {o for o in files.organs if table.is_whole(name, o) is not True}
    images = files.images
    return ImageCase(
        name, declaration, images["CT"], images.get("MR_T1"), masks, frozenset(doubted)
    )


def _findings_of_table(table: OrganTable, found: list[_Files]) -> list[Finding]:
    names = {each.folder.name for each in found}
    findings = [
        Finding(name, f"it has a row in {TABLE}, but no folder with files")
        for name in table.rows
        if name not in names
    ]
    findings += [
        Finding(
            name, f"it has no row in {TABLE}; add one, 1 for each organ contoured whole"
        )
        for name in sorted(names - set(table.rows), key=natural)
    ]
    if table.unknown:
        message = (
            f"{TABLE} has columns that are no organ's: {list_names(table.unknown)}"
        )
        findings.append(Finding("", message, refuses=False))
    return findings


def _findings_of_files(files: _Files, declaration: Declaration) -> list[Finding]:
    name = files.folder.name
    findings = []
    if "CT" not in files.images:
        findings.append(Finding(name, f"{name}_IMG_CT.nrrd is missing"))
    if "MR_T1" not in files.images:
        findings.append(
            Finding(name, "it has no MR and trains as CT alone", refuses=False)
        )
    findings += [
        Finding(name, f"{path.name}: the data set has no organ {organ!r}")
        for organ, path in files.organs.items()
        if declaration.label(organ) is None
    ]
    findings += [
        Finding(name, f"{each}: its name is not {name}_IMG_... or {name}_OAR_....nrrd")
        for each in files.strange
    ]
    return findings


def _findings_of_organs(files: _Files, table: OrganTable) -> list[Finding]:
    """Return where the table and the files of a case do not agree."""
    name = files.folder.name
    if name not in table.rows:
        return []
    findings = []
    for organ in (each.name for each in known_declaration("han_seg").labels):
        whole = table.is_whole(name, organ)
        if whole and organ not in files.organs:
            message = (
                f"{name}_OAR_{organ}.seg.nrrd is missing; {TABLE} says it is whole"
            )
            findings.append(Finding(name, message))
    doubted = [o for o in files.organs if table.is_whole(name, o) is not True]
    if doubted:
        message = f"not whole by {TABLE}, taken as not contoured: {list_names(doubted)}"
        findings.append(Finding(name, message, refuses=False))
    return findings
