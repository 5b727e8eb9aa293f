"""The samples of a training: prepared once and cached on disk."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from hanseg_lab.locked import waiting_for
from hanseg_lab.training.datasets.dataset import DatasetCase, stamp
from hanseg_lab.training.datasets.registered_mr import (
    RegistrationPlan,
    read_registered_mr,
    register_mr,
)
from hanseg_lab.training.prepare import case_sample, phantom_sample
from hanseg_lab.training.recipe import Recipe
from hanseg_lab.training.sample import SAMPLE_VERSION
from hanseg_shared.errors import OptionError
from hanseg_shared.grid import Vector

logger = logging.getLogger(__name__)

WORTH_PROCESSES = 8
"""With fewer samples to make, starting processes takes longer than they save."""

FIRST_SEED = 10_000
"""Seed of the first simulated patient of training; tests and demo use small seeds."""

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
        """Return the samples for training a fold's network, and the held-out ones.

        Each case is held out in one fold, by its place in the order. With a single
        fold none is; see `run.choose_training_cases`.

        Raises:
            OptionError: Nothing would be left to train on.
        """
        if folds == 1:
            return self, SampleFiles((), ())
        unseen = SampleFiles(self.real[fold::folds], self.phantoms[fold::folds])
        seen = SampleFiles(
            tuple(each for each in self.real if each not in unseen.real),
            tuple(each for each in self.phantoms if each not in unseen.phantoms),
        )
        if not (seen.real or seen.phantoms):
            raise OptionError(
                f"{folds} folds hold out a part of the cases each, and there is but one"
                " case; give two, or a recipe with one fold"
            )
        return seen, unseen


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
    """Return the cases to train on: all but every `held_out`-th."""
    return tuple(c for k, c in enumerate(cases) if k % held_out != held_out - 1)


def held_out_cases(cases: Sequence[Case], *, held_out: int) -> tuple[Case, ...]:
    """Return the cases that are never trained on, for choosing between models."""
    return tuple(cases[held_out - 1 :: held_out])


def phantoms_needed(recipe: Recipe, cases: Sequence[object]) -> int:
    """Return how many simulated patients are made; without cases, they are all."""
    return recipe.phantoms if recipe.phantoms_a_batch or not cases else 0


def prepare(
    recipe: Recipe,
    cases: Sequence[DatasetCase],
    cache: Path,
    *,
    registration: RegistrationPlan | None = None,
) -> SampleFiles:
    """Return the files of all samples; those that `cache` lacks are made first.

    Trainings may share `cache`: one makes samples at a time, the others wait.

    Args:
        recipe: Decides spacing, channels and number of simulated patients.
        cases: Real cases to train on; if there are none, simulated patients suffice.
        cache: Folder for prepared samples and registered MRs.
        registration: How MRs are registered to the CTs; None leaves them out.

    Raises:
        InputError: A case's files cannot be used.
        RegistrationError: A registration failed.
    """
    with waiting_for(cache):
        return _prepare(recipe, cases, cache, registration)


def _prepare(
    recipe: Recipe,
    cases: Sequence[DatasetCase],
    cache: Path,
    registration: RegistrationPlan | None,
) -> SampleFiles:
    spacing = recipe.sample_spacing_mm
    jobs: list[tuple[Path, _CaseJob | int, Vector]] = []
    for case in cases:
        job = _CaseJob(case, None)
        if "mr" in recipe.channels:
            job = _register(case, cache, registration)
        jobs.append((cache / f"real_{_name(job, spacing)}.npz", job, spacing))
    count = phantoms_needed(recipe, cases)
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + count)
    edges = "x".join(f"{edge:g}" for edge in spacing)
    kind = f"{edges}mm_v{SAMPLE_VERSION}"
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


def _name(job: _CaseJob, spacing: Vector) -> str:
    """Return a name that changes with whatever changes the sample."""
    case = job.case
    parts = (stamp(case), str(spacing), str(job.registered), SAMPLE_VERSION)
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
    return f"{case.declaration.name}_{case.name}_{digest}"


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
