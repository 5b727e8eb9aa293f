"""From a folder that nnU-Net v2's training left behind to an installed model package.

Everything is checked before anything is written. The package is written to a temporary
folder and installed by one rename: there is never half a model.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import JsonValue

from hanseg_segmentation.importing.architecture import coarser_strides, network_spec
from hanseg_segmentation.importing.checkpoint import (
    FINAL,
    Checkpoint,
    checkpoint_file,
    read_checkpoint,
    trained_folds,
)
from hanseg_segmentation.importing.images import (
    image_channels,
    image_orientation,
    label_channels,
    normalisation,
    patient_axes,
    spacing_xyz,
)
from hanseg_segmentation.importing.organ_names import organs_of_labels
from hanseg_segmentation.importing.trained_folder import (
    TrainedFolder,
    find_trained_folder,
    read_trained_folder,
    validate,
)
from hanseg_segmentation.importing.trainers import is_stunet, require_known_trainer
from hanseg_segmentation.network.build import odd_weights
from hanseg_segmentation.network.stunet import stunet_config
from hanseg_segmentation.packages.installed import installed_models
from hanseg_segmentation.packages.names import is_name
from hanseg_segmentation.packages.package import (
    Channel,
    ModelPackage,
    NetworkSpec,
)
from hanseg_segmentation.packages.weights import write_package
from hanseg_shared.errors import InputError, ModelError
from hanseg_shared.organs import Evidence

CONFIGURATION = "3d_fullres"
"""The configuration that is taken unless the user names another."""

ALL_CASES = "all"
"""nnU-Net's name of the fold that was trained on all cases."""

IMPORTED_VERSION = "1"
"""Version of an imported model: the weights' SHA-256 tells two imports apart."""

NO_LICENCE = "NOASSERTION"
"""SPDX's word for a licence that nobody stated."""


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a user may say about a model that is imported.

    Attributes:
        name: What jobs call it; None takes the data set's name.
        folds: Names of the folds; empty takes every numbered one, and the one
            trained on all cases where there is no other.
        configuration: The plan's configuration.
        licence: SPDX expression of the weights' licence.
        evidence: The best kind of contours that the model was trained on.
        channels: What the image channels are; empty finds them by name.
        orientation: Towards which sides the axes x, y and z of the training images
            ran, where the plan's reader leaves them as they are stored; None for LPS.
        trainer: The known trainer whose network this one's is; None for its own.
        organs: The organ of each label that its name does not identify; None for
            labels that count as background.
    """

    name: str | None = None
    folds: tuple[str, ...] = ()
    configuration: str = CONFIGURATION
    licence: str = NO_LICENCE
    evidence: Evidence = Evidence.UNSTATED
    channels: tuple[Channel, ...] = ()
    orientation: str | None = None
    trainer: str | None = None
    organs: Mapping[str, str | None] = field(default_factory=dict)


def import_nnunet(
    folder: Path,
    *,
    into: Path,
    options: ImportOptions,
    installed_in: Sequence[Path] = (),
) -> ModelPackage:
    """Install a trained nnU-Net v2 folder as a model package, and return the package.

    Args:
        folder: The trained folder, or the data set's that holds one.
        into: The folder of models it is put in; created if need be.
        options: What the user says about it.
        installed_in: Further folders of models, whose names are taken.

    Raises:
        InputError: The folder is damaged, incomplete or of a kind that cannot be run,
            or the name is taken. Nothing was written.
    """
    found = find_trained_folder(folder, configuration=options.configuration)
    trained = read_trained_folder(found, configuration=options.configuration)
    name = options.name or _name_of(trained)
    _require_free(name, into=into, further=installed_in)
    folds = options.folds or _find_folds(found)
    files = [checkpoint_file(found, fold) for fold in folds]
    checkpoints = [read_checkpoint(path) for path in files]
    trainer = require_known_trainer(
        checkpoints[0].trainer, given=options.trainer, where=str(files[0])
    )
    package = describe_package(
        trained, checkpoints[0], name=name, trainer=trainer, options=options
    )
    for path, checkpoint in zip(files, checkpoints, strict=True):
        _require_fitting(package.network, checkpoint, checkpoints[0], file=path)
        if checkpoint.configuration != options.configuration:
            raise InputError(
                f"{path} was trained in {checkpoint.configuration}, not in"
                f" {options.configuration}; choose with --configuration"
            )
    package = _add_origin(package, dict(zip(folds, files, strict=True)))
    return _install(package, [each.weights for each in checkpoints], into=into)


def unfinished_folds(package: ModelPackage) -> tuple[str, ...]:
    """Return the folds whose checkpoint is not from the end of training."""
    start = "checkpoint_fold_"
    return tuple(
        name.removeprefix(start)
        for name, file in package.provenance.items()
        if name.startswith(start) and file != FINAL
    )


def _add_origin(package: ModelPackage, files: Mapping[str, Path]) -> ModelPackage:
    """Return a package whose provenance names the file of each fold."""
    origin = {}
    for fold, path in files.items():
        origin[f"checkpoint_fold_{fold}"] = path.name
        origin[f"checkpoint_sha256_fold_{fold}"] = _sha256(path)
    named = package.model_copy(update={"provenance": package.provenance | origin})
    if unfinished := unfinished_folds(named):
        remark = (
            f" Not the end of training, but its best checkpoint so far: fold"
            f" {', '.join(unfinished)} of {len(files)}."
        )
        return named.model_copy(update={"description": named.description + remark})
    return named


def describe_package(
    trained: TrainedFolder,
    checkpoint: Checkpoint,
    *,
    name: str,
    trainer: str,
    options: ImportOptions,
) -> ModelPackage:
    """Return the package of a trained folder, without SHA-256 yet.

    Args:
        trained: The folder.
        checkpoint: The first fold's.
        name: What jobs call the model.
        trainer: The known trainer whose network it is.
        options: What the user says about it.

    Raises:
        InputError: Channels, labels, normalisation or network cannot be run.
    """
    channels = image_channels(trained, given=options.channels)
    labels = label_channels(trained)
    organs = organs_of_labels(labels, given=options.organs, file=trained.dataset_file)
    network = _network(trained, checkpoint, trainer, len(channels), len(labels) + 1)
    values = {
        "name": name,
        "version": IMPORTED_VERSION,
        "licence": options.licence,
        "description": f"{len(organs)} organs at risk; imported from nnU-Net v2,"
        f" {trained.plans.dataset_name}, {trained.configuration_name}.",
        "channels": channels,
        **_frame(trained, checkpoint, given_orientation=options.orientation),
        "patch": trained.configuration.patch_size,
        "labels": organs,
        "normalisation": normalisation(trained, channels),
        "network": network,
        "evidence": dict.fromkeys(organs, options.evidence),
        "sha256": "0" * 64,
        "combine": "logits",
        "provenance": _provenance(trained, checkpoint, trainer),
    }
    return validate(values, ModelPackage, file=trained.plans_file)


def _frame(
    trained: TrainedFolder, checkpoint: Checkpoint, *, given_orientation: str | None
) -> dict[str, Any]:
    """Return the members of a package that say on which grid the network works."""
    orientation = image_orientation(trained, given=given_orientation)
    chosen = trained.configuration
    back = chosen.resampling_fn_probabilities_kwargs.separate_above
    return {
        "frame": "image",
        "spacing_mm": spacing_xyz(trained),
        "orientation": orientation,
        "transpose": trained.plans.transpose_forward,
        "separate_above": chosen.resampling_fn_data_kwargs.separate_above,
        "separate_above_back": back,
        "mirror_axes": patient_axes(
            trained, checkpoint.mirror_axes, orientation=orientation
        ),
    }


def _provenance(
    trained: TrainedFolder, checkpoint: Checkpoint, trainer: str
) -> dict[str, str]:
    """Return what the package says about its training."""
    return {
        "trained_with": "nnU-Net v2",
        "dataset": trained.plans.dataset_name,
        "plans": trained.plans.plans_name,
        "configuration": trained.configuration_name,
        "trainer": checkpoint.trainer,
        "image_reader_writer": trained.reader,
        **({} if trainer == checkpoint.trainer else {"run_as": trainer}),
    }


def _network(
    trained: TrainedFolder,
    checkpoint: Checkpoint,
    trainer: str,
    inputs: int,
    outputs: int,
) -> NetworkSpec:
    if not is_stunet(trainer):
        return network_spec(
            trained, in_channels=inputs, out_channels=outputs, trainer=trainer
        )
    try:
        config = stunet_config(checkpoint.weights, strides=coarser_strides(trained))
    except ValueError as error:
        raise InputError(f"{trained.folder}: trainer {trainer}, but {error}") from error
    values: dict[str, JsonValue] = {
        "in_channels": config.in_channels,
        "out_channels": config.out_channels,
        "features": list(config.features),
        "depth": list(config.depth),
        "strides": [list(each) for each in config.strides],
    }
    if (config.in_channels, config.out_channels) != (inputs, outputs):
        raise InputError(
            f"{trained.dataset_file} names {inputs} channels and {outputs} labels with"
            f" the background, but the weights have {config.in_channels} and"
            f" {config.out_channels}"
        )
    spec = {"kind": "stunet", "config": values}
    return validate(spec, NetworkSpec, file=trained.plans_file)


def _require_fitting(
    spec: NetworkSpec, checkpoint: Checkpoint, first: Checkpoint, *, file: Path
) -> None:
    """Raise `InputError` unless a checkpoint's weights are the described network's."""
    given = checkpoint.weights
    try:
        odd = odd_weights(spec, given)
    except ModelError as error:
        raise InputError(f"{file.parent.parent}: {error.message}") from error
    if odd:
        raise InputError(
            f"{file} does not fit the plan beside it ({len(odd)} weights differ, the"
            f" first is {odd[0]}): folder and checkpoint belong to different trainings,"
            f" or {checkpoint.trainer} changes the network"
        )
    for name, each in given.items():
        if each.is_floating_point() and not bool(torch.isfinite(each).all()):
            raise InputError(f"{file}: weight {name} holds values that are not finite")
    if (
        checkpoint.trainer != first.trainer
        or checkpoint.mirror_axes != first.mirror_axes
    ):
        raise InputError(
            f"{file} was trained by {checkpoint.trainer} with mirroring"
            f" {checkpoint.mirror_axes}, another fold by {first.trainer} with"
            f" {first.mirror_axes}; choose folds of one training with --folds"
        )


def _install(
    package: ModelPackage, weights: Sequence[Mapping[str, torch.Tensor]], *, into: Path
) -> ModelPackage:
    """Write a package to a temporary folder and rename it to its place."""
    try:
        into.mkdir(parents=True, exist_ok=True)
        # One level deeper than models are looked for, so that none is found in it.
        with tempfile.TemporaryDirectory(prefix=".adding-", dir=into) as scratch:
            new = Path(scratch) / package.name
            written = write_package(new, package, weights[0], further=weights[1:])
            new.rename(into / package.name)
    except OSError as error:
        raise InputError(
            f"{into} cannot take the model: {error.strerror}; nothing was installed"
        ) from error
    return written


def _find_folds(folder: Path) -> tuple[str, ...]:
    """Return the numbered folds, as nnU-Net's predictor does, or the one of all cases.

    Raises:
        InputError: No fold has a checkpoint.
    """
    folds = trained_folds(folder)
    numbered = tuple(each for each in folds if each != ALL_CASES)
    if not folds:
        checkpoint_file(folder, "0")  # says what is missing
    return numbered or folds


def _name_of(trained: TrainedFolder) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", trained.plans.dataset_name).strip("-._")
    if not name:
        raise InputError(f"{trained.plans_file} has no dataset_name; give a --name")
    return name[:64]


def _require_free(name: str, *, into: Path, further: Sequence[Path]) -> None:
    if not is_name(name):
        raise InputError(
            f"a model cannot be called {name!r}; use letters, digits, '.', '_' and '-'"
        )
    found = installed_models({into, *further})
    taken = {*found.names, *(each.name for each in found.left_out)}
    if name in taken or (into / name).exists():
        raise InputError(
            f"a model called {name} is installed already; give another --name, or"
            f" remove it with `hanseg models remove {name}`"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
