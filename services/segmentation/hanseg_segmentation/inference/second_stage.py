"""Small organs drawn anew by a finer network, where the first one found them.

An optic nerve is as wide as one voxel of a grid of 4 mm. The first stage sees the whole
patient on such a grid, which tells where everything is and left from right; the second
works on a finer one, around those organs only. This is nnU-Net's cascade (Isensee et
al. 2021, doi 10.1038/s41592-020-01008-z) but for two things: the second network is not
shown the first one's answer, so that it does not learn to repeat it; and an organ that
only the first one finds is kept, and flagged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.inference.case import Drawn, draw, planned, prepare
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import find_region
from hanseg_segmentation.quality.anatomy import anatomy
from hanseg_shared.documents import InferenceReport
from hanseg_shared.errors import ModelError
from hanseg_shared.organs import organ
from hanseg_shared.volume import LabelMap, Volume

logger = logging.getLogger(__name__)

LEAST_SHARE = 0.2
"""An organ of which the second stage draws less than this share of what the first one
did was not found by it, unless it is as large as an organ can be: on its coarse grid
the first draws an optic nerve up to six times too large."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a model says about a case, before the checks.

    Attributes:
        labels: The label map, uint8 on the CT's grid.
        confidences: Mean probability of each organ of the model, by name; None where
            it was not drawn.
        report: How it came about.
        coarse: Organs of the second stage that are as the first one drew them.
    """

    labels: Volume
    confidences: dict[str, float | None]
    report: InferenceReport
    coarse: frozenset[str] = frozenset()

    @classmethod
    def of(cls, drawn: Drawn, report: InferenceReport, model: LoadedModel) -> Self:
        """Return what one network drew as an answer."""
        return cls(drawn.labels, _by_organ(drawn.confidence, model), report)


def draw_anew(
    first: Answer,
    ct: Volume,
    mr: Volume | None,
    field_of_view: Volume | None,
    *,
    model: LoadedModel,
    second: LoadedModel,
    seconds_left: float | None,
    progress: Callable[[float], None],
) -> Answer:
    """Return an answer in which the second stage's organs are its own.

    Args:
        first: The first stage's answer; its label map is changed.
        ct: The planning CT in HU.
        mr: The registered T1 MR on the CT's grid, or None.
        field_of_view: Not 0 where `mr` has data; None without `mr`.
        model: The model whose second stage it is.
        second: The second stage.
        seconds_left: Until the work must be done. Where that does not suffice, the
            first stage's organs stay. None if there is no such time.
        progress: Told the share of the tiles that are done.

    Raises:
        ModelError: The network cannot run on this case.
    """
    stage = model.package.second_stage
    if stage is None:
        raise ModelError(f"model {model.package.name} names no second stage")
    region = None
    if not second.is_exact:
        region = find_region(first.labels, ct, stage.organs)
    prepared = prepare(ct, mr, field_of_view, model=second)
    plan = planned(prepared, second, region, seconds_left=seconds_left)
    if plan.effort.late:
        logger.warning("the second stage is left out: %s", plan.effort.reason)
        report = plan.report.model_copy(update={"tiles": 0})
        return replace(
            first,
            coarse=frozenset(stage.organs),
            report=first.report.model_copy(update={"second_stage": report}),
        )
    drawn = draw(prepared, plan, second, ct.grid, prepared.way, progress=progress)
    lost = join(
        first.labels.array,
        drawn.labels.array,
        stage.organs,
        voxel_ml=ct.grid.voxel_ml,
    )
    finer = _by_organ(drawn.confidence, second)
    anew = {name: finer[name] for name in stage.organs if name not in lost}
    return Answer(
        first.labels,
        first.confidences | anew,
        first.report.model_copy(update={"second_stage": plan.report}),
        lost,
    )


def join(
    labels: LabelMap, finer: LabelMap, organs: Iterable[str], *, voxel_ml: float
) -> frozenset[str]:
    """Draw organs anew in a label map, and return those that stay as they are.

    A voxel is the second stage's where either stage calls it one of the organs. An
    organ of which the second drew almost nothing (`LEAST_SHARE`) is not among them.

    Args:
        labels: The first stage's label map, uint8, changed.
        finer: The second stage's, on the same grid.
        organs: Names of the organs that the second stage draws.
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
    anew = np.zeros(256, dtype=bool)
    anew[[label for label in names if label not in lost]] = True
    for own, new in zip(labels, finer, strict=True):
        changed = anew[own] | anew[new]
        own[changed] = new[changed]
    return frozenset(names[label] for label in lost)


def _counts(labels: LabelMap) -> npt.NDArray[np.int64]:
    """Return how many voxels each label has, slice by slice to keep memory low."""
    counts = np.zeros(256, dtype=np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=256)
    return counts


def _by_organ(
    confidence: npt.NDArray[np.float64], model: LoadedModel
) -> dict[str, float | None]:
    """Return each known organ's mean probability, None where it wins no voxel."""
    return {
        name: None if np.isnan(confidence[channel]) else float(confidence[channel])
        for name, channel in model.package.labels.items()
    }
