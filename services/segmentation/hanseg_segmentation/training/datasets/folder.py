"""A plain folder of cases: a CT each, an MR or none, and a label map or masks.

Images are found as `hanseg batch` finds them, masks as `hanseg evaluate` does. Where
labels are not our 30, `dataset.json` declares them; label maps are then found by
their names (`<case>_<map>` beside the CT) or, with one map, as `hanseg evaluate`
finds them, and masks of one label each by the labels' names.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hanseg_segmentation.training.datasets.dataset import Dataset, Finding
from hanseg_segmentation.training.datasets.declaration import (
    FILE,
    Declaration,
    Label,
    read_declaration,
)
from hanseg_segmentation.training.datasets.image_case import ImageCase, MaskFile
from hanseg_shared.errors import InputError
from hanseg_shared.evaluation.case_folders import find_case_masks
from hanseg_shared.evaluation.case_masks import CaseSource
from hanseg_shared.io.cases import CaseFiles, find_cases

OWN_NAME = "own-cases"
"""What a folder that declares nothing is called."""

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".seg.nrrd", ".mha")
"""How names of mask files end."""

MASKS = "masks"
"""The sub-folder in which a case's masks may lie."""


def find_folder(folder: Path, declaration: Declaration | None = None) -> Dataset:
    """Return the cases of a plain folder.

    Args:
        folder: Where to look, however deep.
        declaration: What its labels mean; its own `dataset.json` if None, and our 30
            organs if it has none.

    Raises:
        InputError: There is no case, it is unclear which file is which, or the
            declaration is not valid.
    """
    declaration = declaration or _own_declaration(folder)
    images = find_cases(folder)
    masks = _masks(folder, images, declaration)
    cases = [
        ImageCase(each.name, declaration, each.ct, each.mr, masks[each.name])
        for each in images
        if masks.get(each.name)
    ]
    return Dataset(declaration, tuple(cases), tuple(_findings(images, masks)))


def _own_declaration(folder: Path) -> Declaration:
    file = folder / FILE
    return read_declaration(file) if file.exists() else Declaration(name=OWN_NAME)


def _masks(
    folder: Path, images: list[CaseFiles], declaration: Declaration
) -> dict[str, tuple[MaskFile, ...]]:
    """Return the mask files of each case, by the case's name."""
    if any(label.value is None for label in declaration.labels):
        return {each.name: _files_of_labels(each, declaration) for each in images}
    if declaration.maps:
        return {each.name: _named_maps(each, declaration) for each in images}
    return {
        each.name: _found_masks(each, declaration) for each in find_case_masks(folder)
    }


def _files_of_labels(
    images: CaseFiles, declaration: Declaration
) -> tuple[MaskFile, ...]:
    """Return the files that hold one label each."""
    masks = []
    for label in declaration.labels:
        path = _first(_places(images, label.name))
        if path is not None:
            masks.append(MaskFile(path, (label,), alone=True))
    return tuple(masks)


def _named_maps(images: CaseFiles, declaration: Declaration) -> tuple[MaskFile, ...]:
    masks = []
    for name in declaration.maps:
        path = _first(_places(images, name))
        if path is not None:
            masks.append(MaskFile(path, _of_map(declaration.labels, name)))
    return tuple(masks)


def _found_masks(source: CaseSource, declaration: Declaration) -> tuple[MaskFile, ...]:
    """Return the masks that `hanseg evaluate` would take."""
    if source.label_map is not None:
        return (MaskFile(source.label_map, declaration.labels),)
    masks = []
    for name, path in source.organ_files.items():
        label = declaration.label(name)
        if label is None:
            raise InputError(f"{path}: {declaration.name} declares no label {name!r}")
        masks.append(MaskFile(path, (label,), alone=True))
    return tuple(masks)


def _places(images: CaseFiles, name: str) -> Iterable[Path]:
    """Return where a case's mask of that name may lie."""
    beside = images.ct.parent
    for folder in (beside, beside / MASKS):
        for ending in ENDINGS:
            yield folder / f"{images.name}_{name}{ending}"
            if beside.name == images.name:
                yield folder / f"{name}{ending}"


def _first(places: Iterable[Path]) -> Path | None:
    return next((path for path in places if path.is_file()), None)


def _of_map(labels: tuple[Label, ...], name: str) -> tuple[Label, ...]:
    return tuple(label for label in labels if label.map == name)


def _findings(
    images: list[CaseFiles], masks: dict[str, tuple[MaskFile, ...]]
) -> Iterable[Finding]:
    for each in images:
        if not masks.get(each.name):
            yield Finding(each.name, f"no mask is found for {each.ct.name}")
    for name in sorted(set(masks) - {each.name for each in images}):
        yield Finding(name, f"no CT is found for {masks[name][0].path.name}")
