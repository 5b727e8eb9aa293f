"""Segmentation from end to end: images on the CT's grid in, a checked label map out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hanseg_segmentation.inference.agreement import Agreement
from hanseg_segmentation.inference.back_to_grid import WayBack
from hanseg_segmentation.inference.case import draw, planned, prepare
from hanseg_segmentation.inference.loaded_model import (
    LoadedModel,
    load_named,
    load_package,
)
from hanseg_segmentation.inference.localise import Region, find_region
from hanseg_segmentation.inference.network_engines import EngineOptions
from hanseg_segmentation.inference.second_stage import Answer, draw_anew
from hanseg_segmentation.packages.installed import shipped_models
from hanseg_segmentation.quality.check import check_organs
from hanseg_shared.documents import InferenceReport, ModelSummary, OrganResult
from hanseg_shared.errors import GridMismatchError
from hanseg_shared.io.body import blank_outside, find_body
from hanseg_shared.volume import Volume

logger = logging.getLogger(__name__)

LOCALISER_STEP = 0.95
"""Distance of a coarse model's tiles when it only says where organs can be: the region
changes by 1 % at most (docs/lab/performance.md)."""

NETWORK_SHARE = 0.95
"""Share of the whole work that the networks' tiles are; the rest comes after them."""

FIRST_STAGE_SHARE = 0.25
"""Share of the networks' tiles that are the first stage's, where there is a second."""


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
    whole: bool = True,
) -> LoadedModel:
    """Return a model ready to infer, verified and warmed up.

    Args:
        name_or_folder: A model's name, or a `Path` to its package folder.
        folders: Folders to look for names in, beside that of the shipped models.
        device: ``auto``, ``cpu`` or ``cuda``.
        options: Which engines may run it; see `load_package`.
        whole: Whether its second stage is loaded as well, if it has one.

    Raises:
        ModelError: There is no such model, it is damaged, or it cannot run.
        OptionError: There is no such device name.
    """
    if isinstance(name_or_folder, Path):
        return load_package(name_or_folder, device=device, options=options, whole=whole)
    places = (shipped_models(), *folders)
    return load_named(
        name_or_folder, places, device=device, options=options, whole=whole
    )


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
    began = time.monotonic()
    watch = Stopwatch()
    with watch.phase("preprocess"):
        patient = _patient_alone(ct)
        seen = ct if patient is None or _sees_all(model) else patient
        prepared = prepare(seen, mr, field_of_view, model=model)
    region = None
    if model.localiser is not None and not model.is_exact:
        with watch.phase("localise"):
            region = _localised(patient or ct, model, model.localiser)
    agreement = Agreement(model.channels_out)
    first_share = NETWORK_SHARE * (1.0 if model.second is None else FIRST_STAGE_SHARE)
    with watch.phase("network"):
        plan = planned(prepared, model, region, seconds_left=seconds_left)
        drawn = draw(
            prepared,
            plan,
            model,
            ct.grid,
            prepared.way,
            progress=lambda done: progress(first_share * done),
            agreement=agreement,
        )
    watch.split("network", "to_ct_grid", drawn.seconds)
    del prepared
    answer = Answer.of(drawn, plan.report, model)
    if model.second is not None:
        with watch.phase("second_stage"):
            spent = time.monotonic() - began
            answer = draw_anew(
                answer,
                seen,
                mr,
                field_of_view,
                model=model,
                second=model.second,
                seconds_left=None if seconds_left is None else seconds_left - spent,
                progress=lambda done: progress(
                    first_share + (NETWORK_SHARE - first_share) * done
                ),
            )
    with watch.phase("checks"):
        checked = check_organs(
            answer.labels,
            patient or ct,
            package=model.package,
            confidences=answer.confidences,
            agreements=_agreements(agreement, model),
            coarse=answer.coarse,
        )
    progress(1.0)
    logger.info("segmented %r: %s", ct.grid, watch.seconds)
    return Segmentation(
        checked.labels,
        checked.organs,
        model.package.summary,
        watch.seconds,
        answer.report.model_copy(update={"blanked": seen is not ct}),
    )


def _require_one_grid(
    ct: Volume, mr: Volume | None, field_of_view: Volume | None
) -> None:
    if (mr is None) != (field_of_view is None):
        raise GridMismatchError("an MR and its field of view must be given together")
    if mr is not None and field_of_view is not None:
        mr.grid.require_same(ct.grid, what="the registered MR")
        field_of_view.grid.require_same(ct.grid, what="the MR's field of view")


def _patient_alone(ct: Volume) -> Volume | None:
    """Return a CT that is blank outside the patient; None if no body is found in it."""
    body = find_body(ct)
    if body is None:
        logger.warning("no body is found in %r: nothing is blanked", ct.grid)
        return None
    return blank_outside(ct, body)


def _sees_all(model: LoadedModel) -> bool:
    """Whether a network is shown couch and mask: one that answers as nnU-Net does."""
    return model.package.frame == "image"


def _localised(ct: Volume, model: LoadedModel, localiser: LoadedModel) -> Region | None:
    """Return where a coarse model says that organs can be; None if it cannot say."""
    coarse = prepare(ct, None, None, model=localiser)
    wide = localiser.package.model_copy(update={"step": LOCALISER_STEP})
    localiser = replace(localiser, package=wide)
    plan = planned(coarse, localiser, None, seconds_left=None)
    drawn = draw(
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


def _agreements(agreement: Agreement, model: LoadedModel) -> dict[str, float]:
    """Return how much folds and mirrored passes agree about each organ."""
    shares = agreement.of_channels()
    return {
        name: float(shares[channel])
        for name, channel in model.package.labels.items()
        if not np.isnan(shares[channel])
    }
