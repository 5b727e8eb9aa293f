"""Data sets as nnU-Net v2 takes them: a raw data set with three channels.

The channels are the CT, the MR registered to it, and where the MR has data (nnU-Net
leaves a channel called ``noNorm`` as it is; our importer knows all three). nnU-Net
cannot be trained on sets of labels, but it can ignore voxels: a voxel that may be an
organ without a contour in its case gets nnU-Net's ``ignore`` label. Format:
documentation/dataset_format.md and ignore_label.md of github MIC-DKFZ/nnUNet.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hanseg_lab.training.allowed import allowed_labels
from hanseg_lab.training.checking.data_check import PASSED, require_sound
from hanseg_lab.training.datasets.dataset import (
    Contour,
    Dataset,
    DatasetCase,
    contours_of,
)
from hanseg_lab.training.datasets.registered_mr import (
    RegisteredMr,
    RegistrationPlan,
    read_registered_mr,
    register_mr,
)
from hanseg_lab.training.label_sets import ONLY_BACKGROUND
from hanseg_lab.training.prepare import resample_contours
from hanseg_segmentation.inference.preprocess import model_grid
from hanseg_shared.errors import GridMismatchError, OptionError
from hanseg_shared.grid import Vector
from hanseg_shared.io.write import write_volume
from hanseg_shared.itk import Interpolation, resample
from hanseg_shared.organs import BACKGROUND, ORGANS, organ
from hanseg_shared.volume import LabelMap, Volume

logger = logging.getLogger(__name__)

CHANNELS = ("CT", "MR", "noNorm")
"""Names of the channels; nnU-Net chooses their normalisation by them."""

ENDING = ".nii.gz"

IGNORE = len(ORGANS) + 1
"""The label that nnU-Net ignores in training; it must be the highest."""

COARSE_MM = (3.0, 3.0, 3.0)
"""Spacing of the grid on which possible places of uncontoured organs are found."""

_FOLDER = re.compile(r"Dataset[0-9]{3}_[A-Za-z0-9_-]+")
_DEFAULT = "Dataset500_HaNSeg"


def export_nnunet(
    datasets: Sequence[Dataset], out: Path, *, registration: RegistrationPlan
) -> Path:
    """Check data sets and write them as one raw data set; return its folder.

    Registered MRs are cached next to it, so that an interrupted export resumes fast.

    Args:
        datasets: What was found in the data's folders.
        out: The data set's folder, if it is called as nnU-Net wants it
            (``Dataset500_Name``); otherwise the folder it is put into.
        registration: How MRs are registered to the CTs.

    Raises:
        InputError: Something is wrong with the data; nothing was written.
        OptionError: The folder is there already.
    """
    target = out if _FOLDER.fullmatch(out.name) else out / _DEFAULT
    if target.exists():
        raise OptionError(f"{target} is there already; remove it, or name another")
    cache = target.with_name(f"{target.name}.cache")
    require_sound(datasets, passed=cache / PASSED)
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    cases = [case for each in datasets for case in each.cases]
    ignored = [_write_case(case, partial, cache, registration) for case in cases]
    _describe(datasets, partial, count=len(cases), ignore=any(ignored))
    partial.replace(target)
    shutil.rmtree(cache, ignore_errors=True)
    return target


def label_map(case: DatasetCase, ct: Volume) -> LabelMap:
    """Return the label map of a case for nnU-Net: organs, background, and `IGNORE`.

    Where two organs overlap, the smaller one is kept.

    Raises:
        GridMismatchError: A contour is not on the CT's grid.
    """
    contours = contours_of(case)
    labels = _where_nothing_is_known(contours, ct, case.sella)
    own = [each for each in contours if each.label.organ is not None]
    for each in sorted(own, key=lambda d: -int(np.count_nonzero(d.mask.array))):
        start = ct.grid.offset_of(each.mask.grid)
        if start is None:
            raise GridMismatchError(
                f"{each.label.name} is not on the CT's grid: "
                f"{ct.grid.difference_of_part(each.mask.grid)}"
            )
        z, y, x = (
            slice(i, i + n)
            for i, n in zip(start[::-1], each.mask.grid.shape, strict=True)
        )
        assert each.label.organ is not None
        labels[z, y, x][each.mask.array] = organ(each.label.organ).label
    return labels


def _where_nothing_is_known(
    contours: Sequence[Contour], ct: Volume, sella: Vector | None
) -> LabelMap:
    """Return 0 where only background can be, and `IGNORE` elsewhere.

    Organs with their own contour count as background here: their voxels are set
    afterwards, with better borders than the coarse grid has.
    """
    known = [each.label.organ for each in contours if each.label.organ is not None]
    if len(set(known)) == len(ORGANS):
        return np.zeros(ct.grid.shape, np.uint8)
    grid = model_grid(ct.grid, spacing=COARSE_MM)
    sampled = resample_contours(contours, ct.grid, grid)
    allowed, _ = allowed_labels(sampled, grid, sella=sella)
    certain = sum(1 << organ(name).label for name in set(known))
    unknown = (allowed & ~np.int32(certain | ONLY_BACKGROUND)) != 0
    coarse = Volume((unknown * IGNORE).astype(np.uint8), grid)
    fine = resample(coarse, ct.grid, interpolation=Interpolation.NEAREST)
    return fine.array.astype(np.uint8)


def _write_case(
    case: DatasetCase, folder: Path, cache: Path, registration: RegistrationPlan
) -> bool:
    """Write a case's images and labels; return whether some voxels are ignored."""
    found = register_mr(case, cache, plan=registration)
    if found.finding is not None:
        logger.warning("%s", found.finding)
    ct = case.read_ct()
    mr = None if found.folder is None else read_registered_mr(found.folder)
    name = f"{case.declaration.name}_{case.name}"
    for number, image in enumerate((ct, *_mr_channels(mr, ct))):
        write_volume(
            image, _folder(folder, "imagesTr") / f"{name}_{number:04d}{ENDING}"
        )
    labels = label_map(case, ct)
    write_volume(ct.with_array(labels), _folder(folder, "labelsTr") / f"{name}{ENDING}")
    return bool((labels == IGNORE).any())


def _mr_channels(mr: RegisteredMr | None, ct: Volume) -> tuple[Volume, Volume]:
    """Return the MR, 0 where it has no data, and its field of view as 0 and 1."""
    if mr is None:
        return (
            ct.with_array(np.zeros(ct.grid.shape, np.float32)),
            ct.with_array(np.zeros(ct.grid.shape, np.uint8)),
        )
    ct.grid.require_same(mr.mr.grid, what="the registered MR")
    inside = mr.field_of_view.array
    seen = np.where(inside, mr.mr.array, 0).astype(np.float32)
    return ct.with_array(seen), ct.with_array(inside.astype(np.uint8))


def _folder(folder: Path, name: str) -> Path:
    (folder / name).mkdir(parents=True, exist_ok=True)
    return folder / name


def _describe(
    datasets: Sequence[Dataset], folder: Path, *, count: int, ignore: bool
) -> None:
    labels = {"background": BACKGROUND, **{o.name: o.label for o in ORGANS}}
    if ignore:
        labels["ignore"] = IGNORE
    declarations = [each.declaration for each in datasets]
    content = {
        "channel_names": {str(k): name for k, name in enumerate(CHANNELS)},
        "labels": labels,
        "numTraining": count,
        "file_ending": ENDING,
        "name": ", ".join(each.name for each in declarations),
        "description": "; ".join(each.description for each in declarations),
        "licence": ", ".join(each.licence for each in declarations),
    }
    (folder / "dataset.json").write_text(json.dumps(content, indent=2) + "\n")
