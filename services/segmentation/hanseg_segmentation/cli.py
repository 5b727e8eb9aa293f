"""The commands `hanseg models` and `hanseg train`."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import click


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def models(*, as_json: bool) -> None:
    """List the installed models: those that ship, and those in HANSEG_MODELS."""
    from hanseg_segmentation.model_package import find_models, model_folders
    from hanseg_shared.settings import read_settings

    folders = model_folders(read_settings().models)
    found = [each.package for each in find_models(folders)]
    if as_json:
        click.echo(json.dumps([each.model_dump(mode="json") for each in found]))
        return
    for each in found:
        click.echo(f"{each.name} {each.version}  {len(each.labels)} organs")
        click.echo(f"  {each.description}")


@click.command()
@click.argument("recipe")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with openkbp/train; without it, simulated patients alone teach.",
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for prepared samples, checkpoints, log and the model package.",
)
@click.option("--smoke", is_flag=True, help="A few iterations, to see that it runs.")
@click.option("--resume", is_flag=True, help="Go on from the checkpoint in --out.")
@click.option("--minutes", type=float, help="Training time instead of the recipe's.")
def train(
    recipe: str,
    *,
    data: Path | None,
    out: Path,
    smoke: bool,
    resume: bool,
    minutes: float | None,
) -> None:
    """Train RECIPE (a name, or a JSON file) and write the model package."""
    from hanseg_segmentation.training.recipe import read_recipe
    from hanseg_segmentation.training.recipe import smoke as shrunk
    from hanseg_segmentation.training.run import run_training

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = read_recipe(recipe)
    plan = shrunk(plan) if smoke else plan
    if minutes is not None:
        plan = plan.model_copy(update={"minutes": minutes})
    package = run_training(plan, data=data, out=out, resume=resume)
    click.echo(f"model {package.name} {package.version} is in {out / 'model'}")
