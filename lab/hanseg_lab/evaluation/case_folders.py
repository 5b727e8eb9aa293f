"""Cases with masks found in folders, and predictions matched with references.

Known are: label maps side by side (`case_01_seg.nii.gz`), and a sub-folder a case
with a label map (`segmentation.nii.gz`: a job's results), with an RTSTRUCT or a DICOM
segmentation (also side by side), with a file an organ
(`Parotid_L.nii.gz`, `parotid_gland_left.nii.gz`; also under `masks/`), or in
HaN-Seg's own layout (`case_01/case_01_OAR_Parotid_L.seg.nrrd`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from hanseg_lab.declaration import FILE, read_declaration
from hanseg_lab.evaluation.case_masks import CaseSource
from hanseg_lab.evaluation.dicom_masks import find_dicom_masks, holds_dicom_masks
from hanseg_lab.evaluation.label_table import (
    FORMAT,
    OUR_NUMBERS,
    LabelTable,
    table_of_declaration,
)
from hanseg_lab.evaluation.structures import label_order, organs_in
from hanseg_shared.errors import ImageError, InputError
from hanseg_shared.io.formats import dicom_kind, start_of
from hanseg_shared.io.names import (
    NameRole,
    case_without,
    image_stem,
    is_segment_file,
    natural,
    normalise,
    parse_name,
)
from hanseg_shared.io.segments import Segment, read_segments
from hanseg_shared.organ_names import is_other_structure, nearest_organs, organ_of
from hanseg_shared.result_files import (
    FIELD_OF_VIEW,
    MASKS,
    RECORD,
    REGISTERED_MR,
    SEGMENTATION,
)

_ORGAN_PART = re.compile(r"(?:.*_)?OAR_(.+)", re.IGNORECASE)
_MASK_WORDS = {
    *("seg", "segmentation", "label", "labels", "labelmap", "mask", "masks", "oar"),
    *("oars", "pred", "prediction", "gt", "ref", "reference", "img"),
    *("rtstruct", "rtss", "structures"),
}
_IMAGE_ROLES = {NameRole.CT, NameRole.MR, NameRole.OTHER_MR, NameRole.UNCLEAR}
_REGISTERED = {REGISTERED_MR, FIELD_OF_VIEW}
_NAMES_SHOWN = 8


@dataclass(frozen=True, slots=True)
class CasePair:
    """A case's prediction and its reference."""

    name: str
    prediction: CaseSource
    reference: CaseSource


@dataclass(frozen=True, slots=True)
class Numbering:
    """What states the meaning of the numbers in label maps.

    Attributes:
        root: The folder in which declarations are looked for.
        given: What the user says of files whose folder says nothing; None for nothing.
    """

    root: Path
    given: LabelTable | None

    def of(self, path: Path) -> LabelTable | None:
        """Return what a label map's numbers stand for; None if nothing states it.

        Raises:
            InputError: The declaration of its folder cannot be used.
        """
        if path.name == SEGMENTATION and (path.parent / RECORD).is_file():
            return OUR_NUMBERS
        table = self.find_declared_table(path.parent) or self.given
        return None if table is None else table.of_file(_stem(path), path)

    def names_in(self, folder: Path) -> LabelTable:
        """Return what names of segments and files stand for.

        Raises:
            InputError: The declaration of the folder cannot be used.
        """
        return self.find_declared_table(folder) or self.given or OUR_NUMBERS

    def find_declared_table(self, folder: Path) -> LabelTable | None:
        """Return what the declaration says that lies nearest above a folder."""
        for each in (folder, *folder.parents):
            if (each / FILE).is_file():
                return table_of_declaration(
                    read_declaration(each / FILE), str(each / FILE)
                )
            if each == self.root:
                break
        return None


@dataclass(slots=True)
class _Finder:
    """Looks for cases, and collects the files whose meaning is not known."""

    numbering: Numbering
    unexplained: list[Path] = field(default_factory=list)
    unnamed: list[Path] = field(default_factory=list)

    def label_map(self, name: str, path: Path) -> CaseSource:
        """Return a case that is one label map."""
        segments = _segments(path)
        if segments:
            names = self.numbering.names_in(path.parent)
            table = _segment_table(path, segments, names)
        else:
            found = self.numbering.of(path)
            if found is None:
                self.unexplained.append(path)
            table = found or OUR_NUMBERS
        cropped = is_segment_file(path)
        return CaseSource(normalise(name), path, labels=table, may_be_cropped=cropped)

    def dicom_masks(self, name: str, path: Path) -> CaseSource:
        """Return a case whose masks are in a DICOM object."""
        names = self.numbering.names_in(path.parent)
        return CaseSource(normalise(name), dicom=find_dicom_masks(path, names))

    def cases_below(self, folder: Path) -> list[CaseSource]:
        """Return the cases of a folder that is none itself, however deep."""
        cases: list[CaseSource] = []
        for entry in sorted(folder.iterdir()):
            if entry.name.startswith("."):
                continue
            if holds_dicom_masks(entry):
                cases.append(self.dicom_masks(case_name(entry), entry))
                continue
            _refuse_dicom(entry)
            if entry.is_dir() and not entry.is_symlink():
                own = self.case_of(entry)
                cases += [own] if own is not None else self.cases_below(entry)
            elif _is_label_map(entry):
                cases.append(self.label_map(case_name(entry), entry))
                self._note_unnamed(entry)
        return cases

    def _note_unnamed(self, path: Path) -> None:
        """Remember a file of a sub-folder that may be a mask, not a label map.

        Only the user's numbering explains it: neither its name (`case_01_seg`, or its
        folder's) nor a declaration says that it is the label map of a case.
        """
        folder, stem = path.parent, _stem(path)
        if folder == self.numbering.root or is_segment_file(path):
            return
        named = case_name(path) != stem or stem == normalise(folder.name)
        if not (named or self.numbering.find_declared_table(folder)):
            self.unnamed.append(path)

    def require_named(self) -> None:
        """Refuse files of sub-folders that may be masks of unknown structures."""
        if not self.unnamed:
            return
        folder, first = self.unnamed[0].parent, _stem(self.unnamed[0])
        names = [path.name for path in self.unnamed if path.parent == folder]
        raise InputError(
            f"{folder}: {_list_names(names)}: no name is an organ's or a label map's; "
            "rename them after their organs, say what they are with --labels FILE (a "
            f"line {first},<organ>), or, if each is the label map of a case, call it "
            f"{first}_seg or give {folder} itself"
        )

    def case_of(self, folder: Path) -> CaseSource | None:
        """Return the one case whose masks lie directly in a folder, if there is one."""
        name = normalise(folder.resolve().name)
        images = [path for path in sorted(folder.iterdir()) if _is_image(path)]
        label_maps = [path for path in images if _stem(path).lower() in _MASK_WORDS]
        others = [path for path in images if _is_another_case(path)]
        if label_maps and len([*label_maps, *others]) > 1:
            names = ", ".join(path.name for path in [*label_maps, *others])
            raise InputError(f"{folder}: which is the case's label map: {names}?")
        if label_maps:
            return self.label_map(name, label_maps[0])
        if (folder / MASKS).is_dir():
            inner = self.case_of(folder / MASKS)
            return None if inner is None else replace(inner, name=name)
        files = _organ_files(folder, images, self.numbering.names_in(folder))
        if not files:
            objects = [
                each for each in sorted(folder.iterdir()) if holds_dicom_masks(each)
            ]
            return self.dicom_masks(name, objects[0]) if len(objects) == 1 else None
        cropped = any(is_segment_file(path) for path in files.values())
        return CaseSource(name, None, files, may_be_cropped=cropped)

    def require_explained(self) -> None:
        """Refuse label maps of which nothing states what their numbers stand for."""
        if not self.unexplained:
            return
        more = len(self.unexplained) - 1
        others = f" and {more} more" if more else ""
        raise InputError(
            f"{self.unexplained[0]}{others}: nothing says which organs its numbers "
            f"stand for; give --labels FILE ({FORMAT}), --labels han-seg if they are "
            f"HaN-Seg's 1 to 30, or a {FILE}"
        )


def match_cases(
    predictions: Path,
    references: Path,
    labels: tuple[LabelTable | None, LabelTable | None] = (None, None),
) -> list[CasePair]:
    """Return the cases that two folders (or two files) hold, matched by name.

    Args:
        predictions: A folder or a file.
        references: A folder or a file.
        labels: What the numbers of each stand for where its folder says nothing.

    Raises:
        InputError: A folder holds no case, one case is found twice, it is not known
            what numbers stand for, or cases have no counterpart; every such case is
            named.
    """
    found, lone_prediction = _look_into(predictions, labels[0])
    wanted, lone_reference = _look_into(references, labels[1])
    if lone_prediction and lone_reference:
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


def find_case_masks(path: Path, labels: LabelTable | None = None) -> list[CaseSource]:
    """Return the cases of a folder, or of one file, in natural order of their names.

    Args:
        path: The folder or file.
        labels: What numbers and names stand for where no declaration states it.

    Raises:
        InputError: There is no case, a case is found twice, a mask's name is no
            organ's, or nothing says what numbers stand for.
    """
    return _look_into(path, labels)[0]


def _look_into(path: Path, labels: LabelTable | None) -> tuple[list[CaseSource], bool]:
    """Return the cases of a folder or file, and whether it is a single case's own."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file or folder")
    if not holds_dicom_masks(path):
        _refuse_dicom(path)
    finder = _Finder(Numbering(path if path.is_dir() else path.parent, labels))
    if path.is_dir():
        own = finder.case_of(path)
    elif holds_dicom_masks(path):
        own = finder.dicom_masks(case_name(path), path)
    else:
        own = finder.label_map(case_name(path), path)
    cases = [own] if own is not None else finder.cases_below(path)
    if not cases:
        raise InputError(
            f"{path}: no case is found; a label map a case is needed "
            "(case_01_seg.nii.gz), or a sub-folder a case with segmentation.nii.gz, "
            "with an RTSTRUCT, with a file an organ (Parotid_L.nii.gz), or as HaN-Seg's"
        )
    finder.require_explained()
    finder.require_named()
    _require_unique(cases, path)
    return sorted(cases, key=lambda case: natural(case.name)), own is not None


def case_name(path: Path) -> str:
    """Return the case named by a label map's file: without words such as `_seg`."""
    return case_without(_stem(path), _MASK_WORDS)


def _segments(path: Path) -> tuple[Segment, ...]:
    if not is_segment_file(path):
        return ()
    try:
        return read_segments(path)
    except (ImageError, OSError) as error:
        raise InputError(f"{path}: {error}") from error


def _segment_table(
    path: Path, segments: tuple[Segment, ...], names: LabelTable
) -> LabelTable:
    """Return what a file's segments stand for, by their names."""
    unknown = []
    by_value: dict[int, str | None] = {}
    for each in segments:
        try:
            by_value[each.value or 1] = names.structure_of(each.name)
        except InputError:
            unknown.append(each.name)
    if unknown:
        raise _unknown_names(str(path), "segments", unknown)
    structures = [each for each in by_value.values() if each is not None]
    twice = [each for each in structures if structures.count(each) > 1]
    if twice:
        raise InputError(f"{path}: two segments are {twice[0]}")
    return LabelTable("the header's list of segments", by_value)


def _unknown_names(where: str, what: str, names: list[str]) -> InputError:
    shown = _list_names(names)
    near = ", ".join(nearest_organs(names[0]))
    hint = f" (nearest to {names[0]}: {near})" if near else ""
    return InputError(
        f"{where}: {what} that are no organ by their names: {shown}{hint}; rename "
        "them, move them away, or say what they are with --labels FILE (a line "
        f"{names[0]},<organ>, or {names[0]}, for none of ours)"
    )


def _list_names(names: list[str]) -> str:
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _organ_files(
    folder: Path, images: list[Path], names: LabelTable
) -> dict[str, Path]:
    """Return the files that hold a structure each, by its name.

    A folder is one of such files if one of them is called as an organ is, or as
    another structure that is commonly contoured.

    Raises:
        InputError: Two files hold one organ, or some are none by their names.
    """
    masks = {path: _mask_name(path, folder) for path in images if not _is_scan(path)}
    strict = folder.name == MASKS
    if not (strict or any(_is_anatomy(p, n, names) for p, n in masks.items())):
        return {}
    files: dict[str, Path] = {}
    unknown = []
    for path, name in masks.items():
        try:
            found = names.structure_of(name)
        except InputError:
            unknown.append(name)
            continue
        if found is None:
            continue
        if found in files:
            raise InputError(f"{path}: {found} is in {files[found].name} too")
        _require_agreement(path, found)
        files[found] = path
    if unknown:
        raise _unknown_names(str(folder), "files", unknown)
    return dict(sorted(files.items(), key=lambda item: label_order(item[0])))


def _mask_name(path: Path, folder: Path) -> str:
    """Return what a file's name says besides the case's."""
    stem = _stem(path)
    match = _ORGAN_PART.fullmatch(stem)
    if match:
        return match.group(1)
    case = normalise(folder.resolve().name)
    return stem.removeprefix(f"{case}_")


def _is_anatomy(path: Path, name: str, names: LabelTable) -> bool:
    """Whether a file is named after a structure, not after a patient."""
    if _ORGAN_PART.fullmatch(_stem(path)) or organ_of(name) is not None:
        return True
    return names.names(name) or is_other_structure(name)


def _require_agreement(path: Path, structure: str) -> None:
    """Refuse a segment that is called as another organ than its file."""
    for segment in _segments(path):
        meant = organ_of(segment.name)
        if meant is not None and meant not in organs_in(structure):
            raise InputError(
                f"{path}: the file is called {structure}, but its segment {meant}; "
                "which of them is it?"
            )


def _is_label_map(path: Path) -> bool:
    return _is_image(path) and _is_mask(path)


def _is_mask(path: Path) -> bool:
    """Whether an image is no CT and no MR, by the last word of its name."""
    if path.name in _REGISTERED:
        return False
    stem = _stem(path)
    parsed = parse_name(stem)
    last = bool(parsed.word) and stem.endswith(parsed.word)
    return not (parsed.role in _IMAGE_ROLES and last)


def _is_scan(path: Path) -> bool:
    """Whether an image beside masks of organs is the CT, an MR or just "image"."""
    parsed = parse_name(_stem(path))
    plain = parsed.role is NameRole.NONE and not parsed.case
    return plain or parsed.role in _IMAGE_ROLES or path.name in _REGISTERED


def _is_another_case(path: Path) -> bool:
    """Whether an image has a name of its own that is no scan's and no structure's."""
    stem = _stem(path)
    name = case_name(path)
    known = organ_of(name) is not None or is_other_structure(name)
    own = stem.lower() not in _MASK_WORDS and bool(parse_name(stem).case)
    return _is_mask(path) and own and not (known or _ORGAN_PART.fullmatch(stem))


def _is_image(path: Path) -> bool:
    return path.is_file() and image_stem(path) is not None


def _stem(path: Path) -> str:
    return image_stem(path) or normalise(path.stem)


def _refuse_dicom(path: Path) -> None:
    if path.is_file() and path.suffix.lower() in {".dcm", ".ima"}:
        kind = dicom_kind(start_of(path)) or "named as a DICOM file"
        raise InputError(
            f"{path}: it is {kind}, of which no masks are read; give a whole RTSTRUCT "
            "or DICOM segmentation, a label map or masks (NIfTI, NRRD or MHA)"
        )


def _require_unique(cases: Iterable[CaseSource], path: Path) -> None:
    seen: set[str] = set()
    for case in cases:
        if case.name in seen:
            raise InputError(f"{path}: the case {case.name} is found twice")
        seen.add(case.name)
