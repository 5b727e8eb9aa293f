"""From a recipe and data to a model package on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from hanseg_lab.training.checking.check import PASSED, require_sound
from hanseg_lab.training.data import SampleFiles, prepare, training_cases
from hanseg_lab.training.datasets.dataset import Dataset, DatasetCase
from hanseg_lab.training.datasets.find import find_datasets
from hanseg_lab.training.datasets.registered_mr import RegistrationPlan
from hanseg_lab.training.loop import Cases, Progress, train
from hanseg_lab.training.processes import Place, joined
from hanseg_lab.training.recipe import Recipe
from hanseg_lab.training.shelf import MOST_BYTES, Shelf
from hanseg_lab.training.state import CHECKPOINT_FILE, TrainingState
from hanseg_segmentation.packages.combine import licence_of_both
from hanseg_segmentation.packages.package import (
    ModelPackage,
    read_package,
    version_of_today,
)
from hanseg_segmentation.packages.weights import read_weights, write_package
from hanseg_shared.declaration import (
    UNSTATED,
    Declaration,
    evidence_of_organs,
)
from hanseg_shared.organs import ORGANS, Evidence

OWN_LICENCE = "MIT"
"""Licence of weights that simulated patients alone taught: ours to choose."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a trained model is called: not the recipe's, which trains many."""

    name: str
    version: str = field(default_factory=version_of_today)


@dataclass(frozen=True, slots=True)
class Teaching:
    """What taught a model.

    Attributes:
        cases: Number of real cases that taught, by the name of their data set.
        known: Number of real cases there are, those that were kept aside included.
        simulated: Number of simulated patients.
        iterations: Of each network.
        start: The package whose weights it began with; None for random ones.
    """

    cases: dict[str, int] = field(default_factory=dict)
    known: int = 0
    simulated: int = 0
    iterations: tuple[int, ...] = ()
    start: ModelPackage | None = None

    def described(self, recipe: Recipe) -> str:
        """Return what a model of this is, in a sentence."""
        taught = [f"{n} cases of {name}" for name, n in self.cases.items()]
        taught.append(f"{self.simulated} simulated patients")
        begun = ""
        if self.start is not None:
            begun = f", beginning with {self.start.name} {self.start.version}"
        return (
            f"{len(ORGANS)} organs at risk from {', '.join(recipe.channels)};"
            f" trained by the recipe {recipe.name} {recipe.version} on"
            f" {' and '.join(taught)}, for {self.iterations_said} iterations{begun}."
        )

    @property
    def iterations_said(self) -> str:
        """The iterations of each network, as a list."""
        return ", ".join(str(each) for each in self.iterations)

    @property
    def facts(self) -> dict[str, str]:
        """What a model's page tells of it."""
        taught = sum(self.cases.values())
        facts = {
            "real_cases": f"{taught} of {self.known}" if self.known else "0",
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
    identity: Identity | None = None,
    progress: Progress = lambda _: None,
) -> ModelPackage | None:
    """Prepare samples, train every fold, and write the package to ``out/model``.

    Started by torchrun, the processes train together.

    Args:
        recipe: How.
        data: Folders of real cases, a data set each; see `datasets.find`.
        out: Folder for everything that is made.
        resume: Whether to go on from the checkpoints in `out`.
        registration: How MRs are brought onto the CTs' grids; None leaves them out.
        start: Folder of a package with whose weights every fold begins; None for
            random ones.
        identity: What the model is called; None for the recipe's name and today.
        progress: Told the share done, 0 to 1.

    Returns:
        The package; None in a process that only helped to train it.

    Raises:
        InputError: Something is wrong with the data; nothing was written.
        ModelError: The package to begin with is damaged.
        OptionError: It is of another network.
    """
    begin = None if start is None else _weights_of(start)
    datasets = find_datasets(data)
    cases = [case for each in datasets for case in each.cases]
    taught = _taught(recipe, cases)
    with joined() as place:
        if place.leads:
            require_sound(datasets, passed=out / "cache" / PASSED)
            out.mkdir(parents=True, exist_ok=True)
        files = place.first_alone(
            lambda: prepare(recipe, taught, out / "cache", registration=registration)
        )
        states = []
        for fold in range(recipe.folds):
            folder = fold_folder(out, fold, recipe.folds)
            folder.mkdir(exist_ok=True)
            state = train(
                place,
                recipe,
                _cases(files, place, fold=fold, folds=recipe.folds),
                folder,
                resume=resume and _begun(folder, fold),
                fold=fold,
                start=begin,
                progress=_share_of_folds(progress, fold, recipe.folds),
            )
            states.append(state)
    if not place.leads:
        return None
    teaching = Teaching(
        cases=dict(Counter(each.declaration.name for each in taught)),
        known=len(cases),
        simulated=len(files.phantoms),
        iterations=tuple(each.iteration for each in states),
        start=None if start is None else read_package(start),
    )
    chosen = identity or Identity(recipe.name)
    return _packed(recipe, datasets, states, out, teaching, chosen)


def _weights_of(folder: Path) -> dict[str, torch.Tensor]:
    """Return a package's weights in float32, as they are trained."""
    weights = read_weights(folder, read_package(folder))
    return {
        name: each.float() if each.is_floating_point() else each
        for name, each in weights.items()
    }


def _share_of_folds(progress: Progress, fold: int, folds: int) -> Progress:
    """Return what turns the share of a fold that is done into that of all."""
    return lambda done: progress((fold + done) / folds)


def _taught(recipe: Recipe, cases: Sequence[DatasetCase]) -> Sequence[DatasetCase]:
    """Return the cases that teach; with folds each one does, in all but its own."""
    if recipe.folds > 1:
        return cases
    return training_cases(cases, held_out=recipe.held_out)


def fold_folder(out: Path, fold: int, folds: int) -> Path:
    """Return where a fold's checkpoint, log and curves are; `out` with one fold."""
    return out if folds == 1 else out / f"fold_{fold}"


def _begun(folder: Path, fold: int) -> bool:
    """Whether a fold is to be resumed; a later one may not have been begun."""
    return fold == 0 or (folder / CHECKPOINT_FILE).exists()


def _cases(files: SampleFiles, place: Place, *, fold: int, folds: int) -> Cases:
    taught, unseen = files.split(fold=fold, folds=folds)
    most_bytes = MOST_BYTES // (2 * place.size)
    return Cases(
        Shelf(taught.real, most_bytes=most_bytes),
        Shelf(taught.phantoms, most_bytes=most_bytes),
        Shelf((*unseen.real, *unseen.phantoms), most_bytes=most_bytes),
    )


def _packed(
    recipe: Recipe,
    datasets: Sequence[Dataset],
    states: Sequence[TrainingState],
    out: Path,
    teaching: Teaching,
    identity: Identity,
) -> ModelPackage:
    provenance = {
        "training_seconds": f"{sum(each.seconds for each in states):.0f}",
    }
    declarations = tuple(each.declaration for each in datasets)
    for one in declarations:
        provenance[f"data_{one.name}"] = f"{one.description} ({one.licence})"
    package = plan_package(
        recipe,
        declarations,
        provenance=provenance,
        identity=identity,
        teaching=teaching,
    )
    first, *further = (
        half_weights(each.average if recipe.average_decay else each.trainee.network)
        for each in states
    )
    return write_package(out / "model", package, first, further=further)


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
    teaching: Teaching | None = None,
) -> ModelPackage:
    """Return the package's plan, before the weights' hash is known.

    Args:
        recipe: How the model was trained.
        declarations: The data sets that taught it, besides simulated patients.
        provenance: Further facts about it.
        identity: What it is called; None for the recipe's name and today.
        teaching: What taught it; None for nothing yet.
    """
    evidence = evidence_of_organs(declarations)
    called, taught = identity or Identity(recipe.name), teaching or Teaching()
    licence = weights_licence(declarations)
    if taught.start is not None:
        licence = licence_of_both(taught.start.licence, licence)
    return ModelPackage(
        name=called.name,
        version=called.version,
        licence=licence,
        description=taught.described(recipe),
        spacing_mm=recipe.spacing_mm,
        patch=recipe.inference.patch or recipe.patch,
        labels={each.name: each.label for each in ORGANS},
        normalisation=recipe.normalisation,
        network=recipe.network_spec,
        channels=recipe.channels,
        step=recipe.inference.step,
        combine=recipe.inference.combine,
        mirror_axes=recipe.inference.mirror_axes,
        evidence={
            each.name: evidence.get(each.name, Evidence.PHANTOM) for each in ORGANS
        },
        sha256="0" * 64,
        provenance=taught.facts | provenance | _recipe_facts(recipe),
    )


def weights_licence(declarations: tuple[Declaration, ...]) -> str:
    """Return the licence of weights that data sets taught.

    It is theirs if all agree, and for the department to settle otherwise.
    """
    licences = {each.weights_licence for each in declarations} or {OWN_LICENCE}
    return licences.pop() if len(licences) == 1 else UNSTATED


def _recipe_facts(recipe: Recipe) -> dict[str, str]:
    """Return what a model's page tells of the recipe, without empty entries."""
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
