"""The segmentation and packaging stages of a job: unpack, compute, pack."""

from __future__ import annotations

import dataclasses
import logging
import time
from pathlib import Path

import torch

from hanseg_segmentation.compute.switch import use_kernels
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.localise import needs_localiser
from hanseg_segmentation.inference.network_engines import EngineOptions
from hanseg_segmentation.inference.self_test import prove_engine
from hanseg_segmentation.packages.installed import DEFAULT_MODEL
from hanseg_segmentation.pipeline import load_model, segment
from hanseg_segmentation.results.case_result import CaseResult
from hanseg_segmentation.results.dicom_objects import write_dicom
from hanseg_segmentation.results.manifest import write_manifest
from hanseg_segmentation.results.packaging import write_results
from hanseg_segmentation.results.view_files import write_view_ct, write_view_mr
from hanseg_shared.documents import (
    JobDocument,
    JobState,
    MrVerdict,
    ResultFile,
    StageTime,
)
from hanseg_shared.errors import JobStateError, ModelError
from hanseg_shared.io import (
    read_ct,
    read_labels,
    read_mr,
    read_registered_mr,
    write_volume,
)
from hanseg_shared.jobs.messages import SOFT_LIMIT_SHARE
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.work import Workplace
from hanseg_shared.result_files import (
    FIELD_OF_VIEW,
    OF_REGISTRATION,
    RECORD,
    REGISTERED_MR,
    SEGMENTATION,
    VIEW_CT,
    VIEW_MR,
)
from hanseg_shared.settings import Settings
from hanseg_shared.versions import versions_of
from hanseg_shared.volume import Volume

logger = logging.getLogger(__name__)

PICTURES_SHARE = 0.6
"""Share of packaging that is done once masks and pictures are written."""


class Segmenter:
    """Holds one model for the life of the worker's child; another replaces it."""

    def __init__(self) -> None:
        self._model: LoadedModel | None = None
        self._name: str | Path = ""

    def prepare(self, settings: Settings) -> str:
        """Load and warm up the default model; returns the device it runs on."""
        use_kernels(settings.kernels)
        if settings.threads:
            torch.set_num_threads(settings.threads)
        return str(self.load(DEFAULT_MODEL, settings).device)

    def loaded(self) -> frozenset[str]:
        """Return the name of the model that is loaded, if one is."""
        return frozenset() if self._model is None else frozenset({str(self._name)})

    def prove(self) -> None:
        """Run the loaded model on one tile.

        Raises:
            ModelError: None is loaded, or it does not answer as it should.
        """
        model = self._model
        if model is None:
            raise ModelError("no model is loaded")
        with torch.inference_mode():
            engine = model.folds_on(model.device)[0]
            prove_engine(engine, model.package, model.device)

    def segment_stage(self, place: Workplace) -> StageResult:
        """Contour the organs of a registered case."""
        began, settings = time.monotonic(), place.services.settings
        model = self.load(place.job.options.model, settings)
        images = _read_images(place)
        spent = time.monotonic() - began
        result = segment(
            images,
            model=model,
            progress=place.lease.progress,
            seconds_left=SOFT_LIMIT_SHARE * settings.stage_seconds - spent,
        )
        labels = place.folder / SEGMENTATION
        write_volume(result.labels, labels)
        return StageResult(
            intermediate=(place.publish_file(labels, SEGMENTATION),),
            model=result.model,
            inference=result.inference,
            organs=result.organs,
            versions=versions_of("hanseg-segmentation", "torch"),
        )

    def load(self, name: str | Path, settings: Settings) -> LoadedModel:
        """Return a model as a job gets it: with what spares it work, and warmed up.

        Args:
            name: The model's, or a `Path` to its package folder.
            settings: How it is run, and where it is looked for.
        """
        if self._model is None or self._name != name:
            self._model = None  # two large models at a time may not fit
            model = _load_model(name, settings, whole=settings.second_stage)
            if name != DEFAULT_MODEL and needs_localiser(model):
                model = dataclasses.replace(model, localiser=self._coarse(settings))
            self._model, self._name = model, name
        return self._model

    def _coarse(self, settings: Settings) -> LoadedModel | None:
        """Return the default model, which is small and finds a fine model's organs."""
        coarse = EngineOptions.of(settings).coarse
        try:
            return _load_model(DEFAULT_MODEL, settings, options=coarse, whole=False)
        except ModelError as error:
            logger.warning("no tile can be left out: %s", error)
            return None


def _load_model(
    name: str | Path,
    settings: Settings,
    *,
    options: EngineOptions | None = None,
    whole: bool = True,
) -> LoadedModel:
    return load_model(
        name,
        folders=() if settings.models is None else (settings.models,),
        device=settings.device,
        options=options or EngineOptions.of(settings),
        whole=whole,
    )


def package_stage(place: Workplace) -> StageResult:
    """Write the result files of a contoured case and check what was written."""
    started = time.time()
    job, out = place.job, place.folder / "results"
    out.mkdir()
    if job.registration is None or job.model is None:
        raise JobStateError(f"job {job.id} has nothing to package")
    result = CaseResult(
        _read_images(place),
        read_labels(_fetch(place, SEGMENTATION)),
        job.organs,
        job.model,
        job.registration,
    )
    write_results(out, result)
    place.lease.progress(PICTURES_SHARE)
    dicom = write_dicom(place, out, result)
    job = dataclasses.replace(job, dicom=dicom)
    finished = time.time()
    record = _finish(job, started, finished)
    (out / RECORD).write_text(record.model_dump_json(indent=2))
    files = (*place.publish_files(out), *place.carry(OF_REGISTRATION))
    signed = place.folder / "signed"
    signed.mkdir()
    write_manifest(place, signed, job, files, finished_at=finished)
    return StageResult(
        intermediate=_write_view(place, result),
        files=(*files, *place.publish_files(signed)),
        dicom=dicom,
    )


def _write_view(place: Workplace, result: CaseResult) -> tuple[ResultFile, ...]:
    """Write what the viewer shows: the CT, and the MR even if it was rejected."""
    folder = place.folder / "shown"
    write_view_ct(folder / VIEW_CT, result.images.ct)
    if place.job.registration and place.job.registration.verdict != MrVerdict.ABSENT:
        _write_shown_mr(place, folder / VIEW_MR)
    return place.publish_files(folder)


def _write_shown_mr(place: Workplace, path: Path) -> None:
    """Write the registered MR, which is empty where it lies beside the CT."""
    mr = read_registered_mr(_fetch(place, REGISTERED_MR))
    write_view_mr(path, mr, read_labels(_fetch(place, FIELD_OF_VIEW)))


def _finish(job: Job, packaging_since: float, now: float) -> JobDocument:
    """Return the record of the job as it will be when these files are published."""
    packaging = StageTime(
        name=Stage.PACKAGE.state,
        seconds=round(now - packaging_since, 3),
        attempts=job.attempts,
    )
    return dataclasses.replace(
        job,
        state=JobState.SUCCEEDED,
        stages=(*job.stages, packaging),
        progress=None,
        finished_at=now,
    ).document()


def _read_images(place: Workplace) -> CaseImages:
    return CaseImages(_read_ct(place), *_read_trusted_mr(place))


def _read_ct(place: Workplace) -> Volume:
    path = place.fetch_input("ct")
    if path is None:
        raise JobStateError(f"job {place.job.id} has no CT")
    return read_ct(path)


def _read_trusted_mr(place: Workplace) -> tuple[Volume | None, Volume | None]:
    """Return the registered MR and its field of view if the network may see them.

    Raises:
        JobStateError: The verdict is `used`, but a file is missing: the job would say
            that the network saw an MR that it did not see.
    """
    report = place.job.registration
    if report is None or report.verdict is not MrVerdict.USED:
        return None, None
    mr = read_mr(_fetch(place, REGISTERED_MR))
    return mr, read_labels(_fetch(place, FIELD_OF_VIEW))


def _fetch(place: Workplace, name: str) -> Path:
    path = place.fetch_intermediate(name)
    if path is None:
        raise JobStateError(f"job {place.job.id} lacks {name}")
    return path
