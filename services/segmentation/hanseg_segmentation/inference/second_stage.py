"""Small organs contoured again by a finer network, where the first one found them.

An optic nerve is as wide as one voxel of a grid of 4 mm. The first stage sees the whole
patient on such a grid, which shows where everything is and which side is left; the
second works on a finer grid, around those organs only. This is nnU-Net's cascade
(Isensee et al. 2021, doi 10.1038/s41592-020-01008-z) but for two things: the second
network is not shown the first one's answer, so that it does not learn to repeat it; and
an organ that only the first one finds is kept, and flagged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import find_region
from hanseg_segmentation.inference.stage import StageAnswer, run_stage
from hanseg_segmentation.quality.anatomy import anatomy
from hanseg_shared.errors import ModelError
from hanseg_shared.organs import organ
from hanseg_shared.volume import LabelMap

LEAST_SHARE = 0.2
"""An organ for which the second stage labels less than this share of the first stage's
volume was not found by it, unless it is as large as an organ can be: on its coarse grid
the first stage makes an optic nerve up to six times too large."""


def refine_organs(
    first: StageAnswer,
    images: CaseImages,
    *,
    model: LoadedModel,
    second: LoadedModel,
    seconds_left: float | None,
    progress: Callable[[float], None],
) -> StageAnswer:
    """Return an answer in which the second stage's organs are its own.

    Args:
        first: The first stage's answer; its label map is changed.
        images: What the second stage sees.
        model: The model whose second stage it is.
        second: The second stage.
        seconds_left: Seconds until the work must be done. Where they do not suffice,
            the first stage's organs stay. None without a limit.
        progress: Called with the share of the tiles that are done.

    Raises:
        ModelError: The network cannot run on this case.
    """
    stage = model.package.second_stage
    if stage is None:
        raise ModelError(f"model {model.package.name} names no second stage")
    region = None
    if not second.is_exact:
        region = find_region(first.labels, images.ct, stage.organs)
    finer = run_stage(
        images,
        second,
        region=region,
        seconds_left=seconds_left,
        progress=progress,
        optional=True,
    )
    report = first.report.model_copy(update={"second_stage": finer.report})
    if finer.left_out:
        return replace(first, report=report, coarse=frozenset(stage.organs))
    lost = join(
        first.labels.array,
        finer.labels.array,
        stage.organs,
        voxel_ml=images.grid.voxel_ml,
    )
    own = {name: finer.confidences[name] for name in stage.organs if name not in lost}
    unknown = {k: ml for k, ml in first.unknown_ml.items() if k not in own}
    unknown |= {k: ml for k, ml in finer.unknown_ml.items() if k in own}
    return replace(
        first,
        confidences=first.confidences | own,
        report=report,
        coarse=lost,
        unknown_ml=unknown,
    )


def join(
    labels: LabelMap, finer: LabelMap, organs: Iterable[str], *, voxel_ml: float
) -> frozenset[str]:
    """Replace organs in a label map, and return those that stay as they are.

    A voxel is the second stage's where either stage calls it one of the organs. An
    organ of which the second found almost nothing (`LEAST_SHARE`) is not among them.

    Args:
        labels: The first stage's label map, uint8, changed.
        finer: The second stage's, on the same grid.
        organs: Names of the organs that the second stage segments.
        voxel_ml: Volume of a voxel.
    """
    names = {organ(name).label: name for name in organs}
    before, after = _counts(labels) * voxel_ml, _counts(finer) * voxel_ml
    expected = anatomy().organs
    lost = {
        label
        for label, name in names.items()
        if after[label] < min(LEAST_SHARE * before[label], expected[name].smallest_ml)
    }
    replaced = np.zeros(256, dtype=bool)
    replaced[[label for label in names if label not in lost]] = True
    for own, new in zip(labels, finer, strict=True):
        changed = replaced[own] | replaced[new]
        own[changed] = new[changed]
    return frozenset(names[label] for label in lost)


def _counts(labels: LabelMap) -> npt.NDArray[np.int64]:
    """Return how many voxels each label has, slice by slice to keep memory low."""
    counts = np.zeros(256, dtype=np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=256)
    return counts
