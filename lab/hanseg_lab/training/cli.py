"""The command `hanseg train`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from hanseg_shared.terminal import json_flag, say


@click.command()
@click.argument("recipe")
@click.option(
    "--data",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of a data set, see docs/reference/data-sets.md; may be given several"
    " times. Without it, the model is trained on simulated patients alone.",
)
@click.option(
    "--registered",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Results of hanseg batch over the data, instead of registering MRs here.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for prepared samples, checkpoints, log and the model package.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Only check the data and report errors; nothing is written.",
)
@click.option(
    "--export",
    type=click.Choice(["nnunet"]),
    help="Write the data to --out as an nnU-Net raw data set instead of training.",
)
@click.option(
    "--name",
    help="Name by which jobs choose the model; by default the recipe's, if free.",
)
@click.option("--version", help="The model's version; by default today's date.")
@click.option(
    "--smoke",
    is_flag=True,
    help="Train a few iterations only, as a test that everything runs.",
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in --out.")
@click.option(
    "--start",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Model package of the same network whose weights are the initial weights.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Longest training time of each network, instead of the recipe's.",
)
@click.option(
    "--iterations",
    type=click.IntRange(min=1),
    help="Iterations of each network, instead of the recipe's.",
)
@json_flag
def train(
    recipe: str,
    *,
    data: tuple[Path, ...],
    registered: Path | None,
    out: Path | None,
    check: bool,
    export: str | None,
    name: str | None,
    version: str | None,
    smoke: bool,
    resume: bool,
    start: Path | None,
    minutes: float | None,
    iterations: int | None,
) -> None:
    """Train RECIPE (a name, or a JSON file) and write the model package.

    On several GPUs: torchrun --nproc-per-node N --no-python hanseg train RECIPE ...
    """
    if check:
        _check_data(data)
        return
    if out is None:
        raise click.UsageError("--out is missing: the folder that is written to")
    if export is not None:
        _export_data(recipe, data, out, registered=registered)
        return
    from hanseg_lab.training.console import training_bar
    from hanseg_lab.training.datasets.registered_mr import RegistrationPlan
    from hanseg_lab.training.recipe import read_recipe
    from hanseg_lab.training.run import Identity, run_training
    from hanseg_lab.training.smoke import shrink_recipe
    from hanseg_segmentation.packages.installed import model_folders, require_own_name
    from hanseg_segmentation.packages.package import version_of_today
    from hanseg_shared.settings import read_settings

    plan = read_recipe(recipe)
    plan = shrink_recipe(plan) if smoke else plan
    chosen = {"minutes": minutes, "iterations": iterations}
    plan = plan.model_copy(update={k: v for k, v in chosen.items() if v is not None})
    folders = model_folders(read_settings().models)
    require_own_name(name or plan.name, version, folders=folders)
    with training_bar(plan.name) as progress:
        package = run_training(
            plan,
            data=data,
            out=out,
            resume=resume,
            registration=RegistrationPlan.of(plan.registration, results=registered),
            start=start,
            identity=Identity(name or plan.name, version or version_of_today()),
            progress=progress,
        )
    if package is not None:
        say("trained", f"model {package.name} {package.version} is in {out / 'model'}")


def _check_data(data: tuple[Path, ...]) -> None:
    """Check the data, and print what they hold and what is wrong."""
    from hanseg_lab.training.checking.data_check import check_datasets
    from hanseg_lab.training.checking.report import report_lines
    from hanseg_lab.training.datasets.dataset import refuse
    from hanseg_lab.training.datasets.find import find_datasets

    datasets = find_datasets(_require_data(data))
    with click.progressbar(length=1000, label="cases", file=sys.stderr) as bar:
        found = check_datasets(
            datasets, progress=lambda s: bar.update(_steps_to(bar.pos, s))
        )
    for line in report_lines(found, datasets):
        say("finding", line)
    refuse(found.findings)
    say("checked", "nothing is wrong with the data")


def _steps_to(position: int, share: float) -> int:
    """Return how far a bar of 1000 steps has to go from a position to a share."""
    return round(1000 * share) - position


def _export_data(
    recipe: str, data: tuple[Path, ...], out: Path, *, registered: Path | None
) -> None:
    """Check the data and write them as nnU-Net takes them."""
    from hanseg_lab.training.datasets.find import find_datasets
    from hanseg_lab.training.datasets.registered_mr import RegistrationPlan
    from hanseg_lab.training.export_nnunet import export_nnunet
    from hanseg_lab.training.recipe import read_recipe

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    plan = RegistrationPlan.of(read_recipe(recipe).registration, results=registered)
    folder = export_nnunet(find_datasets(_require_data(data)), out, registration=plan)
    say("exported", f"the data are in {folder}, as nnU-Net v2 takes them")


def _require_data(data: tuple[Path, ...]) -> tuple[Path, ...]:
    """Return the folders of data, after a check that there are some."""
    if not data:
        raise click.UsageError("--data is missing: the folder of a data set")
    return data
