"""Segmentation from end to end: images on the CT's grid in, a checked label map out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.back_to_grid import (
    TO_THE_FACES,
    LabelWriter,
    WayBack,
)
from hanseg_segmentation.inference.engines import EngineOptions
from hanseg_segmentation.inference.loaded_model import (
    LoadedModel,
    load_named,
    load_package,
)
from hanseg_segmentation.inference.localise import (
    MARGIN_AROUND_MM,
    Region,
    find_region,
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
from hanseg_segmentation.inference.tiling import Shape, Tiling, Worth, plan_tiles
from hanseg_segmentation.model_package import ModelPackage, shipped_models
from hanseg_segmentation.quality.check import check_organs
from hanseg_shared.documents import InferenceReport, ModelSummary, OrganResult
from hanseg_shared.errors import GridMismatchError, ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask, Volume

logger = logging.getLogger(__name__)

TISSUE_HU = -400.0
"""Voxels of the model's grid above this are not air; lung and foam count as air."""

BOX_MARGIN = 4
"""Voxels of the model's grid kept around everything that is not air."""

LEAST_STEP_HU = 1.0
"""What is above a model's lowest HU by this is not what it takes for air."""

LOCALISER_STEP = 0.95
"""Distance of a coarse model's tiles when it only says where organs can be: the region
changes by 1 % at most (docs/performance.md)."""

NETWORK_SHARE = 0.95
"""Share of the whole work that the network's tiles are; the rest comes after them."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What segmentation found in one case.

    Attributes:
        labels: The organs' label numbers, uint8, exactly on the CT's grid.
        organs: What became of each of the 30 organs, in label order.
        model: Which weights made them.
        seconds: Wall time of each phase, in the order they ran.
        inference: How the network was run.
    """

    labels: Volume
    organs: tuple[OrganResult, ...]
    model: ModelSummary
    seconds: dict[str, float]
    inference: InferenceReport | None = None


@dataclass(frozen=True, slots=True)
class Stopwatch:
    """Wall time of named phases."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time what happens inside."""
        start = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - start, 3)

    def split(self, name: str, part: str, seconds: float) -> None:
        """Tell a part of a phase apart, which was done in between the rest of it."""
        self.seconds[name] = round(self.seconds[name] - seconds, 3)
        self.seconds[part] = round(seconds, 3)


def load_model(
    name_or_folder: str | Path,
    *,
    folders: tuple[Path, ...] = (),
    device: str = "auto",
    options: EngineOptions | None = None,
) -> LoadedModel:
    """Return a model ready to infer, verified and warmed up.

    Args:
        name_or_folder: A model's name, or a `Path` to its package folder.
        folders: Folders to look for names in, beside that of the shipped models.
        device: ``auto``, ``cpu`` or ``cuda``.
        options: Which engines may run it; see `load_package`.

    Raises:
        ModelError: There is no such model, it is damaged, or it cannot run.
        OptionError: There is no such device name.
    """
    if isinstance(name_or_folder, Path):
        return load_package(name_or_folder, device=device, options=options)
    places = (shipped_models(), *folders)
    return load_named(name_or_folder, places, device=device, options=options)


def segment(
    ct: Volume,
    mr: Volume | None,
    field_of_view: Volume | None,
    *,
    model: LoadedModel,
    progress: Callable[[float], None],
    seconds_left: float | None = None,
) -> Segmentation:
    """Return the organs of one case.

    Args:
        ct: The planning CT in HU, of any orientation.
        mr: The registered T1 MR on the CT's grid, or None to work from the CT alone.
        field_of_view: Not 0 where `mr` has data; on the CT's grid, None without `mr`.
        model: The model that runs.
        progress: Told the share done, 0 to 1, tile by tile. What it raises, such as
            a job's cancellation, ends the work.
        seconds_left: Until the result must be there; what does not fit is not done.
            None if there is no such time.

    Raises:
        GridMismatchError: `mr` or `field_of_view` is not on the CT's grid, or one of
            them is missing.
        ImageContentError: The CT shows nothing but air.
        ModelError: The model cannot run on this case.
    """
    _require_one_grid(ct, mr, field_of_view)
    watch = Stopwatch()
    with watch.phase("preprocess"):
        prepared = _prepare(ct, mr, field_of_view, model=model)
    region = None
    if model.localiser is not None and not model.is_exact:
        with watch.phase("localise"):
            region = _localised(ct, model, model.localiser)
    agreement = Agreement(model.channels_out)
    with watch.phase("network"):
        plan = _planned(prepared, model, region, seconds_left=seconds_left)
        drawn = _draw(
            prepared,
            plan,
            model,
            ct.grid,
            prepared.way,
            progress=lambda done: progress(NETWORK_SHARE * done),
            agreement=agreement,
        )
    watch.split("network", "to_ct_grid", drawn.seconds)
    with watch.phase("checks"):
        checked = check_organs(
            drawn.labels,
            ct,
            package=model.package,
            confidences=_by_organ(drawn.confidence, model),
            agreements=_agreements(agreement, model),
        )
    progress(1.0)
    logger.info("segmented %r: %s", ct.grid, watch.seconds)
    return Segmentation(
        checked.labels,
        checked.organs,
        model.package.summary,
        watch.seconds,
        plan.report,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
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
class _Drawn:
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
class _Plan:
    """What is run for a case.

    Attributes:
        tiling: The tiles.
        effort: Folds and mirrored passes.
        report: What the job says about it.
    """

    tiling: Tiling
    effort: Effort
    report: InferenceReport


def _require_one_grid(
    ct: Volume, mr: Volume | None, field_of_view: Volume | None
) -> None:
    if (mr is None) != (field_of_view is None):
        raise GridMismatchError("an MR and its field of view must be given together")
    if mr is not None and field_of_view is not None:
        mr.grid.require_same(ct.grid, what="the registered MR")
        field_of_view.grid.require_same(ct.grid, what="the MR's field of view")


def _prepare(
    ct: Volume, mr: Volume | None, field_of_view: Volume | None, *, model: LoadedModel
) -> _Prepared:
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
    return _Prepared(
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
) -> _Prepared:
    package = model.package
    given = {"ct": ct, "mr": mr, "field_of_view": field_of_view}
    seen = [given[name] for name in package.channels]
    images = [each.array for each in seen if each is not None]
    frame = place_in(ct.grid, images or [ct.array], package)
    worth = None
    if not model.is_exact and "ct" in package.channels:
        tissue = max(TISSUE_HU, package.normalisation.ct.low_hu + LEAST_STEP_HU)
        worth = worth_above(frame, ct, tissue)
    return _Prepared(
        image_input(frame, ct, mr, field_of_view, package=package),
        worth,
        frame.grid(ct.grid),
        WayBack(frame.network_from_image, TO_THE_FACES, frame.separate_axis_back),
        centred=True,
    )


def _normalised(hu: float, package: ModelPackage) -> float:
    return float(normalise_ct(np.array([[[hu]]]), package.normalisation.ct).item())


def _localised(ct: Volume, model: LoadedModel, localiser: LoadedModel) -> Region | None:
    """Return where a coarse model says that organs can be; None if it cannot say."""
    coarse = _prepare(ct, None, None, model=localiser)
    wide = localiser.package.model_copy(update={"step": LOCALISER_STEP})
    localiser = replace(localiser, package=wide)
    plan = _planned(coarse, localiser, None, seconds_left=None)
    drawn = _draw(
        coarse,
        plan,
        localiser,
        coarse.grid,
        WayBack(np.eye(4)),
        progress=lambda _: None,
    )
    region = find_region(drawn.labels, ct, model.package.labels)
    if region is None:
        logger.info("the coarse model finds too little to leave tiles out")
    return region


def _planned(
    prepared: _Prepared,
    model: LoadedModel,
    region: Region | None,
    *,
    seconds_left: float | None,
) -> _Plan:
    """Return what is run, where, and what the job says about it."""
    package = model.package
    offer = Offer(
        folds=len(model.networks),
        mirror_axes=package.mirror_axes,
        step=package.step,
        seconds_per_tile=model.seconds_per_tile,
        mode=model.mode,
        localised=region is not None,
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
    return _Plan(tiling, effort, report)


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

    prepared: _Prepared
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


def _draw(
    prepared: _Prepared,
    plan: _Plan,
    model: LoadedModel,
    grid: Grid,
    way: WayBack,
    *,
    progress: Callable[[float], None],
    agreement: Agreement | None = None,
) -> _Drawn:
    """Return the label map on a grid; background where no tile was run."""
    if not plan.tiling.starts:
        nothing = np.zeros(grid.shape, dtype=np.uint8)
        return _Drawn(Volume(nothing, grid), np.full(model.channels_out, np.nan), 0.0)

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
    return _Drawn(written.volume, written.confidence, written.seconds)


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the part of the array around everything in the mask, with a margin."""
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        if not len(found):
            raise ImageContentError(
                f"the CT shows nothing denser than {TISSUE_HU:.0f} HU: it is all air"
            )
        first = max(0, int(found[0]) - BOX_MARGIN)
        spans.append(
            slice(first, min(mask.shape[axis], int(found[-1]) + 1 + BOX_MARGIN))
        )
    z, y, x = spans
    return z, y, x


def _length(span: slice) -> int:
    return int(span.stop - span.start)


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
