"""Cases with masks found in folders, and predictions matched with references.

Known are: label maps side by side (`case_01_seg.nii.gz`), and a sub-folder a case
with a label map (`segmentation.nii.gz`: a job's results), with a file an organ
(`Parotid_L.nii.gz`, also under `masks/`), or in HaN-Seg's own layout
(`case_01/case_01_OAR_Parotid_L.seg.nrrd`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.evaluation.case_masks import CaseSource
from hanseg_shared.io.formats import dicom_kind, start_of
from hanseg_shared.organs import ORGANS, organ

_IMAGE_NAME = re.compile(r"(.+?)(\.seg)?\.(nii\.gz|nii|nrrd|mha)", re.IGNORECASE)
_ORGAN_PART = re.compile(r"(?:.*_)?OAR_(.+)")
_MASK_WORDS = {
    *("seg", "segmentation", "label", "labels", "labelmap", "mask", "masks", "oar"),
    *("oars", "pred", "prediction", "gt", "ref", "reference", "img"),
}
_IMAGE_WORDS = {"ct", "mr", "mri", "t1", "registered", "view"}
_ORGAN_NAMES = {each.name for each in ORGANS}


@dataclass(frozen=True, slots=True)
class CasePair:
    """A case's prediction and its reference."""

    name: str
    prediction: CaseSource
    reference: CaseSource


def match_cases(predictions: Path, references: Path) -> list[CasePair]:
    """Return the cases that two folders (or two files) hold, matched by name.

    Raises:
        InputError: A folder holds no case, one case is found twice, or cases have no
            counterpart; every such case is named.
    """
    found, wanted = find_case_masks(predictions), find_case_masks(references)
    if _is_single(predictions) and _is_single(references):
        return [CasePair(wanted[0].name, found[0], wanted[0])]
    by_name = {source.name: source for source in found}
    pairs = [
        CasePair(reference.name, by_name[reference.name], reference)
        for reference in wanted
        if reference.name in by_name
    ]
    known = {reference.name for reference in wanted}
    missing = [
        *(f"{s.name}: there is no prediction" for s in wanted if s.name not in by_name),
        *(f"{s.name}: there is no reference" for s in found if s.name not in known),
    ]
    if missing:
        raise InputError("cases without a counterpart:\n  " + "\n  ".join(missing))
    return pairs


def find_case_masks(path: Path) -> list[CaseSource]:
    """Return the cases of a folder, or of one file, in natural order of their names.

    Raises:
        InputError: There is no case, a case is found twice, a mask's name is no
            organ's, or the file is an RTSTRUCT.
    """
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    _refuse_dicom(path)
    if path.is_file():
        return [CaseSource(case_name(path), path)]
    cases = _cases_in(path)
    if not cases:
        raise InputError(
            f"{path}: no case is found; a label map a case is needed "
            "(case_01_seg.nii.gz), or a sub-folder a case with segmentation.nii.gz, "
            "with a file an organ (Parotid_L.nii.gz), or as HaN-Seg's"
        )
    _require_unique(cases, path)
    return sorted(cases, key=lambda case: natural(case.name))


def case_name(path: Path) -> str:
    """Return the case that a label map's name tells: without words such as `_seg`."""
    words = _stem(path).split("_")
    while len(words) > 1 and words[-1].lower() in _MASK_WORDS:
        words.pop()
    return "_".join(words)


def natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts numbers in names by value."""
    parts = re.split(r"([0-9]+)", text.lower())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _is_single(path: Path) -> bool:
    return path.is_file() or _case_of(path) is not None


def _cases_in(folder: Path) -> list[CaseSource]:
    own = _case_of(folder)
    if own is not None:
        return [own]
    cases: list[CaseSource] = []
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        _refuse_dicom(entry)
        if entry.is_dir() and not entry.is_symlink():
            cases += _cases_in(entry)
        elif _is_label_map(entry):
            cases.append(CaseSource(case_name(entry), entry))
    return cases


def _case_of(folder: Path) -> CaseSource | None:
    """Return the one case whose masks lie directly in a folder, if there is one."""
    name = folder.resolve().name
    images = [path for path in sorted(folder.iterdir()) if _is_image(path)]
    label_maps = [path for path in images if _stem(path).lower() in _MASK_WORDS]
    if len(label_maps) > 1:
        names = ", ".join(path.name for path in label_maps)
        raise InputError(f"{folder}: which is the case's label map: {names}?")
    if label_maps:
        return CaseSource(name, label_maps[0])
    if (folder / "masks").is_dir():
        inner = _case_of(folder / "masks")
        return None if inner is None else replace(inner, name=name)
    files = _organ_files(images, strict=folder.name == "masks")
    if not files:
        return None
    cropped = any(path.name.lower().endswith(".seg.nrrd") for path in files.values())
    return CaseSource(name, None, files, may_be_cropped=cropped)


def _organ_files(images: list[Path], *, strict: bool) -> dict[str, Path]:
    """Return the files that hold an organ each, by the organ's name.

    Raises:
        InputError: Two files hold one organ, or one names an organ there is not.
    """
    files: dict[str, Path] = {}
    for path in images:
        name = _organ_name(path, strict=strict)
        if name is None:
            continue
        if name in files:
            raise InputError(f"{path}: {name} is in {files[name].name} too")
        files[name] = path
    return dict(sorted(files.items(), key=lambda item: organ(item[0]).label))


def _organ_name(path: Path, *, strict: bool) -> str | None:
    stem = _stem(path)
    match = _ORGAN_PART.fullmatch(stem)
    name = match.group(1) if match else stem
    if name in _ORGAN_NAMES:
        return name
    if match is None and not strict:
        return None
    try:
        return organ(name).name
    except OptionError as error:
        raise InputError(f"{path}: {error.message}") from None


def _is_label_map(path: Path) -> bool:
    words = _stem(path).lower().split("_")
    return _is_image(path) and words[-1] not in _IMAGE_WORDS


def _is_image(path: Path) -> bool:
    return path.is_file() and _IMAGE_NAME.fullmatch(path.name) is not None


def _stem(path: Path) -> str:
    match = _IMAGE_NAME.fullmatch(path.name)
    return match.group(1) if match else path.stem


def _refuse_dicom(path: Path) -> None:
    if path.is_file() and path.suffix.lower() in {".dcm", ".ima"}:
        kind = dicom_kind(start_of(path)) or "named as a DICOM file"
        raise InputError(
            f"{path}: it is {kind}, which is not read by this version; export the "
            "structures as a label map or as masks (NIfTI, NRRD or MHA)"
        )


def _require_unique(cases: Iterable[CaseSource], path: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.name in seen:
            raise InputError(f"{path}: the case {case.name} is found twice")
        seen.add(case.name)
