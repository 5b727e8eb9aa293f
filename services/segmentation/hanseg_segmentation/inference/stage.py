"""One stage of the network over a case: prepare, plan, run, and label the CT's grid."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.back_to_grid import LabelWriter
from hanseg_segmentation.inference.case_plan import CasePlan, plan_case
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import Region
from hanseg_segmentation.inference.part_sides import part_sides
from hanseg_segmentation.inference.prepare import PreparedCase, prepare
from hanseg_segmentation.inference.slab import Sweep
from hanseg_segmentation.inference.sliding_window import run_network
from hanseg_shared.documents import InferenceReport
from hanseg_shared.organs import ORGANS
from hanseg_shared.traces import step
from hanseg_shared.volume import Volume

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Wall time of named phases."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        with step(name):
            yield
        self.add({name: time.perf_counter() - start})

    def add(self, seconds: Mapping[str, float]) -> None:
        """Add what phases took, timed elsewhere."""
        for name, taken in seconds.items():
            self.seconds[name] = round(self.seconds.get(name, 0.0) + taken, 3)

    def split(self, whole: str, part: str, seconds: float) -> None:
        """Move some of a phase's time to another phase."""
        self.add({whole: -seconds, part: seconds})


@dataclass(frozen=True, slots=True, eq=False)
class StageAnswer:
    """What a stage says about a case, before the checks.

    Attributes:
        labels: The label map, uint8 on the grid that was asked for.
        confidences: Mean probability of each organ of the model, by name; None where
            it was not found.
        agreements: How much folds and mirrored passes agree about each organ, mean
            Dice by name; empty where there was one pass.
        report: How it came about.
        seconds: Wall time of each phase, in the order they ran.
        left_out: Whether there was no time for the stage; then nothing was run.
        coarse: Organs that a second stage should have refined, and did not.
        unknown_ml: Volume that was taken out because its side is in doubt, by organ;
            both organs of a pair have it.
    """

    labels: Volume
    confidences: dict[str, float | None]
    agreements: dict[str, float]
    report: InferenceReport
    seconds: dict[str, float]
    left_out: bool = False
    coarse: frozenset[str] = frozenset()
    unknown_ml: dict[str, float] = field(default_factory=dict)


def run_stage(
    images: CaseImages,
    model: LoadedModel,
    *,
    progress: Callable[[float], None],
    region: Region | None = None,
    seconds_left: float | None = None,
    optional: bool = False,
    on_own_grid: bool = False,
) -> StageAnswer:
    """Return what a network says about a case; background where no tile was run.

    Args:
        images: What it sees.
        model: The model that runs.
        progress: Called with the share of the tiles that are done.
        region: Where its organs can be; None if that is not known.
        seconds_left: Seconds until the work must be done; None without a limit.
        optional: Whether nothing is run where even the least would take longer than
            there is time.
        on_own_grid: Whether the label map is on the network's grid, not the CT's.

    Raises:
        ImageContentError: The CT shows nothing but air.
        ModelError: The model cannot run on this case.
    """
    watch, agreement = Stopwatch(), Agreement(model.channels_out)
    with watch.phase("preprocess"):
        prepared = prepare(images, model)
    with watch.phase("network"):
        plan = plan_case(prepared, model, region, seconds_left=seconds_left)
        if left_out := optional and plan.effort.late:
            logger.warning("a stage is left out: %s", plan.effort.reason)
            plan = plan.without_tiles()
        written = _run_tiles(
            prepared.on_own_grid() if on_own_grid else prepared,
            plan,
            model,
            progress=progress,
            agreement=agreement,
        )
    watch.split("network", "to_ct_grid", written.seconds)
    answer = StageAnswer(
        written.labels,
        _by_organ(written.confidence, model),
        _agreements(agreement, model),
        plan.report,
        watch.seconds,
        left_out=left_out,
    )
    pairs = model.package.merged_pairs
    if not pairs or left_out:
        return answer
    with watch.phase("part_sides"):
        return give_sides(answer, pairs)


def give_sides(answer: StageAnswer, pairs: Mapping[int, int]) -> StageAnswer:
    """Return an answer in which organs that the model knows as one have sides.

    An organ of a pair of which nothing is left, though the model saw the pair, has no
    confidence: all of it is its counterpart's, or nobody knows on which side it is.

    Args:
        answer: Its label map has the left one's label for both organs of a pair.
        pairs: The right organ's label by the left one's.
    """
    parted = part_sides(answer.labels, pairs)
    confidences, unknown = dict(answer.confidences), dict[str, float]()
    for left, right in pairs.items():
        was_there = bool((answer.labels.array == left).any())
        for each in (ORGANS[left - 1], ORGANS[right - 1]):
            if was_there and not bool((parted.labels.array == each.label).any()):
                confidences[each.name] = None
            if left in parted.unknown_ml:
                unknown[each.name] = parted.unknown_ml[left]
    return replace(
        answer, labels=parted.labels, confidences=confidences, unknown_ml=unknown
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Written:
    """What the network's tiles gave.

    Attributes:
        labels: The label map.
        confidence: Mean probability of each channel where it wins, ``(K,)``; NaN for
            one that wins nowhere.
        seconds: What the way back to the label map's grid took.
    """

    labels: Volume
    confidence: npt.NDArray[np.float64]
    seconds: float


def _run_tiles(
    prepared: PreparedCase,
    plan: CasePlan,
    model: LoadedModel,
    *,
    progress: Callable[[float], None],
    agreement: Agreement,
) -> _Written:
    grid = prepared.output
    if not plan.tiling.starts:
        nothing = np.zeros(grid.shape, dtype=np.uint8)
        return _Written(Volume(nothing, grid), np.full(model.channels_out, np.nan), 0.0)

    def make_writer(sweep: Sweep) -> LabelWriter:
        return LabelWriter(
            grid,
            sweep,
            network=prepared.grid.shape,
            label_of_channel=model.label_of_channel,
            way=prepared.way,
        )

    writer = run_network(
        model,
        prepared.source,
        plan.tiling,
        sink=make_writer,
        progress=progress,
        effort=plan.effort,
        agreement=agreement,
    )
    return _Written(writer.volume, writer.confidence, writer.seconds)


def _by_organ(
    confidence: npt.NDArray[np.float64], model: LoadedModel
) -> dict[str, float | None]:
    """Return each known organ's mean probability, None where it wins no voxel."""
    return {
        name: None if np.isnan(confidence[channel]) else float(confidence[channel])
        for name, channel in model.package.labels.items()
    }


def _agreements(agreement: Agreement, model: LoadedModel) -> dict[str, float]:
    """Return how much folds and mirrored passes agree about each organ."""
    shares = agreement.of_channels()
    return {
        name: float(shares[channel])
        for name, channel in model.package.labels.items()
        if not np.isnan(shares[channel])
    }
