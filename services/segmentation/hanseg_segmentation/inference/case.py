"""One network over one case: prepared, planned, run, and drawn on a grid."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.back_to_grid import (
    TO_THE_FACES,
    LabelWriter,
    WayBack,
)
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import (
    MARGIN_AROUND_MM,
    Region,
    tiles_around,
    useful_tiles,
)
from hanseg_segmentation.inference.nnunet_grid import (
    image_input,
    place_in,
    worth_above,
)
from hanseg_segmentation.inference.planner import Effort, Offer, plan_effort
from hanseg_segmentation.inference.preprocess import (
    AIR_HU,
    model_grid,
    mr_to_model_grid,
    network_input,
    normalise_ct,
    to_model_grid,
)
from hanseg_segmentation.inference.slab import Sweep
from hanseg_segmentation.inference.sliding_window import run_network
from hanseg_segmentation.inference.tile_input import Source, WholeInput
from hanseg_segmentation.inference.tiling import (
    Shape,
    Tiling,
    Worth,
    plan_tiles,
    span_of,
)
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.documents import InferenceReport
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask, Volume

logger = logging.getLogger(__name__)

TISSUE_HU = -400.0
"""Voxels of the model's grid above this are not air; lung and foam count as air."""

BOX_MARGIN = 4
"""Voxels of the model's grid kept around everything that is not air."""

LEAST_STEP_HU = 1.0
"""What is above a model's lowest HU by this is not what it takes for air."""


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A case as the network sees it, cropped to what is worth a look.

    Attributes:
        source: Normalised network input, in the network's axes.
        worth: What is not air; None if every tile is run.
        grid: Where the network's voxels are.
        way: How the CT's voxels are looked up among these.
        centred: Whether a small volume is padded on both sides.
    """

    source: Source
    worth: Worth | None
    grid: Grid
    way: WayBack
    centred: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What a network says about a case.

    Attributes:
        labels: The label map, uint8 on the grid that was asked for.
        confidence: Mean probability of each channel where it wins, ``(K,)``; NaN for
            one that wins nowhere.
        seconds: What the way back to that grid took.
    """

    labels: Volume
    confidence: npt.NDArray[np.float64]
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run for a case.

    Attributes:
        tiling: The tiles.
        effort: Folds and mirrored passes.
        report: What the job says about it.
    """

    tiling: Tiling
    effort: Effort
    report: InferenceReport


def prepare(
    ct: Volume, mr: Volume | None, field_of_view: Volume | None, *, model: LoadedModel
) -> Prepared:
    """Return a case as a model sees it.

    Args:
        ct: The planning CT in HU, of any orientation.
        mr: The registered T1 MR on the CT's grid, or None.
        field_of_view: Not 0 where `mr` has data; None without `mr`.
        model: The model.

    Raises:
        ImageContentError: The CT shows nothing but air.
        ModelError: The model cannot do without what is not there.
    """
    if model.package.frame == "image":
        return _prepare_as_nnunet(ct, mr, field_of_view, model=model)
    package = model.package
    grid = model_grid(ct.grid, spacing=package.spacing_mm)
    ct_hu = to_model_grid(ct, grid, background=AIR_HU).array
    box = _box(ct_hu > TISSUE_HU)
    grid = grid.crop(
        (box[2].start, box[1].start, box[0].start),
        (_length(box[2]), _length(box[1]), _length(box[0])),
    )
    ct_hu = ct_hu[box]
    mr_values = mask = None
    if mr is not None and field_of_view is not None:
        on_grid, seen = mr_to_model_grid(mr, field_of_view, grid)
        mr_values, mask = on_grid.array, seen.array
    air = {"ct": _normalised(AIR_HU, package)}
    return Prepared(
        WholeInput(
            network_input(
                ct_hu,
                mr_values,
                mask,
                normalisation=package.normalisation,
                names=package.channels,
            ),
            tuple(air.get(name, 0.0) for name in package.channels),
        ),
        Worth(ct_hu > TISSUE_HU, (1, 1, 1)),
        grid,
        WayBack.between(ct.grid, grid),
    )


def _prepare_as_nnunet(
    ct: Volume, mr: Volume | None, field_of_view: Volume | None, *, model: LoadedModel
) -> Prepared:
    package = model.package
    given = {"ct": ct, "mr": mr, "field_of_view": field_of_view}
    seen = [given[name] for name in package.channels]
    images = [each.array for each in seen if each is not None]
    frame = place_in(ct.grid, images or [ct.array], package)
    worth = None
    if not model.is_exact and "ct" in package.channels:
        tissue = max(TISSUE_HU, package.normalisation.ct.low_hu + LEAST_STEP_HU)
        worth = worth_above(frame, ct, tissue)
    return Prepared(
        image_input(frame, ct, mr, field_of_view, package=package),
        worth,
        frame.grid(ct.grid),
        WayBack(frame.network_from_image, TO_THE_FACES, frame.separate_axis_back),
        centred=True,
    )


def _normalised(hu: float, package: ModelPackage) -> float:
    return float(normalise_ct(np.array([[[hu]]]), package.normalisation.ct).item())


def planned(
    prepared: Prepared,
    model: LoadedModel,
    region: Region | None,
    *,
    seconds_left: float | None,
) -> Plan:
    """Return what is run, where, and what the job says about it.

    Args:
        prepared: The case.
        model: The model.
        region: Where its organs can be; None if that is not known.
        seconds_left: Until the work must be done; None if there is no such time.
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
    choices = _Choices(prepared, package.patch, region)
    effort = plan_effort(
        offer,
        tiles_of=lambda effort: len(choices.tiles(effort).starts),
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
    return Plan(tiling, effort, report)


@dataclass(frozen=True, slots=True, eq=False)
class _Choices:
    """Which tiles can be run for a case.

    Attributes:
        prepared: The case.
        patch: A tile's shape.
        region: Where organs can be; None if that is not known.
        known: The tiles of each step, laid around the organs or not, asked for so far:
            efforts differ in folds and mirroring as well.
    """

    prepared: Prepared
    patch: Shape
    region: Region | None
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
            self.known[wanted] = self._laid(*wanted)
        return self.known[wanted]

    def _laid(self, step: float, around: bool) -> Tiling:
        every, grid = self.all(step), self.prepared.grid
        if self.region is None:
            return every
        if around:
            worth = self.region.on(grid, margin_mm=MARGIN_AROUND_MM)
            starts = tiles_around(every, worth, size=grid.shape, step=step)
        else:
            worth = self.region.on(grid)
            starts = useful_tiles(every, worth, size=grid.shape)
        return replace(every, starts=starts, box=worth.box(grid.shape))


def draw(
    prepared: Prepared,
    plan: Plan,
    model: LoadedModel,
    grid: Grid,
    way: WayBack,
    *,
    progress: Callable[[float], None],
    agreement: Agreement | None = None,
) -> Drawn:
    """Return the label map on a grid; background where no tile was run.

    Args:
        prepared: The case.
        plan: What is run.
        model: The model that runs.
        grid: What is drawn on.
        way: How that grid's voxels are looked up among the network's.
        progress: Told the share of the tiles that are done.
        agreement: Told what folds and mirrored passes say, where there are several.

    Raises:
        ModelError: The model cannot run on this case.
    """
    if not plan.tiling.starts:
        nothing = np.zeros(grid.shape, dtype=np.uint8)
        return Drawn(Volume(nothing, grid), np.full(model.channels_out, np.nan), 0.0)

    def writer(sweep: Sweep) -> LabelWriter:
        return LabelWriter(
            grid,
            sweep,
            network=prepared.grid.shape,
            label_of_channel=model.label_of_channel,
            way=way,
        )

    written = run_network(
        model,
        prepared.source,
        plan.tiling,
        sink=writer,
        progress=progress,
        effort=plan.effort,
        agreement=agreement,
    )
    return Drawn(written.volume, written.confidence, written.seconds)


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the part of the array around everything in the mask, with a margin."""
    if not mask.any():
        raise ImageContentError(
            f"the CT shows nothing denser than {TISSUE_HU:.0f} HU: it is all air"
        )
    spans = (
        span_of(np.moveaxis(mask, axis, 0), 1, size)
        for axis, size in enumerate(mask.shape)
    )
    z, y, x = (
        slice(max(0, first - BOX_MARGIN), min(size, last + BOX_MARGIN))
        for (first, last), size in zip(spans, mask.shape, strict=True)
    )
    return z, y, x


def _length(span: slice) -> int:
    return int(span.stop - span.start)
