"""The command `hanseg train`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from hanseg_shared.terminal import (
    json_flag,
    json_is_on,
    print_event,
    print_table,
    say,
)

if TYPE_CHECKING:
    from hanseg_lab.training.recipe import Recipe

Scale = Literal["smoke", "by_heart"]
"""Smaller than the recipe says: to see that it runs, or that it learns."""


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
    "--plan",
    "only_plan",
    is_flag=True,
    help="Only print the memory, disk and time that the training needs beside what this"
    " machine has; nothing is written. Exit status 2 if it lacks memory or disk.",
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
@click.option(
    "--by-heart",
    is_flag=True,
    help="Train at a small scale until one case is learnt by heart, in minutes, as a"
    " test that the recipe can learn; give it one case.",
)
@click.option("--resume", is_flag=True, help="Continue from the checkpoint in --out.")
@click.option(
    "--start",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Model package of the same network whose weights are the initial weights.",
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for prepared samples and registered MRs, which trainings on the same"
    " data may share; by default one in --out.",
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Longest training time of each network, instead of the recipe's.",
)
@click.option(
    "--processor-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Most time of the processor for each network, all threads together.",
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
    only_plan: bool,
    export: str | None,
    name: str | None,
    version: str | None,
    smoke: bool,
    by_heart: bool,
    resume: bool,
    start: Path | None,
    cache: Path | None,
    minutes: float | None,
    processor_minutes: float | None,
    iterations: int | None,
) -> None:
    """Train RECIPE (a name, or a JSON file) and write the model package.

    On several GPUs: torchrun --nproc-per-node N --no-python hanseg train RECIPE ...
    """
    if check:
        _check_data(data)
        return
    ends = {
        "minutes": minutes,
        "processor_minutes": processor_minutes,
        "iterations": iterations,
    }
    if smoke and by_heart:
        raise click.UsageError("--smoke and --by-heart are two scales; choose one")
    scale: Scale | None = "smoke" if smoke else "by_heart" if by_heart else None
    chosen = _choose_recipe(recipe, ends, scale)
    if only_plan:
        _print_plan(chosen, data, out or Path(), registered=registered)
        return
    if out is None:
        raise click.UsageError("--out is missing: the folder that is written to")
    if export is not None:
        _export_data(recipe, data, out, registered=registered)
        return
    from hanseg_lab.training.console import training_bar
    from hanseg_lab.training.datasets.registered_mr import RegistrationPlan
    from hanseg_lab.training.run import Identity, run_training
    from hanseg_segmentation.packages.installed import model_folders, require_own_name
    from hanseg_segmentation.packages.names import version_of_today
    from hanseg_shared.settings import read_settings

    folders = model_folders(read_settings().models)
    require_own_name(name or chosen.name, version, folders=folders)
    with training_bar(chosen.name) as progress:
        package = run_training(
            chosen,
            data=data,
            out=out,
            resume=resume,
            registration=RegistrationPlan.of(chosen.registration, results=registered),
            start=start,
            cache=cache,
            identity=Identity(name or chosen.name, version or version_of_today()),
            progress=progress,
        )
    if package is not None:
        say("trained", f"model {package.name} {package.version} is in {out / 'model'}")


def _choose_recipe(
    name: str, ends: Mapping[str, float | None], scale: Scale | None
) -> Recipe:
    """Return the recipe of that name at a scale, which ends as options say."""
    from hanseg_lab.training.by_heart import by_heart
    from hanseg_lab.training.recipe import read_recipe
    from hanseg_lab.training.smoke import shrink_recipe

    recipe = read_recipe(name)
    if scale is not None:
        recipe = {"smoke": shrink_recipe, "by_heart": by_heart}[scale](recipe)
    return _end(recipe, {k: v for k, v in ends.items() if v is not None})


def _end(recipe: Recipe, ends: Mapping[str, float]) -> Recipe:
    """Return the recipe with other ends, its localiser's training too."""
    from hanseg_lab.training.recipe import with_localiser

    changed = recipe.model_copy(update=dict(ends))
    return with_localiser(changed, lambda localiser: _end(localiser, ends))


def _print_plan(
    recipe: Recipe, data: tuple[Path, ...], out: Path, *, registered: Path | None
) -> None:
    """Print what a training needs; end with an error if this machine lacks it."""
    from hanseg_lab.training.planning.plan import make_plan
    from hanseg_lab.training.planning.report import HEADINGS, plan_rows, plan_title
    from hanseg_shared.errors import OptionError

    plan = make_plan(recipe, data=data, out=out, registered=registered is not None)
    if json_is_on():
        print_event(
            "plan", message=plan_title(plan).replace("\n", "; "), **plan.figures
        )
    else:
        click.echo(plan_title(plan))
        print_table(HEADINGS, plan_rows(plan), right=HEADINGS[1:3], whole=HEADINGS[:3])
    for remark in plan.remarks:
        click.echo(f"warning: {remark}", err=True)
    if plan.lacks:
        raise OptionError(
            f"{recipe.name} does not fit this machine. " + "; ".join(plan.lacks)
        )


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
