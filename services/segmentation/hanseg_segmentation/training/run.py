"""From a recipe and data to a model package on disk."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from hanseg_segmentation.model_package import ModelPackage, NetworkSpec, write_package
from hanseg_segmentation.training.data import prepare
from hanseg_segmentation.training.loop import network_config, new_state, train
from hanseg_segmentation.training.prepare import OPENKBP_LABELS
from hanseg_segmentation.training.recipe import Recipe
from hanseg_segmentation.training.team import run_team
from hanseg_shared.organs import ORGANS, Evidence

LICENCE = "MIT"
"""Licence of the weights: ours to choose, since every source allows it."""


def run_training(
    recipe: Recipe, *, data: Path | None, out: Path, resume: bool = False
) -> ModelPackage:
    """Prepare samples, train, and write the package to ``out/model``.

    Args:
        recipe: How.
        data: Folder of real cases, or None.
        out: Folder for everything that is made.
        resume: Whether to go on from the checkpoint in `out`.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = prepare(recipe, data, out / "cache")
    work = partial(train, recipe=recipe, files=files, folder=out, resume=resume)
    run_team(recipe.processes, work)
    state = new_state(recipe)
    state.load(out)
    provenance = {
        "real_cases": f"{len(files.real)} of OpenKBP's training CTs",
        "simulated_patients": str(len(files.phantoms)),
        "iterations": str(state.iteration),
        "training_seconds": f"{state.seconds:.0f}",
    }
    package = plan_package(recipe, real=bool(files.real), provenance=provenance)
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
    recipe: Recipe, *, real: bool, provenance: dict[str, str]
) -> ModelPackage:
    """Return the package's plan, before the weights' hash is known.

    Args:
        recipe: How the model was trained.
        real: Whether real cases taught it.
        provenance: What it was made of.
    """
    config = network_config(recipe)
    clinical = set(OPENKBP_LABELS.values()) if real else set()
    return ModelPackage(
        name=recipe.name,
        version=recipe.version,
        licence=LICENCE,
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
            each.name: Evidence.CLINICAL if each.name in clinical else Evidence.PHANTOM
            for each in ORGANS
        },
        sha256="0" * 64,
        provenance=provenance,
    )
