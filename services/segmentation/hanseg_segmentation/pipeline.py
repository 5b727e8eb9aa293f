"""Segmentation from end to end: images on the CT's grid in, a checked label map out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import (
    LoadedModel,
    load_named,
    load_package,
)
from hanseg_segmentation.inference.localise import Region, find_region
from hanseg_segmentation.inference.network_engines import EngineOptions
from hanseg_segmentation.inference.second_stage import refine_organs
from hanseg_segmentation.inference.stage import Stopwatch, run_stage
from hanseg_segmentation.packages.installed import shipped_models
from hanseg_segmentation.quality.check import check_organs
from hanseg_shared.documents import InferenceReport, ModelSummary, OrganResult
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
        folders: Folders to look for names in, after that of the shipped models.
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
    images: CaseImages,
    *,
    model: LoadedModel,
    progress: Callable[[float], None],
    seconds_left: float | None = None,
) -> Segmentation:
    """Return the organs of one case.

    Args:
        images: The planning CT, and the registered MR if there is one.
        model: The model that runs.
        progress: Called with the share done, 0 to 1, after each batch of tiles. What
            it raises, such as a job's cancellation, ends the work.
        seconds_left: Seconds until the result must be there; what does not fit is left
            out. None without such a limit.

    Raises:
        ImageContentError: The CT shows nothing but air.
        ModelError: The model cannot run on this case.
    """
    began, watch = time.monotonic(), Stopwatch()
    with watch.phase("preprocess"):
        patient = _blank_surroundings(images)
    seen = images if _sees_all(model) else patient
    region = _localise(patient.ct, model, watch)
    first_share = NETWORK_SHARE * (1.0 if model.second is None else FIRST_STAGE_SHARE)
    answer = run_stage(
        seen,
        model,
        progress=_scale_progress(progress, 0.0, first_share),
        region=region,
        seconds_left=seconds_left,
    )
    watch.add(answer.seconds)
    if model.second is not None:
        with watch.phase("second_stage"):
            answer = refine_organs(
                answer,
                seen,
                model=model,
                second=model.second,
                seconds_left=_count_down(seconds_left, began),
                progress=_scale_progress(progress, first_share, NETWORK_SHARE),
            )
    with watch.phase("checks"):
        checked = check_organs(
            answer.labels,
            patient.ct,
            package=model.package,
            confidences=answer.confidences,
            agreements=answer.agreements,
            coarse=answer.coarse,
            unknown_ml=answer.unknown_ml,
        )
    progress(1.0)
    logger.info("segmented %r: %s", images.grid, watch.seconds)
    report = answer.report.model_copy(update={"blanked": seen is not images})
    return Segmentation(
        checked.labels, checked.organs, model.package.summary, watch.seconds, report
    )


def _blank_surroundings(images: CaseImages) -> CaseImages:
    """Return images whose CT is blank outside the patient, or the same without body."""
    body = find_body(images.ct)
    if body is None:
        logger.warning("no body is found in %r: nothing is blanked", images.grid)
        return images
    return images.replace_ct(blank_outside(images.ct, body))


def _sees_all(model: LoadedModel) -> bool:
    """Whether a network is shown couch and mask: one that answers as nnU-Net does."""
    return model.package.frame == "image"


def _localise(ct: Volume, model: LoadedModel, watch: Stopwatch) -> Region | None:
    """Return where a coarse model says that organs can be; None if it cannot say."""
    if model.localiser is None or model.is_exact:
        return None
    with watch.phase("localise"):
        wide = model.localiser.package.model_copy(update={"step": LOCALISER_STEP})
        coarse = run_stage(
            CaseImages(ct),
            replace(model.localiser, package=wide),
            progress=lambda _: None,
            on_own_grid=True,
        )
        region = find_region(coarse.labels, ct, model.package.labels)
    if region is None:
        logger.info("the coarse model finds too little to leave tiles out")
    return region


def _scale_progress(
    progress: Callable[[float], None], low: float, high: float
) -> Callable[[float], None]:
    """Return the progress of a part that runs from `low` to `high` of the whole."""
    return lambda done: progress(low + (high - low) * done)


def _count_down(seconds_left: float | None, since: float) -> float | None:
    """Return what is left of some time now; `since` is what the clock showed then."""
    return None if seconds_left is None else seconds_left - (time.monotonic() - since)
