"""The samples of a training: prepared once, kept on disk, drawn by chance."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from hanseg_lab.phantom import case as case_module
from hanseg_lab.phantom import patient, shapes, simulate, surroundings, template, tissue
from hanseg_lab.training import allowed, courses, drawn, label_sets, places, sample
from hanseg_lab.training import prepare as prepare_module
from hanseg_lab.training.datasets import dataset, registered_mr
from hanseg_lab.training.datasets.dataset import DatasetCase, stamp
from hanseg_lab.training.datasets.registered_mr import (
    RegistrationPlan,
    read_registered_mr,
    register_mr,
)
from hanseg_lab.training.prepare import case_sample, phantom_sample
from hanseg_lab.training.recipe import Recipe
from hanseg_segmentation.inference import preprocess
from hanseg_shared import itk
from hanseg_shared.grid import Vector
from hanseg_shared.io import body, coarse, filling

logger = logging.getLogger(__name__)

WORTH_PROCESSES = 8
"""With fewer samples to make, starting processes takes longer than they save."""

FIRST_SEED = 10_000
"""Seed of the first simulated patient of training; tests and demo use small seeds."""

RULES = (
    allowed,
    body,
    case_module,
    coarse,
    courses,
    dataset,
    drawn,
    filling,
    itk,
    label_sets,
    patient,
    places,
    prepare_module,
    preprocess,
    registered_mr,
    sample,
    shapes,
    simulate,
    surroundings,
    template,
    tissue,
)
"""The modules that make a sample of a case's images and drawings."""

REGISTERED = "registered"
"""Sub-folder, in the folder of prepared samples, of registered MRs."""

Case = TypeVar("Case")


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Prepared samples on disk.

    Attributes:
        real: Files of clinical cases.
        phantoms: Files of simulated patients.
    """

    real: tuple[Path, ...]
    phantoms: tuple[Path, ...]

    def split(self, *, fold: int, folds: int) -> tuple[SampleFiles, SampleFiles]:
        """Return the samples that teach a fold's network, and those it never sees.

        A case belongs to one fold's unseen part, by its place in the order. A single
        fold sees all.
        """
        if folds == 1:
            return self, SampleFiles((), ())
        unseen = SampleFiles(self.real[fold::folds], self.phantoms[fold::folds])
        return (
            SampleFiles(
                tuple(each for each in self.real if each not in unseen.real),
                tuple(each for each in self.phantoms if each not in unseen.phantoms),
            ),
            unseen,
        )


@dataclass(frozen=True, slots=True)
class _CaseJob:
    """A real case to prepare.

    Attributes:
        case: The case.
        registered: Folder of its registered MR, if it has one that can be trusted.
    """

    case: DatasetCase
    registered: Path | None


def training_cases(cases: Sequence[Case], *, held_out: int) -> tuple[Case, ...]:
    """Return the cases that teach: all but every `held_out`-th."""
    return tuple(c for k, c in enumerate(cases) if k % held_out != held_out - 1)


def held_out_cases(cases: Sequence[Case], *, held_out: int) -> tuple[Case, ...]:
    """Return the cases that training never sees and that choices are made on."""
    return tuple(cases[held_out - 1 :: held_out])


def prepare(
    recipe: Recipe,
    cases: Sequence[DatasetCase],
    cache: Path,
    *,
    registration: RegistrationPlan | None = None,
) -> SampleFiles:
    """Return the files of all samples; those that `cache` lacks are made first.

    Args:
        recipe: What to make.
        cases: Real cases that teach; without any, simulated patients alone do.
        cache: Folder for prepared samples and registered MRs.
        registration: How MRs are brought onto the CTs' grids; None leaves them out.

    Raises:
        InputError: A case's files cannot be used.
        RegistrationError: A registration failed.
    """
    cache.mkdir(parents=True, exist_ok=True)
    spacing, rules = recipe.sample_spacing_mm, _rules()
    jobs: list[tuple[Path, _CaseJob | int, Vector]] = []
    for case in cases:
        job = _CaseJob(case, None)
        if "mr" in recipe.channels:
            job = _register(case, cache, registration)
        jobs.append((cache / f"real_{_name(job, spacing, rules)}.npz", job, spacing))
    count = recipe.phantoms if recipe.phantoms_a_batch or not cases else 0
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + count)
    edges = "x".join(f"{edge:g}" for edge in spacing)
    kind = f"{edges}mm_{rules}"
    jobs += [(cache / f"phantom_{seed}_{kind}.npz", seed, spacing) for seed in seeds]
    _make_missing([job for job in jobs if not job[0].exists()])
    files = tuple(file for file, _, _ in jobs)
    return SampleFiles(files[: len(cases)], files[len(cases) :])


def _register(
    case: DatasetCase, cache: Path, plan: RegistrationPlan | None
) -> _CaseJob:
    if plan is None:
        return _CaseJob(case, None)
    found = register_mr(case, cache / REGISTERED, plan=plan)
    if found.finding is not None:
        logger.warning("%s", found.finding)
    return _CaseJob(case, found.folder)


def _name(job: _CaseJob, spacing: Vector, rules: str) -> str:
    """Return a name that changes with whatever changes the sample."""
    case = job.case
    parts = (stamp(case), str(spacing), str(job.registered), rules)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"{case.declaration.name}_{case.name}_{digest}"


def _rules() -> str:
    """Return a short hash of the code that makes samples (`RULES`).

    Samples that another version of it made are not used.
    """
    code = "".join(inspect.getsource(module) for module in RULES)
    return hashlib.sha256(code.encode()).hexdigest()[:8]


def _make_missing(jobs: list[tuple[Path, _CaseJob | int, Vector]]) -> None:
    if not jobs:
        return
    logger.info("preparing %d samples", len(jobs))
    if len(jobs) < WORTH_PROCESSES:
        for job in jobs:
            _make(job)
        return
    cores = len(os.sched_getaffinity(0))
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(_make, jobs, chunksize=4):
            pass


def _make(job: tuple[Path, _CaseJob | int, Vector]) -> None:
    file, source, spacing = job
    if isinstance(source, int):
        phantom_sample(source, spacing=spacing).save(file)
        return
    folder = source.registered
    registered = None if folder is None else read_registered_mr(folder)
    case_sample(source.case, spacing=spacing, registered=registered).save(file)
