"""From a recipe and data to a model package on disk."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from hanseg_segmentation.model_package import ModelPackage, NetworkSpec, write_package
from hanseg_segmentation.training.checking.check import PASSED, require_sound
from hanseg_segmentation.training.data import prepare, training_cases
from hanseg_segmentation.training.datasets.declaration import (
    UNSTATED,
    Declaration,
    evidence_of_organs,
)
from hanseg_segmentation.training.datasets.find import find_datasets
from hanseg_segmentation.training.datasets.registered_mr import RegistrationPlan
from hanseg_segmentation.training.loop import network_config, new_state, train
from hanseg_segmentation.training.recipe import Recipe
from hanseg_segmentation.training.team import run_team
from hanseg_shared.organs import ORGANS, Evidence

OWN_LICENCE = "MIT"
"""Licence of weights that simulated patients alone taught: ours to choose."""


def run_training(
    recipe: Recipe,
    *,
    data: Sequence[Path] = (),
    out: Path,
    resume: bool = False,
    registration: RegistrationPlan | None = None,
) -> ModelPackage:
    """Prepare samples, train, and write the package to ``out/model``.

    Args:
        recipe: How.
        data: Folders of real cases, a data set each; see `datasets.find`.
        out: Folder for everything that is made.
        resume: Whether to go on from the checkpoint in `out`.
        registration: How MRs are brought onto the CTs' grids; None leaves them out.

    Raises:
        InputError: Something is wrong with the data; nothing was written.
    """
    datasets = find_datasets(data)
    require_sound(datasets, passed=out / "cache" / PASSED)
    cases = [case for each in datasets for case in each.cases]
    taught = training_cases(cases, held_out=recipe.held_out)
    out.mkdir(parents=True, exist_ok=True)
    files = prepare(recipe, taught, out / "cache", registration=registration)
    work = partial(train, recipe=recipe, files=files, folder=out, resume=resume)
    run_team(recipe.processes, work)
    state = new_state(recipe)
    state.load(out)
    provenance = {
        "real_cases": f"{len(taught)} of {len(cases)}" if cases else "0",
        "simulated_patients": str(len(files.phantoms)),
        "iterations": str(state.iteration),
        "training_seconds": f"{state.seconds:.0f}",
    }
    declarations = tuple(each.declaration for each in datasets)
    for one in declarations:
        provenance[f"data_{one.name}"] = f"{one.description} ({one.licence})"
    package = plan_package(recipe, declarations, provenance=provenance)
    return write_package(out / "model", package, half_weights(state.average))


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
) -> ModelPackage:
    """Return the package's plan, before the weights' hash is known.

    Args:
        recipe: How the model was trained.
        declarations: The data sets that taught it, besides simulated patients.
        provenance: What it was made of.
    """
    config = network_config(recipe)
    evidence = evidence_of_organs(declarations)
    return ModelPackage(
        name=recipe.name,
        version=recipe.version,
        licence=weights_licence(declarations),
        description=recipe.description,
        spacing_mm=recipe.spacing_mm,
        patch=recipe.patch,
        labels={each.name: each.label for each in ORGANS},
        normalisation=recipe.normalisation,
        network=NetworkSpec(
            kind="unet",
            config={
                "features": list(config.features),
                "head_features": config.head_features,
            },
        ),
        evidence={
            each.name: evidence.get(each.name, Evidence.PHANTOM) for each in ORGANS
        },
        sha256="0" * 64,
        provenance=provenance,
    )


def weights_licence(declarations: tuple[Declaration, ...]) -> str:
    """Return the licence of weights that data sets taught.

    It is theirs if all agree, and for the department to settle otherwise.
    """
    licences = {each.weights_licence for each in declarations} or {OWN_LICENCE}
    return licences.pop() if len(licences) == 1 else UNSTATED
