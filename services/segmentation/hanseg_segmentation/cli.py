"""The command `hanseg models`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

import click

from hanseg_shared.errors import OptionError
from hanseg_shared.organs import Evidence
from hanseg_shared.terminal import json_flag, say

if TYPE_CHECKING:
    from hanseg_segmentation.packages.package import Channel, ModelPackage


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def models(context: click.Context, *, as_json: bool) -> None:
    """List the installed models: those that ship, and those in HANSEG_MODELS."""
    from hanseg_segmentation.packages.installed import installed_models, model_folders
    from hanseg_shared.settings import read_settings

    if context.invoked_subcommand is not None:
        return
    folders = model_folders(read_settings().models)
    found = installed_models(folders, whole=True)
    packages = [each.package for each in found.models]
    if as_json:
        listed = [each.model_dump(mode="json") for each in packages]
        left_out = [
            {"name": each.name, "folder": str(each.folder), "left_out": each.reason}
            for each in found.left_out
        ]
        click.echo(json.dumps(listed + left_out))
        return
    for each in packages:
        click.echo(f"{each.name} {each.version}  {len(each.labels)} organs")
        click.echo(f"  {each.description}")
    for bad in found.left_out:
        click.echo(f"{bad.name}  left out, from {bad.folder}")
        click.echo(f"  {bad.reason}")


@models.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--name", help="What jobs call it; by default the data set's name.")
@click.option(
    "--folds",
    default="",
    help="Such as 0,1,2, or all for the fold trained on all cases; by default every"
    " numbered one.",
)
@click.option("--configuration", default="3d_fullres", show_default=True)
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of models; by default HANSEG_MODELS.",
)
@click.option("--licence", help="SPDX expression of the weights' licence.")
@click.option(
    "--evidence",
    type=click.Choice(["expert", "clinical", "phantom", "unstated"]),
    default="unstated",
    show_default=True,
    help="The best kind of contours that the model was trained on.",
)
@click.option("--channels", default="", help="What the channels are, such as ct,mr.")
@click.option(
    "--orientation",
    help="Towards which sides the axes x, y, z of the training images ran, such as RAS,"
    " where the plan's reader takes them as they are stored; by default LPS.",
)
@click.option(
    "--trainer",
    help="nnU-Net's trainer whose network this one's is, such as nnUNetTrainer, for a"
    " trainer of your own that changes only the training.",
)
@click.option(
    "--map",
    "map_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON object: the organ of each label, null for the background.",
)
@json_flag
def add(
    folder: Path,
    *,
    name: str | None,
    folds: str,
    configuration: str,
    into: Path | None,
    licence: str | None,
    evidence: str,
    channels: str,
    orientation: str | None,
    trainer: str | None,
    map_file: Path | None,
) -> None:
    """Install the model that nnU-Net v2's training left in FOLDER."""
    from hanseg_segmentation.importing.confined import import_confined
    from hanseg_segmentation.importing.nnunet import NO_LICENCE, ImportOptions
    from hanseg_segmentation.importing.organ_names import read_map
    from hanseg_segmentation.packages.installed import model_folders

    place = _site_folder(into)
    options = ImportOptions(
        name=name,
        folds=tuple(_parts(folds)),
        configuration=configuration,
        licence=licence or NO_LICENCE,
        evidence=Evidence(evidence),
        channels=_channels(channels),
        orientation=orientation,
        trainer=trainer,
        organs={} if map_file is None else read_map(map_file),
    )
    package = import_confined(
        folder, into=place, options=options, installed_in=model_folders(None)
    )
    _report_added(package, is_orientation_given=orientation is not None)


@models.command()
@click.argument("first", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("second", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--organs", required=True, help="Organs that SECOND refines, separated by commas."
)
@click.option(
    "--out",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the new package.",
)
@click.option("--name", help="What jobs call it; by default FIRST's name.")
@click.option("--version", help="Its version; by default today's date.")
@json_flag
def combine(
    first: Path,
    second: Path,
    *,
    organs: str,
    out: Path,
    name: str | None,
    version: str | None,
) -> None:
    """Make one model of two: FIRST segments all organs, SECOND refines some."""
    from hanseg_segmentation.packages.combine import combine_packages
    from hanseg_segmentation.packages.installed import model_folders, require_own_name
    from hanseg_segmentation.packages.package import read_package
    from hanseg_shared.settings import read_settings

    folders = model_folders(read_settings().models)
    require_own_name(name or read_package(first).name, version, folders=folders)
    package = combine_packages(
        first, second, organs=_parts(organs), into=out, name=name, version=version
    )
    line = f"model {package.name} {package.version} is in {out}"
    say("combined", line, name=package.name, version=package.version)


@models.command()
@click.argument("name")
@json_flag
def verify(name: str) -> None:
    """Check that the weights of the model NAME are what its package says."""
    from hanseg_segmentation.packages.installed import find_model, model_folders
    from hanseg_segmentation.packages.weights import verify_weights
    from hanseg_shared.settings import read_settings

    found = find_model(name, model_folders(read_settings().models))
    verify_weights(found.folder, found.package)
    say("whole", f"model {name} is whole: {len(found.package.folds)} files of weights")


@models.command()
@click.argument("name")
@click.option(
    "--from",
    "place",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of models; by default HANSEG_MODELS.",
)
@json_flag
def remove(name: str, *, place: Path | None) -> None:
    """Remove the model NAME; models that ship with the package stay."""
    from hanseg_segmentation.packages.installed import folder_of, remove_model

    remove_model(folder_of(name, [_site_folder(place)]))
    say("removed", f"model {name} was removed", name=name)


def _report_added(package: ModelPackage, *, is_orientation_given: bool) -> None:
    """Say that a model was added, and what of it the user should check."""
    from hanseg_segmentation.importing.nnunet import unfinished_folds

    say(
        "installed",
        f"model {package.name} is installed: {len(package.labels)} organs from"
        f" {', '.join(package.channels)}, {len(package.folds)} folds",
        name=package.name,
    )
    for fold in unfinished_folds(package):
        file = package.provenance[f"checkpoint_fold_{fold}"]
        say(
            "remark",
            f"fold {fold} holds {file} instead of checkpoint_final.pth: its training"
            " may not have ended",
            fold=fold,
        )
    reader = package.provenance["image_reader_writer"]
    if not (is_orientation_given or reader.endswith("WithReorient")):
        say(
            "remark",
            f"{reader} takes images as they are stored; images are given to this model"
            f" as {package.orientation} (x to the left, y to the back, z up), as DICOM"
            " and HaN-Seg store them: if yours were stored otherwise for training, add"
            " the model again with --orientation, such as RAS",
            orientation=package.orientation,
        )


def _site_folder(given: Path | None) -> Path:
    """Return the site's folder of models: the one given, or HANSEG_MODELS."""
    from hanseg_shared.settings import read_settings

    place = given or read_settings().models
    if place is None:
        raise OptionError(
            "no folder of models is known; set HANSEG_MODELS or name one in the command"
        )
    return place


def _channels(listed: str) -> tuple[Channel, ...]:
    """Return channels of a comma-separated list."""
    from hanseg_segmentation.packages.package import ImageChannel

    for each in _parts(listed):
        if each not in get_args(ImageChannel):
            raise OptionError(
                f"no channel is called {each!r}; there are"
                f" {', '.join(get_args(ImageChannel))}"
            )
    return cast("tuple[Channel, ...]", tuple(_parts(listed)))


def _parts(listed: str) -> list[str]:
    """Return the parts of a comma-separated list, without blanks."""
    return [each.strip() for each in listed.split(",") if each.strip()]
