"""Which tiles, folds and mirrored passes of a network are run for a case."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import (
    MARGIN_AROUND_MM,
    Region,
    channels_of_tiles,
    tiles_around,
    useful_tiles,
)
from hanseg_segmentation.inference.planner import Effort, Offer, plan_effort
from hanseg_segmentation.inference.prepare import PreparedCase
from hanseg_segmentation.inference.tiling import Shape, Tiling, plan_tiles
from hanseg_shared.documents import InferenceReport

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CasePlan:
    """What is run for a case.

    Attributes:
        tiling: The tiles.
        effort: Folds and mirrored passes.
        report: What the job says about it.
    """

    tiling: Tiling
    effort: Effort
    report: InferenceReport

    def without_tiles(self) -> CasePlan:
        """Return the same plan, of which nothing is run."""
        report = self.report.model_copy(update={"tiles": 0})
        return replace(self, tiling=replace(self.tiling, starts=()), report=report)


def plan_case(
    prepared: PreparedCase,
    model: LoadedModel,
    region: Region | None,
    *,
    seconds_left: float | None,
) -> CasePlan:
    """Return what is run, where, and what the job says about it.

    Args:
        prepared: The case.
        model: The model.
        region: Where its organs can be; None if that is not known.
        seconds_left: Seconds until the work must be done; None without a limit.
    """
    package = model.package
    offer = Offer(
        folds=len(model.networks),
        mirror_axes=package.mirror_axes,
        step=package.step,
        seconds_per_tile=model.seconds_per_tile,
        mode=model.mode,
        localised=region is not None,
        movable=not model.normalises_tiles,
    )
    apart = package.labels if model.finds_organs_apart else None
    choices = _TileChoices(prepared, package.patch, region, apart)
    effort = plan_effort(
        offer,
        tiles_of=lambda effort: _whole_tiles(choices.tiles(effort), apart),
        seconds_left=seconds_left,
    )
    tiling = choices.tiles(effort)
    report = InferenceReport(
        mode=model.mode,
        device=model.device.type,
        engine=str(model.engine),
        folds=effort.folds,
        folds_in_model=offer.folds,
        step=effort.step,
        mirrored=effort.mirror_axes,
        tiles=len(tiling.starts),
        tiles_in_all=len(choices.all(effort.step).starts),
        localised=region is not None,
        moved=effort.around,
        reason=effort.reason,
    )
    logger.info("planned %s", report)
    return CasePlan(tiling, effort, report)


@dataclass(frozen=True, slots=True, eq=False)
class _TileChoices:
    """Which tiles can be run for a case.

    Attributes:
        prepared: The case.
        patch: A tile's shape.
        region: Where organs can be; None if that is not known.
        apart: Output channel of each organ, where each has a network of its own, which
            is run only where the organ can be; None where one network finds all.
        known: The tiles of each step, laid around the organs or not, asked for so far:
            efforts differ in folds and mirroring as well.
    """

    prepared: PreparedCase
    patch: Shape
    region: Region | None
    apart: Mapping[str, int] | None
    known: dict[tuple[float, bool], Tiling] = field(default_factory=dict)

    def all(self, step: float) -> Tiling:
        """Return the tiles that show more than air."""
        return plan_tiles(
            self.prepared.grid.shape,
            patch=self.patch,
            worth=self.prepared.worth,
            step=step,
            centred=self.prepared.centred,
        )

    def tiles(self, effort: Effort) -> Tiling:
        """Return those of them that an effort means."""
        wanted = (effort.step, effort.around)
        if wanted not in self.known:
            self.known[wanted] = self._lay(*wanted)
        return self.known[wanted]

    def _lay(self, step: float, around: bool) -> Tiling:
        every, grid = self.all(step), self.prepared.grid
        if self.region is None:
            return every
        if around:
            worth = self.region.on(grid, margin_mm=MARGIN_AROUND_MM)
            starts = tiles_around(every, worth, size=grid.shape, step=step)
        else:
            worth = self.region.on(grid)
            starts = useful_tiles(every, worth, size=grid.shape)
        tiling = replace(every, starts=starts, box=worth.box(grid.shape))
        if self.apart is None:
            return tiling
        by_organ = self.region.on_by_organ(grid)
        return replace(
            tiling,
            channels=channels_of_tiles(tiling, by_organ, self.apart),
            worth_of={
                channel: by_organ[name]
                for name, channel in self.apart.items()
                if name in by_organ
            },
        )


def _whole_tiles(tiling: Tiling, apart: Mapping[str, int] | None) -> float:
    """Return how many tiles, run for all organs, take as long as these do."""
    if tiling.channels is None or apart is None:
        return len(tiling.starts)
    return sum(map(len, tiling.channels.values())) / len(apart)
