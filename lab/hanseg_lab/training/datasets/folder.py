"""A plain folder of cases: a CT each, an MR or none, and a label map or masks.

Images are found as `hanseg batch` finds them. A case's label map lies beside its CT
and is named after it (`anna_seg.nii.gz`), or, where a folder holds one case, simply
`segmentation.nii.gz`; masks of one label each lie in `masks/` (`masks/Lips.nii.gz`), as
in a job's results. `hanseg evaluate` takes the same. Where labels are not our 30,
`dataset.json` declares them, and the words that distinguish label maps where a
case has several.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from hanseg_lab.declaration import (
    FILE,
    Declaration,
    read_declaration,
)
from hanseg_lab.evaluation.case_folders import case_name
from hanseg_lab.training.datasets.dataset import Dataset, Finding
from hanseg_lab.training.datasets.image_case import ImageCase, MaskFile
from hanseg_shared.io.cases import CaseFiles, PassedOver, find_cases

OWN_NAME = "own-cases"
"""What a folder that declares nothing is called."""

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
"""How names of image files end; longer ones first."""

MASKS = "masks"
"""The sub-folder in which a case's masks of one label each lie."""

LONE_MAPS = {"segmentation", "seg", "labels", "labelmap", "oars"}
"""What a label map may be called in a folder of one case."""


def find_folder(folder: Path, declaration: Declaration | None = None) -> Dataset:
    """Return the cases of a plain folder.

    Args:
        folder: Where to look, however deep.
        declaration: What its labels mean; its own `dataset.json` if None, and our 30
            organs if it has none.

    Raises:
        InputError: There is no case, it is unclear which file is whose CT, or the
            declaration is not valid.
    """
    own = declaration is None
    declaration = declaration or _own_declaration(folder)
    looked = find_cases(folder, dicom=False)
    every = looked.cases
    cases, findings = [], []
    for images in every:
        masks = (
            *_label_maps(images, declaration, every),
            *_organ_masks(images, declaration),
        )
        if masks:
            cases.append(
                ImageCase(images.name, declaration, images.ct, images.mr, masks)
            )
        else:
            findings.append(
                Finding(images.name, f"no contours are found for {images.ct}")
            )
        findings += _report_strange_masks(images, declaration)
    findings += _report_strays(every, cases)
    findings += _report_passed_over(looked.passed_over, every, cases)
    if own:
        findings += _report_unknown_sellas(declaration, every)
    return Dataset(declaration, tuple(cases), tuple(findings))


def _own_declaration(folder: Path) -> Declaration:
    file = folder / FILE
    return read_declaration(file) if file.exists() else Declaration(name=OWN_NAME)


def _report_unknown_sellas(
    declaration: Declaration, every: Sequence[CaseFiles]
) -> Iterator[Finding]:
    names = {images.name for images in every}
    for name in declaration.sella:
        if name not in names:
            message = f"sella of {name}: no case is called that"
            yield Finding("", message)


def _label_maps(
    images: CaseFiles, declaration: Declaration, every: Sequence[CaseFiles]
) -> Iterator[MaskFile]:
    """Yield a case's label maps: those that are declared, or the one that is found."""
    alone = sum(other.ct.parent == images.ct.parent for other in every) == 1
    for path in _image_files(images.ct.parent):
        name = _stem(path)
        if declaration.maps:
            for each in declaration.maps:
                if name == f"{images.name}_{each}" or (alone and name == each):
                    labels = tuple(x for x in declaration.labels if x.map == each)
                    yield MaskFile(path, labels)
        elif (case_name(path) == images.name != name) or (alone and name in LONE_MAPS):
            yield MaskFile(path, declaration.labels)


def _organ_masks(images: CaseFiles, declaration: Declaration) -> Iterator[MaskFile]:
    """Yield the masks of one label each."""
    for path in _image_files(images.ct.parent / MASKS):
        label = declaration.label(_stem(path))
        if label is not None:
            yield MaskFile(path, (label,), alone=True)


def _report_strange_masks(
    images: CaseFiles, declaration: Declaration
) -> Iterator[Finding]:
    names = [label.name for label in declaration.labels]
    for path in _image_files(images.ct.parent / MASKS):
        if _stem(path) not in names:
            near = difflib.get_close_matches(_stem(path), names, 1)
            guess = f"; is it {near[0]}?" if near else ""
            message = f"{MASKS}/{path.name}: no label is called {_stem(path)!r}{guess}"
            yield Finding(images.name, message)


def _report_strays(
    every: Iterable[CaseFiles], cases: Iterable[ImageCase]
) -> Iterator[Finding]:
    """Yield images beside the cases' that are not a case's CT, MR or contours."""
    used = {path for each in every for path in (each.ct, each.mr)}
    used |= {path for each in cases for path in each.mask_files}
    for folder in dict.fromkeys(each.ct.parent for each in every):
        for path in _image_files(folder):
            if path not in used:
                yield Finding("", f"{path} is of no use and left out", refuses=False)


def _report_passed_over(
    passed_over: Iterable[PassedOver],
    every: Iterable[CaseFiles],
    cases: Iterable[ImageCase],
) -> Iterator[Finding]:
    """Yield what may be a CT and was not used, unless it is reported elsewhere."""
    contours = {path for each in cases for path in each.mask_files}
    reported = {path for each in every for path in _image_files(each.ct.parent)}
    for each in passed_over:
        if each.path not in contours | reported:
            message = f"{each.name} was passed over: {each.reason}"
            yield Finding("", message, refuses=False)


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        path
        for path in sorted(folder.iterdir())
        if path.name.endswith(ENDINGS) and not path.name.startswith(".")
    ]


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(e) for e in ENDINGS if path.name.endswith(e))
