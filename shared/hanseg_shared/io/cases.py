"""Cases found in a folder: which file is whose CT, and which its MR."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hanseg_shared.errors import InputError
from hanseg_shared.io.dicom_folders import find_case_folders, is_dicom_file
from hanseg_shared.io.names import (
    NameRole,
    ParsedName,
    image_stem,
    is_printable,
    is_segment_file,
    is_unread_image,
    natural,
    normalise,
    parse_name,
    printable,
    says_only_masks,
)
from hanseg_shared.organ_names import organ_of
from hanseg_shared.result_files import (
    FIELD_OF_VIEW,
    MASKS,
    MR_SERIES,
    OF_DICOM,
    RECORD,
    REGISTERED_MR,
    REPORT,
    SEGMENTATION,
)

_RESULTS = {SEGMENTATION, REGISTERED_MR, FIELD_OF_VIEW, MASKS, MR_SERIES, *OF_DICOM}
_IMAGES = {NameRole.CT, NameRole.MR, NameRole.UNCLEAR, NameRole.NONE}
_NAMES_SHOWN = 6

_DICOM_UNREAD = "DICOM files are not read here; convert the series to an image file"
_DICOM_BESIDE = (
    "DICOM files beside cases are not taken; move each patient's into a folder of its "
    "own"
)


@dataclass(frozen=True, slots=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        name: What the case is called: its folder, or its files' common beginning.
        ct: The planning CT; a folder of DICOM files, which may hold the MR as well.
        mr: The T1 MR, or None.
    """

    name: str
    ct: Path
    mr: Path | None = None


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file or folder that may be or hold a CT, and that was not taken.

    Attributes:
        path: Where it is.
        name: Its path from the folder that was searched, as messages give it.
        reason: Why, and what helps.
    """

    path: Path
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class FoundCases:
    """What was found in a folder.

    Attributes:
        cases: In natural order of their names.
        passed_over: Whatever may be a CT and is none of theirs, in the same order.
    """

    cases: tuple[CaseFiles, ...]
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True)
class _Image:
    """An image file and what its name says."""

    path: Path
    name: ParsedName


@dataclass(slots=True)
class _Folder:
    """What lies directly in one folder.

    Attributes:
        path: Where it is.
        is_root: Whether it is the folder that was given.
        of_masks: Whether its name, or that of a folder around it, speaks of masks.
        images: What may be a CT or an MR, by the names.
        others: Images that are something else, by their names.
        cases: What was made of the images.
        dicom: Files that are DICOM.
    """

    path: Path
    is_root: bool
    of_masks: bool
    images: list[_Image] = field(default_factory=list)
    others: list[_Image] = field(default_factory=list)
    cases: list[CaseFiles] = field(default_factory=list)
    dicom: list[Path] = field(default_factory=list)


def find_cases(folder: Path | str, *, dicom: bool = True) -> FoundCases:
    """Return the cases of a folder, and what was passed over.

    Three layouts are known: HaN-Seg's own (`set_1/case_01/case_01_IMG_CT.nrrd` and
    `case_01_IMG_MR_T1.nrrd`; the root, `set_1` or one case may be given), a sub-folder
    a case, and files side by side (`anna_ct.nii.gz`, `anna_t1.nii.gz`). The last word
    of a file's name that says a role decides (see `names`); the only image of a
    folder is its CT. Masks, results and MR of another weighting are not taken. Any of
    these that may be a CT all the same, because its case has no other, is reported.
    A sub-folder of DICOM files is a case too; see `find_case_folders`.

    Folders are looked into however deep. A link to a file is followed, since cases are
    often gathered by links; a link to a folder is not, so that no search leaves the
    folder or runs in circles. Hidden files and folders are skipped.

    Args:
        folder: Where to look.
        dicom: Whether DICOM can be used; it is passed over if not.

    Raises:
        InputError: There is no such folder, no case in it, or it is unclear which
            file is which; the message names what was found.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: there is no such folder")
    search = _Search(root)
    search.look_into(root, of_masks=False)
    folders, passed = search.folders, search.passed
    for each in folders:
        if not each.of_masks:
            each.cases = _make_cases(each)
    known = {case.name for each in folders for case in each.cases}
    for each in folders:
        if each.of_masks:
            passed += _take_out_copies(each, known)
            each.cases = _make_cases(each)
    cases = [case for each in folders for case in each.cases]
    passed += _find_left_over(folders)
    cases += _make_dicom_cases(search, usable=dicom)
    passed_over = tuple(
        _make_passed_over(root, path, why) for path, why in _sort_by_path(passed)
    )
    if not cases:
        raise InputError(_nothing_found(root, passed_over))
    _require_unique(cases)
    return FoundCases(
        tuple(sorted(cases, key=lambda case: natural(case.name))), passed_over
    )


def case_of_files(name: str, files: Sequence[Path]) -> CaseFiles:
    """Return the case that image files side by side are, by their names.

    Args:
        name: The case.
        files: Its images in one folder; masks and the like among them are not taken.

    Raises:
        InputError: None may be a CT, or it is unclear which is which.
    """
    folder = _Folder(files[0].parent, is_root=True, of_masks=False)
    images = [_Image(path, parse_name(image_stem(path) or "")) for path in files]
    usable = [image for image in images if _may_be_input(image, folder)]
    if not usable:
        raise InputError(f"{files[0]}: {_reason_to_pass(images[0], folder)}")
    return _make_only_case(normalise(name), folder, usable)


class _Search:
    """A walk through folders that sorts what lies in them.

    Attributes:
        folders: Those that were looked into.
        passed: What was passed over, and why.
    """

    def __init__(self, root: Path) -> None:
        self.folders: list[_Folder] = []
        self.passed: list[tuple[Path, str]] = []
        self._root = root

    def look_into(self, folder: Path, *, of_masks: bool) -> None:
        """Sort what lies in a folder, and in those in it."""
        found = _Folder(folder, folder == self._root, of_masks)
        self.folders.append(found)
        entries = self._entries(folder)
        for path in entries:
            if not path.is_dir():
                self._sort_in(path, found)
        for path in entries:
            if not path.is_dir():
                continue
            if path.is_symlink():
                why = "links to folders are not followed; move the folder here"
                self.passed.append((path, why))
            else:
                self.look_into(path, of_masks=of_masks or says_only_masks(path.name))

    def _entries(self, folder: Path) -> list[Path]:
        """Return what lies in a folder, but what is hidden or a result of ours."""
        try:
            entries = sorted(folder.iterdir(), key=lambda path: natural(path.name))
        except OSError as error:
            if folder == self._root:
                raise InputError(f"{folder} cannot be read: {error.strerror}") from None
            why = f"it cannot be looked into: {error.strerror}"
            self.passed.append((folder, why))
            return []
        names = {path.name for path in entries}
        results = _RESULTS if names & {RECORD, REPORT} else set()
        shown = [
            path
            for path in entries
            if not path.name.startswith(".") and path.name not in results
        ]
        for path in shown:
            if not is_printable(path.name):
                self.passed.append((path, "its name is not UTF-8; rename it"))
        return [path for path in shown if is_printable(path.name)]

    def _sort_in(self, path: Path, folder: _Folder) -> None:
        stem = image_stem(path)
        if stem is None:
            if is_unread_image(path):
                why = "it is not read here; save it as .nii.gz, .nrrd or .mha"
                self.passed.append((path, why))
            elif is_dicom_file(path):
                folder.dicom.append(path)
            elif path.suffix.lower() in {".dcm", ".ima"}:
                self.passed.append((path, "it does not begin as a DICOM file does"))
        elif not path.is_file():
            self.passed.append((path, "it is a link to nothing, or no file"))
        else:
            image = _Image(path, parse_name(stem))
            group = folder.images if _may_be_input(image, folder) else folder.others
            group.append(image)


def _make_dicom_cases(search: _Search, *, usable: bool) -> Iterator[CaseFiles]:
    """Yield the cases that are folders of DICOM, and note DICOM that is none."""
    root = search.folders[0].path
    holding = {each.path: each for each in search.folders if each.dicom}
    taken = find_case_folders(root, holding) if usable else []
    with_images = {each.path for each in search.folders if each.cases}
    taken = [each for each in taken if not _holds_any(each, with_images)]
    for path, folder in holding.items():
        if not any(path.is_relative_to(each) for each in taken):
            told = folder.dicom[0] if len(folder.dicom) == 1 else path
            search.passed.append((told, _DICOM_BESIDE if usable else _DICOM_UNREAD))
    for path in taken:
        yield CaseFiles(normalise(path.resolve().name), path)


def _holds_any(folder: Path, others: set[Path]) -> bool:
    return any(other.is_relative_to(folder) for other in others)


def _may_be_input(image: _Image, folder: _Folder) -> bool:
    """Whether a file may be a CT or MR, judged by its name and its folder's."""
    if is_segment_file(image.path) or _is_organ(image):
        return False
    if image.name.role is NameRole.NONE:
        return not folder.of_masks
    return image.name.role in _IMAGES


def _is_organ(image: _Image) -> bool:
    """Whether a file that says no role is called as an organ."""
    stem = image_stem(image.path) or ""
    return image.name.role is NameRole.NONE and organ_of(stem) is not None


def _make_cases(folder: _Folder) -> list[CaseFiles]:
    """Return the cases whose images lie directly in one folder."""
    images = folder.images
    if not images:
        return []
    name = folder.path.resolve().name
    groups: dict[str, list[_Image]] = {}
    for image in images:
        groups.setdefault(image.name.case, []).append(image)
    cts = [image for image in images if image.name.role is NameRole.CT]
    if len(images) > 1 and len(cts) != 1:
        if "" in groups and len(groups) > 1:
            raise _unclear_error(name, folder, images)
        return [_make_case(key or name, folder, each) for key, each in groups.items()]
    if (folder.is_root or folder.of_masks) and len(groups) == 1:
        name = next(iter(groups)) or name
    if folder.is_root and len(groups) > 1 and "" not in groups:
        _require_one_patient(folder, list(groups))
    return [_make_only_case(normalise(name), folder, images)]


def _require_one_patient(folder: _Folder, names: list[str]) -> None:
    """Refuse files side by side whose names begin differently."""
    first, *others = sorted(names, key=len)
    if not all(other.startswith(first) for other in others):
        raise _unclear_error(others[0], folder, folder.images)


def _make_only_case(name: str, folder: _Folder, images: list[_Image]) -> CaseFiles:
    """Return the case of a folder that holds one; its only image is the CT."""
    only = images[0]
    of_mr = not folder.is_root and _is_of_mr(folder.path.name)
    if len(images) == 1 and only.name.role is NameRole.NONE and not of_mr:
        return CaseFiles(name, only.path)
    return _make_case(name, folder, images)


def _is_of_mr(folder_name: str) -> bool:
    return parse_name(folder_name).role in {NameRole.MR, NameRole.UNCLEAR}


def _make_case(name: str, folder: _Folder, images: list[_Image]) -> CaseFiles:
    cts = [each.path for each in images if each.name.role is NameRole.CT]
    mrs = [each.path for each in images if each.name.role is NameRole.MR]
    if len(cts) != 1 or len(mrs) > 1 or len(cts) + len(mrs) != len(images):
        raise _unclear_error(name, folder, images)
    return CaseFiles(normalise(name), cts[0], mrs[0] if mrs else None)


def _unclear_error(name: str, folder: _Folder, images: list[_Image]) -> InputError:
    return InputError(
        f"{folder.path}: case {name} needs one file named ct and at most one named mr "
        f"or t1, found {_list_names(image.path.name for image in images)}; rename the "
        "files or move the others away"
    )


def _take_out_copies(folder: _Folder, known: set[str]) -> Iterator[tuple[Path, str]]:
    """Yield a mask folder's files that are called as a CT elsewhere, taken out.

    Masks often bear the names of the CTs they were contoured on.
    """
    for image in [each for each in folder.images if each.name.case in known]:
        folder.images.remove(image)
        yield (
            image.path,
            f"it lies in a folder of masks by its name, and {image.name.case} has a CT "
            "elsewhere",
        )


def _find_left_over(folders: list[_Folder]) -> Iterator[tuple[Path, str]]:
    """Yield images that are no CT by their names, but of no case that has another."""
    by_path = {folder.path: folder for folder in folders}
    for folder in folders:
        around = by_path.get(folder.path.parent, folder) if folder.of_masks else folder
        for image in folder.others:
            if not _belongs(image, around, is_mask=folder.of_masks):
                yield image.path, _reason_to_pass(image, folder)


def _belongs(image: _Image, around: _Folder, *, is_mask: bool) -> bool:
    """Whether an image is surely something beside a case's CT.

    Args:
        image: What is no CT by its name or place.
        around: The folder with the CTs it may belong to.
        is_mask: Whether it lies in a folder of masks.
    """
    if is_segment_file(image.path) or (is_mask and _is_organ(image)):
        return True
    if image.name.role is NameRole.DERIVED and image.name.names_ct:
        return False
    return _holds_one_case(around) or image.name.case in {
        case.name for case in around.cases
    }


def _holds_one_case(folder: _Folder) -> bool:
    """Whether a folder is one case's, not one of files side by side."""
    if len(folder.cases) != 1:
        return False
    stem = image_stem(folder.cases[0].ct) or ""
    return not folder.is_root or not parse_name(stem).case


def _reason_to_pass(image: _Image, folder: _Folder) -> str:
    if folder.of_masks:
        return "it lies in a folder of masks by its name; a CT must be called ct there"
    word = repr(image.name.word) if image.name.word else "an organ"
    return f"its name says {word}; if it is a CT, let its name end in _ct"


def _sort_by_path(passed: list[tuple[Path, str]]) -> list[tuple[Path, str]]:
    return sorted(passed, key=lambda each: natural(str(each[0])))


def _make_passed_over(root: Path, path: Path, reason: str) -> PassedOver:
    name = path.relative_to(root).as_posix() if path != root else path.resolve().name
    return PassedOver(path, printable(normalise(name)), reason)


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


def _nothing_found(folder: Path, passed_over: Iterable[PassedOver]) -> str:
    found = _list_names(sorted(printable(path.name) for path in folder.iterdir()))
    told = "".join(f"\n  {each.name}: {each.reason}" for each in passed_over)
    return (
        f"{folder}: no case was found, only {found}; a case is a folder with a CT "
        "(.nii.gz, .nii, .nrrd, .mha) and an MR, a folder of DICOM files, or files "
        f"such as anna_ct.nii.gz and anna_t1.nii.gz{told}"
    )


def _list_names(names: Iterable[str]) -> str:
    every = list(names)
    shown = ", ".join(every[:_NAMES_SHOWN]) or "nothing"
    more = len(every) - _NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
