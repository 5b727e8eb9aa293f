"""Cases found in a folder: which file is whose CT, and which its MR."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hanseg_shared.errors import InputError

_IMAGE_NAME = re.compile(r"(.+)\.(nii\.gz|nii|nrrd|mha)", re.IGNORECASE)
_CT_WORDS = {"ct", "pct", "planct", "planningct"}
_MR_WORDS = {"mr", "mri", "mrt", "t1", "t1w", "mrt1", "mrit1"}
_FILLER_WORDS = {"img", "image"}
_NO_INPUT = re.compile(
    r"(oars?|labels?|labelmaps?|masks?|segs?|segmentations?|contours?|structures?|"
    r"doses?|clinical|deepmind|registered|fov)[0-9]*|t2w?|flair|dwi|adc|stir"
)
"""Words in the names of masks, results and of MR that is not T1-weighted."""

_DATA_SET_NAME = re.compile(r"han[-_ ]?seg", re.IGNORECASE)
"""The challenge's name, whose "seg" makes no file a segmentation."""

_NAMES_SHOWN = 6


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        name: What the case is called: its folder, or its files' common beginning.
        ct: The planning CT.
        mr: The T1 MR, or None.
    """

    name: str
    ct: Path
    mr: Path | None = None


def find_cases(folder: Path | str) -> list[CaseFiles]:
    """Return the cases of a folder, in natural order of their names.

    Three layouts are known: HaN-Seg's own (`set_1/case_01/case_01_IMG_CT.nrrd` and
    `case_01_IMG_MR_T1.nrrd`; the root, `set_1` or one case may be given), a sub-folder
    a case, and files side by side (`anna_ct.nii.gz`, `anna_t1.nii.gz`). A file is the
    CT or the MR by the words in its name (ct; mr, mri or t1); the only image of a
    folder is its CT. Masks and results (`.seg.nrrd`, `*_oars*`, `*_label*`, ...) and
    MR of another weighting (t2, flair, ...) are never taken.

    Folders are looked into however deep. A link to a file is followed, since cases are
    often gathered by links; a link to a folder is not, so that no search leaves the
    folder or runs in circles. Hidden files and folders are skipped.

    Raises:
        InputError: There is no such folder, no case in it, or it is unclear which
            file is which; the message names what was found.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    cases: list[CaseFiles] = []
    for each, images in _images_by_folder(folder).items():
        cases += _cases_of(each, images, is_root=each == folder)
    if not cases:
        raise InputError(_nothing_found(folder))
    _require_unique(cases)
    return sorted(cases, key=lambda case: _natural(case.name))


def _images_by_folder(folder: Path) -> dict[Path, list[Path]]:
    found: dict[Path, list[Path]] = {}
    entries = sorted(folder.iterdir(), key=lambda path: _natural(path.name))
    images = [path for path in entries if path.is_file() and _is_input(path)]
    if images:
        found[folder] = images
    for path in entries:
        if path.is_dir() and not path.is_symlink() and _is_open(path.name):
            found |= _images_by_folder(path)
    return found


def _is_input(path: Path) -> bool:
    """Whether a file may be a CT or MR, judged by its name."""
    if _IMAGE_NAME.fullmatch(path.name) is None or path.name.startswith("."):
        return False
    stem = _DATA_SET_NAME.sub("", _stem(path))
    return not any(_NO_INPUT.fullmatch(word) for word in _words(stem))


def _is_open(folder_name: str) -> bool:
    """Whether a folder may hold cases: it is not hidden, and not one of masks only."""
    words = _words(folder_name)
    only_masks = words and all(_NO_INPUT.fullmatch(word) for word in words)
    return not folder_name.startswith(".") and not only_masks


def _cases_of(folder: Path, images: list[Path], *, is_root: bool) -> list[CaseFiles]:
    """Return the cases whose images lie directly in one folder."""
    groups: dict[str, list[Path]] = {}
    for image in images:
        groups.setdefault(_case_name(image), []).append(image)
    if len(images) > 1 and len(_those(images, _CT_WORDS)) != 1:
        return [
            _case(name or folder.name, folder, each) for name, each in groups.items()
        ]
    name = next(iter(groups)) if is_root and len(groups) == 1 else ""
    return [_only_case(name or folder.name, folder, images)]


def _only_case(name: str, folder: Path, images: list[Path]) -> CaseFiles:
    """Return the case of a folder that holds one; its only image is the CT."""
    words = {*_words(_stem(images[0])), *_words(folder.name)}
    if len(images) == 1 and not words & _MR_WORDS:
        return CaseFiles(name, images[0])
    return _case(name, folder, images)


def _case(name: str, folder: Path, images: list[Path]) -> CaseFiles:
    cts, mrs = _those(images, _CT_WORDS), _those(images, _MR_WORDS)
    if len(cts) != 1 or len(mrs) > 1 or len(cts) + len(mrs) != len(images):
        raise InputError(
            f"{folder}: case {name} needs one file named ct and at most one named mr "
            f"or t1, found {_listed(image.name for image in images)}; rename the files "
            "or move the others away"
        )
    return CaseFiles(name, cts[0], mrs[0] if mrs else None)


def _those(images: list[Path], role: set[str]) -> list[Path]:
    """Return the images whose names have a word of this role and none of the other."""
    other = _MR_WORDS if role is _CT_WORDS else _CT_WORDS
    return [
        image
        for image in images
        if role & set(_words(_stem(image))) and not other & set(_words(_stem(image)))
    ]


def _stem(path: Path) -> str:
    match = _IMAGE_NAME.fullmatch(path.name)
    return match.group(1) if match else path.name


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


def _case_name(image: Path) -> str:
    """Return a file's name without the words that say its role."""
    words = re.split(r"([ ._-]+)", _stem(image))
    kept = [
        word if word.lower() not in _CT_WORDS | _MR_WORDS | _FILLER_WORDS else ""
        for word in words
    ]
    return re.sub(r"([ ._-])[ ._-]+", r"\1", "".join(kept)).strip(" ._-")


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts case_2 before case_10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _require_unique(cases: list[CaseFiles]) -> None:
    seen: dict[str, CaseFiles] = {}
    for case in cases:
        other = seen.get(case.name)
        if other is not None:
            raise InputError(
                f"two cases are called {case.name}: {other.ct} and {case.ct}; "
                "rename one, or give one of their folders"
            )
        seen[case.name] = case


def _nothing_found(folder: Path) -> str:
    found = _listed(sorted(path.name for path in folder.iterdir()))
    return (
        f"{folder}: no case was found, only {found}; a case is a folder with a CT "
        "(.nii.gz, .nii, .nrrd, .mha) and an MR, or files such as anna_ct.nii.gz and "
        "anna_t1.nii.gz"
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(every[:_NAMES_SHOWN]) or "nothing"
    more = len(every) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
