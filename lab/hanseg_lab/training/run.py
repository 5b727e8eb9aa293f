"""From a recipe and data to a model package on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from hanseg_lab.declaration import (
    UNSTATED,
    Declaration,
    evidence_of_organs,
)
from hanseg_lab.locked import locked
from hanseg_lab.training.checking.data_check import PASSED, require_sound
from hanseg_lab.training.data import (
    Case,
    SampleFiles,
    held_out_cases,
    prepare,
    training_cases,
)
from hanseg_lab.training.datasets.dataset import Dataset, DatasetCase
from hanseg_lab.training.datasets.find import find_datasets
from hanseg_lab.training.datasets.registered_mr import RegistrationPlan
from hanseg_lab.training.loop import Cases, Progress, train
from hanseg_lab.training.processes import TrainingProcess, join_processes
from hanseg_lab.training.recipe import LOCALISER, Recipe
from hanseg_lab.training.shelf import MOST_BYTES, Shelf
from hanseg_lab.training.state import CHECKPOINT_FILE, TrainingState
from hanseg_segmentation.packages.combine import licence_of_both
from hanseg_segmentation.packages.names import version_of_today
from hanseg_segmentation.packages.package import (
    Localiser,
    ModelPackage,
    read_package,
)
from hanseg_segmentation.packages.weights import read_weights, write_package
from hanseg_shared.organs import ORGANS, Evidence

CACHE = "cache"
"""The folder of prepared samples in a training's own."""

OWN_LICENCE = "MIT"
"""Licence of weights trained on simulated patients alone: ours to choose."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a trained model is called: not the recipe's, which trains many."""

    name: str
    version: str = field(default_factory=version_of_today)


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What a model was trained on.

    Attributes:
        cases: Number of real cases it was trained on, by the name of their data set.
        known: Number of all real cases, held-out ones included.
        simulated: Number of simulated patients.
        iterations: Of each network.
        start: The package of its initial weights; None for random ones.
    """

    cases: dict[str, int] = field(default_factory=dict)
    known: int = 0
    simulated: int = 0
    iterations: tuple[int, ...] = ()
    start: ModelPackage | None = None

    def describe(self, recipe: Recipe) -> str:
        """Return a description of the model, in a sentence."""
        data = [f"{n} cases of {name}" for name, n in self.cases.items()]
        data.append(f"{self.simulated} simulated patients")
        begun = ""
        if self.start is not None:
            begun = f", beginning with {self.start.name} {self.start.version}"
        return (
            f"{len(ORGANS)} organs at risk from {', '.join(recipe.channels)};"
            f" trained by the recipe {recipe.name} {recipe.version} on"
            f" {' and '.join(data)}, for {self.iterations_said} iterations{begun}."
        )

    @property
    def iterations_said(self) -> str:
        """The iterations of each network, as a list."""
        return ", ".join(str(each) for each in self.iterations)

    @property
    def facts(self) -> dict[str, str]:
        """The facts about the data on the model's page."""
        used = sum(self.cases.values())
        facts = {
            "real_cases": f"{used} of {self.known}" if self.known else "0",
            "simulated_patients": str(self.simulated),
            "iterations": self.iterations_said,
        }
        if self.start is not None:
            first = self.start
            facts["began_with"] = f"{first.name} {first.version} {first.sha256}"
        return facts | {f"cases_{name}": str(n) for name, n in self.cases.items()}


def run_training(
    recipe: Recipe,
    *,
    data: Sequence[Path] = (),
    out: Path,
    resume: bool = False,
    registration: RegistrationPlan | None = None,
    start: Path | None = None,
    cache: Path | None = None,
    identity: Identity | None = None,
    progress: Progress = lambda _: None,
) -> ModelPackage | None:
    """Prepare samples, train every network, and write the package to ``out/model``.

    Started by torchrun, the processes train together.

    Args:
        recipe: How.
        data: Folders of real cases, a data set each; see `datasets.find`.
        out: Folder for everything that is made.
        resume: Whether to go on from the checkpoints in `out`.
        registration: How MRs are registered to the CTs; None leaves them out.
        start: Folder of a package with whose weights every fold begins; None for
            random ones.
        cache: Folder for prepared samples and registered MRs, which trainings may
            share; None for one in `out`.
        identity: What the model is called; None for the recipe's name and today.
        progress: Called with the share done, 0 to 1.

    Returns:
        The package; None in a process that only helped to train it.

    Raises:
        InputError: Something is wrong with the data; nothing was written.
        ModelError: The package to begin with is damaged.
        OptionError: It is of another network.
        JobStateError: Another training writes to `out`.
    """
    begin = None if start is None else _weights_of(start)
    datasets = find_datasets(data)
    samples = cache or out / CACHE
    job = _Job(
        datasets, out, samples, registration, _shares_of_networks(progress, recipe)
    )
    called, coarse = identity or Identity(recipe.name), None
    with ExitStack() as holding:
        with join_processes() as process:
            if process.leads:
                require_sound(datasets, passed=samples / PASSED)
                holding.enter_context(locked(out))
            if recipe.localiser is not None:
                coarse = _train_networks(
                    process, recipe.localiser, job.in_folder(LOCALISER), resume=resume
                )
            trained = _train_networks(process, recipe, job, resume=resume, begin=begin)
        if not process.leads:
            return None
        written = None
        if recipe.localiser is not None and coarse is not None:
            written = _write_package(
                recipe.localiser,
                job,
                coarse,
                Identity(f"{called.name}-{LOCALISER}", called.version),
                out / "model" / LOCALISER,
            )
        return _write_package(
            recipe,
            job,
            trained,
            called,
            out / "model",
            begun=None if start is None else read_package(start),
            localiser=written,
        )


@dataclass(frozen=True, slots=True)
class _Job:
    """What the networks of a model are trained on, and where they go.

    Attributes:
        datasets: The real cases.
        out: Folder for checkpoints and logs.
        cache: Folder for prepared samples and registered MRs.
        registration: How MRs are registered to the CTs; None leaves them out.
        shares: What turns the share of the next network that is done into that of all;
            each network takes one.
    """

    datasets: Sequence[Dataset]
    out: Path
    cache: Path
    registration: RegistrationPlan | None
    shares: Iterator[Progress]

    @property
    def cases(self) -> Sequence[DatasetCase]:
        """All real cases."""
        return [case for each in self.datasets for case in each.cases]

    def in_folder(self, name: str) -> _Job:
        """Return the same for networks in a sub-folder, which see the CT alone."""
        return replace(self, out=self.out / name, registration=None)


@dataclass(frozen=True, slots=True)
class _Trained:
    """The networks of a recipe, and what they were trained on.

    Attributes:
        states: Of each fold.
        cases: The real cases that they were trained on.
        simulated: Number of simulated patients.
    """

    states: Sequence[TrainingState]
    cases: Sequence[DatasetCase]
    simulated: int


def _train_networks(
    process: TrainingProcess,
    recipe: Recipe,
    job: _Job,
    *,
    resume: bool,
    begin: dict[str, torch.Tensor] | None = None,
) -> _Trained:
    """Prepare a recipe's samples and train its folds, but not its localiser."""
    chosen, kept = choose_training_cases(recipe, job.cases)
    files = process.first_alone(
        lambda: prepare(
            recipe, (*chosen, *kept), job.cache, registration=job.registration
        )
    )
    states = []
    for fold in range(recipe.folds):
        folder = fold_folder(job.out, fold, recipe.folds)
        folder.mkdir(exist_ok=True)
        state = train(
            process,
            recipe,
            _cases(*_split(files, len(chosen), fold, recipe), process),
            folder,
            resume=resume and (_has_begun(folder) or _is_first(recipe, fold)),
            fold=fold,
            start=begin,
            progress=next(job.shares),
        )
        states.append(state)
    return _Trained(states, chosen, len(files.phantoms))


def _weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return a package's weights in float32, as they are trained."""
    weights = read_weights(folder, read_package(folder))
    return {
        name: each.float() if each.is_floating_point() else each
        for name, each in weights.items()
    }


def _shares_of_networks(progress: Progress, recipe: Recipe) -> Iterator[Progress]:
    """Yield, for each network, what turns the share of it done into that of all."""

    def share(number: int) -> Progress:
        return lambda done: progress((number + done) / recipe.networks)

    return map(share, range(recipe.networks))


def choose_training_cases(
    recipe: Recipe, cases: Sequence[Case]
) -> tuple[Sequence[Case], Sequence[Case]]:
    """Return the cases to train on, and those that no network trains on.

    With several folds there are none of the latter: each case is held out in one fold,
    or in none.
    """
    if recipe.folds > 1 or not recipe.folds_hold_out:
        return cases, ()
    return (
        training_cases(cases, held_out=recipe.held_out),
        held_out_cases(cases, held_out=recipe.held_out),
    )


def fold_folder(out: Path, fold: int, folds: int) -> Path:
    """Return where a fold's checkpoint, log and curves are; `out` with one fold."""
    return out if folds == 1 else out / f"fold_{fold}"


def has_begun(recipe: Recipe, out: Path) -> bool:
    """Whether a training of that recipe in a folder has anything to resume."""
    first = fold_folder(out, 0, recipe.folds)
    return _has_begun(first if recipe.localiser is None else out / LOCALISER)


def _has_begun(folder: Path) -> bool:
    """Whether a network is to be resumed; a later one may not have been begun."""
    return (folder / CHECKPOINT_FILE).exists()


def _is_first(recipe: Recipe, fold: int) -> bool:
    """Whether a network is a model's first, without which nothing can be resumed."""
    return fold == 0 and recipe.localiser is None


def _split(
    files: SampleFiles, chosen: int, fold: int, recipe: Recipe
) -> tuple[SampleFiles, SampleFiles]:
    """Return the samples that a fold's network sees, and those it is evaluated on.

    Args:
        files: Real cases to train on come first, then those that none trains on.
        chosen: How many are to train on.
        fold: The network's number.
        recipe: Says how many networks there are, and whether they hold out cases.
    """
    if not recipe.folds_hold_out:
        return files, files
    if recipe.folds == 1:
        seen = SampleFiles(files.real[:chosen], files.phantoms)
        return seen, SampleFiles(files.real[chosen:], ())
    return files.split(fold=fold, folds=recipe.folds)


def _cases(seen: SampleFiles, unseen: SampleFiles, process: TrainingProcess) -> Cases:
    most_bytes = MOST_BYTES // (2 * process.size)
    return Cases(
        Shelf(seen.real, most_bytes=most_bytes),
        Shelf(seen.phantoms, most_bytes=most_bytes),
        Shelf((*unseen.real, *unseen.phantoms), most_bytes=most_bytes),
    )


def _write_package(
    recipe: Recipe,
    job: _Job,
    trained: _Trained,
    identity: Identity,
    into: Path,
    *,
    begun: ModelPackage | None = None,
    localiser: ModelPackage | None = None,
) -> ModelPackage:
    states = trained.states
    used = TrainingData(
        cases=dict(Counter(each.declaration.name for each in trained.cases)),
        known=len(job.cases),
        simulated=trained.simulated,
        iterations=tuple(each.iteration for each in states),
        start=begun,
    )
    provenance = {
        "training_seconds": f"{sum(each.seconds for each in states):.0f}",
        "processor_seconds": f"{sum(each.processor_seconds for each in states):.0f}",
    }
    declarations = tuple(each.declaration for each in job.datasets)
    for one in declarations:
        provenance[f"data_{one.name}"] = f"{one.description} ({one.licence})"
    package = plan_package(
        recipe,
        declarations,
        provenance=provenance,
        identity=identity,
        used=used,
        localiser=localiser,
    )
    first, *further = (
        half_weights(each.average if recipe.average_decay else each.trainee.network)
        for each in states
    )
    return write_package(into, package, first, further=further)


def half_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's state with floating-point tensors as float16.

    Running variances stay float32, since small ones would round to 0.
    """
    return {
        name: value.half()
        if value.is_floating_point() and not name.endswith("running_var")
        else value
        for name, value in network.state_dict().items()
    }


def plan_package(
    recipe: Recipe,
    declarations: tuple[Declaration, ...],
    *,
    provenance: dict[str, str],
    identity: Identity | None = None,
    used: TrainingData | None = None,
    localiser: ModelPackage | None = None,
) -> ModelPackage:
    """Return the package's plan, before the weights' hash is known.

    Args:
        recipe: How the model was trained.
        declarations: The data sets it was trained on, besides simulated patients.
        provenance: Further facts about it.
        identity: What it is called; None for the recipe's name and today.
        used: What it was trained on; None for nothing yet.
        localiser: Its localiser, written already; None without.
    """
    evidence = evidence_of_organs(declarations)
    called, used = identity or Identity(recipe.name), used or TrainingData()
    licence = weights_licence(declarations)
    if used.start is not None:
        licence = licence_of_both(used.start.licence, licence)
    return ModelPackage(
        name=called.name,
        version=called.version,
        licence=licence,
        description=used.describe(recipe),
        spacing_mm=recipe.spacing_mm,
        patch=recipe.inference.patch or recipe.patch,
        merged_sides=recipe.merged_sides,
        labels=recipe.labels,
        normalisation=recipe.normalisation,
        network=recipe.network_spec,
        channels=recipe.channels,
        step=recipe.inference.step,
        combine=recipe.inference.combine,
        mirror_axes=recipe.inference.mirror_axes,
        localiser=None
        if localiser is None
        else Localiser(folder=LOCALISER, sha256=localiser.sha256),
        evidence={
            each.name: evidence.get(each.name, Evidence.PHANTOM) for each in ORGANS
        },
        sha256="0" * 64,
        provenance=used.facts | provenance | _recipe_facts(recipe),
    )


def weights_licence(declarations: tuple[Declaration, ...]) -> str:
    """Return the licence of weights that were trained on data sets.

    It is theirs if all agree, and for the department to settle otherwise.
    """
    licences = {each.weights_licence for each in declarations} or {OWN_LICENCE}
    return licences.pop() if len(licences) == 1 else UNSTATED


def _recipe_facts(recipe: Recipe) -> dict[str, str]:
    """Return the facts about the recipe for the model's page, without empty ones."""
    facts = {
        "recipe": recipe.name,
        "recipe_version": recipe.version,
        "registration": ""
        if recipe.registration is None
        else f"{recipe.registration.kind} {recipe.registration.backend}",
        "sources": "; ".join(recipe.sources),
        "inferred": ", ".join(recipe.inferred),
    }
    return {name: text for name, text in facts.items() if text}
