"""The samples of a training: prepared once, kept on disk, drawn by chance."""

from __future__ import annotations

import logging
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from hanseg_segmentation.training.prepare import openkbp_sample, phantom_sample
from hanseg_segmentation.training.recipe import Recipe
from hanseg_segmentation.training.sample import Sample
from hanseg_shared.errors import OptionError
from hanseg_shared.grid import Vector

logger = logging.getLogger(__name__)

REAL_FOLDER = Path("openkbp") / "train"
"""Where the real cases lie in the data folder."""

FIRST_SEED = 10_000
"""Seed of the first simulated patient of training; tests and demo use small seeds."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Samples in memory.

    Attributes:
        real: Clinical cases, in part drawn.
        phantoms: Simulated patients, fully known.
    """

    real: tuple[Sample, ...]
    phantoms: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class SampleFiles:
    """Prepared samples on disk.

    Attributes:
        real: Files of clinical cases.
        phantoms: Files of simulated patients.
    """

    real: tuple[Path, ...]
    phantoms: tuple[Path, ...]

    def load(self, *, part: int = 0, parts: int = 1) -> TrainingData:
        """Read every `parts`-th sample, from `part` on."""
        return TrainingData(
            tuple(Sample.load(file) for file in self.real[part::parts]),
            tuple(Sample.load(file) for file in self.phantoms[part::parts]),
        )


def real_cases(data: Path) -> tuple[Path, ...]:
    """Return the CT files of the real cases, sorted; empty if there are none."""
    return tuple(sorted((data / REAL_FOLDER).glob("*_ct.nii.gz")))


def training_cases(cases: tuple[Path, ...], *, held_out: int) -> tuple[Path, ...]:
    """Return the cases that teach: all but every `held_out`-th."""
    return tuple(c for k, c in enumerate(cases) if k % held_out != held_out - 1)


def held_out_cases(cases: tuple[Path, ...], *, held_out: int) -> tuple[Path, ...]:
    """Return the cases that training never sees and that choices are made on."""
    return cases[held_out - 1 :: held_out]


def prepare(recipe: Recipe, data: Path | None, cache: Path) -> SampleFiles:
    """Return the files of all samples; those that `cache` lacks are made first.

    Args:
        recipe: What to make.
        data: Folder of real cases; None trains on simulated patients alone.
        cache: Folder for prepared samples; delete it after a change of the recipe.

    Raises:
        OptionError: `data` holds no real case.
    """
    cache.mkdir(parents=True, exist_ok=True)
    cases = real_cases(data) if data is not None else ()
    if data is not None and not cases:
        raise OptionError(
            f"{data / REAL_FOLDER} holds no <id>_ct.nii.gz; name the folder that has"
            " openkbp/train, or train without --data"
        )
    cases = training_cases(cases, held_out=recipe.held_out)
    spacing = (recipe.sample_spacing_mm,) * 3
    jobs: list[tuple[Path, Path | int, Vector]] = [
        (cache / f"real_{case.name.split('_')[0]}.npz", case, spacing) for case in cases
    ]
    count = recipe.phantoms
    seeds = range(FIRST_SEED + recipe.seed, FIRST_SEED + recipe.seed + count)
    jobs += [(cache / f"phantom_{seed}.npz", seed, spacing) for seed in seeds]
    _make_missing([job for job in jobs if not job[0].exists()], recipe.processes)
    files = tuple(file for file, _, _ in jobs)
    return SampleFiles(files[: len(cases)], files[len(cases) :])


def _make_missing(jobs: list[tuple[Path, Path | int, Vector]], processes: int) -> None:
    if not jobs:
        return
    logger.info("preparing %d samples", len(jobs))
    if processes == 1:
        for job in jobs:
            _make(job)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for _ in pool.map(_make, jobs, chunksize=4):
            pass


def _make(job: tuple[Path, Path | int, Vector]) -> None:
    file, source, spacing = job
    if isinstance(source, Path):
        openkbp_sample(source, spacing=spacing).save(file)
    else:
        phantom_sample(source, spacing=spacing).save(file)
