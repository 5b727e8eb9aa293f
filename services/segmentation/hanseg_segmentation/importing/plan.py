"""What a trained nnU-Net v2 folder says about its network and its images.

Only what this version computes exactly as nnU-Net does is accepted; everything else is
refused by its name, because a model run differently from how it was trained is wrong
without looking so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from hanseg_segmentation.model_package import (
    Axis,
    Channel,
    CtNormalisation,
    NetworkSpec,
    Normalisation,
    ZScore,
)
from hanseg_shared.errors import InputError

PLANS_FILE, DATASET_FILE = "plans.json", "dataset.json"

CHANNEL_NAMES: dict[str, Channel] = {
    "ct": "ct",
    "planningct": "ct",
    "pct": "ct",
    "mr": "mr",
    "mri": "mr",
    "t1": "mr",
    "t1w": "mr",
    "mrt1": "mr",
    "t1mr": "mr",
    "t1mri": "mr",
    "mrit1": "mr",
    "nonorm": "field_of_view",
    "fieldofview": "field_of_view",
    "fov": "field_of_view",
}
"""What image channels are called, compact; nnU-Net's ``noNorm`` is a mask channel."""

SCHEMES: dict[Channel, str] = {
    "ct": "CTNormalization",
    "mr": "ZScoreNormalization",
    "field_of_view": "NoNormalization",
}
"""nnU-Net's normalisation that each of our channels can be given."""

RESAMPLING = "resample_data_or_seg_to_shape"
"""The resampling that this version computes."""

PREPROCESSOR = "DefaultPreprocessor"

OLD_EPSILON = 1e-5
"""What nnU-Net added to variances before plans said so."""

LEAKS = {"LeakyReLU": 0.01, "ReLU": 0.0}
"""Slopes below zero of the activations known, unless the plan says another."""

NORMS: dict[str, Literal["instance", "batch"]] = {
    "InstanceNorm3d": "instance",
    "BatchNorm3d": "batch",
}

DEFINING_TRAINERS = {"nnUNetTrainerBN": "batch"}
"""Trainers that change the plan's network in a way known here: its normalisation."""


class _Lenient(BaseModel):
    """Part of a file of nnU-Net; members not needed here are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Resampling(_Lenient):
    """Arguments of nnU-Net's resampling."""

    order: int = 3
    order_z: int = 0
    force_separate_z: bool | None = None


class Architecture(_Lenient):
    """The network, as nnU-Net 2.4 and later write it."""

    network_class_name: str
    arch_kwargs: dict[str, Any]


class Configuration(_Lenient):
    """One configuration of plans.json, inheritance resolved."""

    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]
    normalization_schemes: tuple[str, ...]
    use_mask_for_norm: tuple[bool, ...]
    preprocessor_name: str = PREPROCESSOR
    resampling_fn_data: str
    resampling_fn_data_kwargs: Resampling
    resampling_fn_probabilities: str
    resampling_fn_probabilities_kwargs: Resampling
    previous_stage: str | None = None
    architecture: Architecture | None = None
    UNet_class_name: str | None = None
    UNet_base_num_features: int = 32
    unet_max_num_features: int = 320
    n_conv_per_stage_encoder: tuple[int, ...] = ()
    n_conv_per_stage_decoder: tuple[int, ...] = ()
    pool_op_kernel_sizes: tuple[tuple[int, ...], ...] = ()
    conv_kernel_sizes: tuple[tuple[int, ...], ...] = ()


class Intensities(_Lenient):
    """What the training images' fingerprint says of a channel."""

    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float


class Plans(_Lenient):
    """plans.json."""

    dataset_name: str
    plans_name: str = "nnUNetPlans"
    transpose_forward: tuple[int, int, int]
    configurations: dict[str, dict[str, Any]]
    label_manager: str = "LabelManager"
    foreground_intensity_properties_per_channel: dict[str, Intensities] | None = None
    foreground_intensity_properties_by_modality: dict[str, Intensities] | None = None

    @property
    def intensities(self) -> dict[str, Intensities]:
        """The fingerprint by channel number, under its new or its old name."""
        return (
            self.foreground_intensity_properties_per_channel
            or self.foreground_intensity_properties_by_modality
            or {}
        )


class Dataset(_Lenient):
    """dataset.json."""

    channel_names: dict[int, str] | None = None
    modality: dict[int, str] | None = None
    labels: dict[str, int | tuple[int, ...]]
    regions_class_order: tuple[int, ...] | None = None

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the image channels, in order."""
        named = self.channel_names or self.modality or {}
        return tuple(named[key] for key in sorted(named))


@dataclass(frozen=True, slots=True)
class TrainedFolder:
    """A folder that nnU-Net v2's training left behind, read and checked.

    Attributes:
        folder: Where it is.
        plans: Its plans.json.
        dataset: Its dataset.json.
        configuration: The one that was trained.
        configuration_name: That one's name.
    """

    folder: Path
    plans: Plans
    dataset: Dataset
    configuration: Configuration
    configuration_name: str

    @property
    def plans_file(self) -> Path:
        """Where the plans stand, for messages."""
        return self.folder / PLANS_FILE

    @property
    def dataset_file(self) -> Path:
        """Where labels and channels stand, for messages."""
        return self.folder / DATASET_FILE


def read_trained_folder(folder: Path, *, configuration: str) -> TrainedFolder:
    """Return a trained folder's plan.

    Raises:
        InputError: A file is missing or malformed, or the configuration is one that
            this version cannot run.
    """
    plans = _read(folder / PLANS_FILE, Plans)
    dataset = _read(folder / DATASET_FILE, Dataset)
    values = _resolved(plans, configuration, file=folder / PLANS_FILE)
    chosen = validated(values, Configuration, file=folder / PLANS_FILE)
    found = TrainedFolder(folder, plans, dataset, chosen, configuration)
    _require_runnable(found)
    return found


def find_trained_folder(folder: Path, *, configuration: str) -> Path:
    """Return `folder`, or the one in it that was trained in that configuration.

    nnU-Net puts ``TRAINER__PLANS__CONFIGURATION`` into a folder for the data set.

    Raises:
        InputError: There is none, or more than one.
    """
    if (folder / PLANS_FILE).is_file():
        return folder
    found = sorted(
        each.parent for each in folder.glob(f"*__{configuration}/{PLANS_FILE}")
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise InputError(
            f"{folder / PLANS_FILE} is missing; give the folder that nnU-Net v2's"
            " training wrote, with plans.json, dataset.json and fold_*"
        )
    names = ", ".join(each.name for each in found)
    raise InputError(
        f"{folder} holds several trained models: {names}; give one of them"
    )


def image_channels(
    trained: TrainedFolder, *, given: Sequence[Channel] = ()
) -> tuple[Channel, ...]:
    """Return which of our channels each input of the network is.

    Args:
        trained: The folder.
        given: What the user says they are; without, found by name.

    Raises:
        InputError: A name is unknown, a channel comes twice, or the counts differ.
    """
    names = trained.dataset.channels
    if given and len(given) != len(names):
        raise InputError(
            f"{trained.dataset_file} has {len(names)} channels ({', '.join(names)}),"
            f" but {len(given)} were given"
        )
    channels = tuple(given) or tuple(_channel(name, trained) for name in names)
    if not 1 <= len(channels) <= 3 or len(set(channels)) != len(channels):
        raise InputError(
            f"{trained.dataset_file}: channels {', '.join(names) or 'none'}; a model"
            " takes CT, MR and field of view, each once; say which with --channels"
        )
    return channels


def label_channels(trained: TrainedFolder) -> dict[str, int]:
    """Return the output channel of each label, the background left out.

    Raises:
        InputError: The labels are regions, or their numbers leave gaps.
    """
    file = trained.dataset_file
    labels: dict[str, int] = {}
    for name, value in trained.dataset.labels.items():
        if name == "ignore":
            continue
        if isinstance(value, tuple) and len(value) != 1:
            raise InputError(
                f"{file}: label {name!r} is a region of several labels; region-based"
                " models answer with overlapping masks, which this version cannot run:"
                " train with one label for each organ"
            )
        labels[name] = value[0] if isinstance(value, tuple) else value
    if trained.dataset.regions_class_order is not None:
        raise InputError(
            f"{file} has regions_class_order; region-based models cannot be run by"
            " this version: train with one label for each organ"
        )
    if sorted(labels.values()) != list(range(len(labels))) or labels.get("background"):
        raise InputError(
            f"{file}: labels must be background 0 and 1, 2, … without gaps, got"
            f" {sorted(labels.values())}"
        )
    return {name: value for name, value in labels.items() if value != 0}


def normalisation(trained: TrainedFolder, channels: Sequence[Channel]) -> Normalisation:
    """Return how images become network input, as the plan says.

    Raises:
        InputError: A channel is normalised in a way that this version does not know.
    """
    schemes = trained.configuration.normalization_schemes
    masked = trained.configuration.use_mask_for_norm
    if not len(schemes) == len(masked) == len(channels):
        raise InputError(
            f"{trained.plans_file} normalises {len(schemes)} channels, but"
            f" {DATASET_FILE} names {len(channels)}"
        )
    parts: dict[str, CtNormalisation | ZScore] = {}
    for number, (channel, scheme) in enumerate(zip(channels, schemes, strict=True)):
        if scheme != SCHEMES[channel]:
            raise InputError(
                f"{trained.plans_file}: {scheme} of channel {number} ({channel}) cannot"
                f" be run by this version, which knows {SCHEMES[channel]} for it"
            )
        if channel == "ct":
            parts["ct"] = _ct_normalisation(trained, number)
        elif channel == "mr":
            parts["mr"] = ZScore(scope="nonzero" if masked[number] else "image")
    return Normalisation.model_validate(parts)


def network_spec(
    trained: TrainedFolder, *, in_channels: int, out_channels: int, trainer: str
) -> NetworkSpec:
    """Return which network the plan describes; not for STU-Net, see `is_stunet`.

    Raises:
        InputError: The architecture is one that this version does not have.
    """
    kind, values = _architecture(trained)
    blocks = (
        "n_blocks_per_stage" if kind == "residual_encoder_unet" else "n_conv_per_stage"
    )
    norm = DEFINING_TRAINERS.get(trainer) or _norm(values, trained)
    options = values.get("norm_op_kwargs") or {}
    try:
        stages = int(values["n_stages"])
        config: dict[str, JsonValue] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "features": _per_stage(values["features_per_stage"], stages),
            "kernels": _triples(values["kernel_sizes"], stages),
            "strides": _triples(values["strides"], stages),
            "blocks": _per_stage(values[blocks], stages),
            "decoder_blocks": _per_stage(
                values["n_conv_per_stage_decoder"], stages - 1
            ),
            "stem_features": values.get("stem_channels"),
            "bias": bool(values.get("conv_bias", False)),
            "norm": norm,
            "norm_epsilon": float(options.get("eps", OLD_EPSILON)),
            "norm_affine": bool(options.get("affine", norm == "batch")),
            "leak": _leak(values, trained),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{trained.plans_file}: the architecture lacks or garbles {error}"
        ) from error
    return NetworkSpec(kind=kind, config=config)


def is_stunet(trainer: str) -> bool:
    """Whether a trainer is one of STU-Net's, whose network the plan does not tell."""
    return trainer.startswith("STUNetTrainer")


def coarser_strides(trained: TrainedFolder) -> tuple[tuple[int, int, int], ...]:
    """Return each stage's strides in the network's axes, the first stage left out."""
    if trained.configuration.architecture is not None:
        strides = trained.configuration.architecture.arch_kwargs.get("strides", ())
    else:
        strides = trained.configuration.pool_op_kernel_sizes
    try:
        return tuple((int(z), int(y), int(x)) for z, y, x in strides)[1:]
    except (TypeError, ValueError) as error:
        raise InputError(f"{trained.plans_file}: strides {strides}") from error


def spacing_xyz(trained: TrainedFolder) -> tuple[float, float, float]:
    """Return the spacing along the image's axes x, y, z, before nnU-Net's transpose."""
    z, y, x = (
        trained.configuration.spacing[trained.plans.transpose_forward.index(axis)]
        for axis in range(3)
    )
    return x, y, z


def patient_axes(trained: TrainedFolder, axes: Sequence[int]) -> tuple[Axis, ...]:
    """Return which of the patient's axes the network's axes are."""
    names = ("z", "y", "x")
    forward = trained.plans.transpose_forward
    return tuple(cast("Axis", names[forward[axis]]) for axis in axes)


def _require_runnable(trained: TrainedFolder) -> None:
    """Raise `InputError` for configurations whose images would be treated wrongly."""
    file, chosen = trained.plans_file, trained.configuration
    name = trained.configuration_name
    if len(chosen.patch_size) != 3 or len(chosen.spacing) != 3:
        raise InputError(
            f"{file}: {name} is a 2D configuration; this version runs 3D ones: choose"
            " one with --configuration"
        )
    if chosen.previous_stage is not None:
        raise InputError(
            f"{file}: {name} is the second stage of a cascade and needs"
            f" {chosen.previous_stage}'s answer; this version runs single stages such"
            " as 3d_fullres"
        )
    if sorted(trained.plans.transpose_forward) != [0, 1, 2]:
        raise InputError(
            f"{file}: transpose_forward is {trained.plans.transpose_forward}"
        )
    if chosen.preprocessor_name != PREPROCESSOR:
        raise InputError(
            f"{file}: preprocessor {chosen.preprocessor_name} is unknown to this"
            f" version, which knows {PREPROCESSOR}"
        )
    if trained.plans.label_manager != "LabelManager":
        raise InputError(
            f"{file}: label manager {trained.plans.label_manager} is unknown"
        )
    _require_resampling(trained)


def _require_resampling(trained: TrainedFolder) -> None:
    chosen = trained.configuration
    wanted = (
        ("resampling_fn_data", chosen.resampling_fn_data_kwargs, 3),
        ("resampling_fn_probabilities", chosen.resampling_fn_probabilities_kwargs, 1),
    )
    for name, options, order in wanted:
        function = getattr(chosen, name)
        if function != RESAMPLING:
            raise InputError(
                f"{trained.plans_file}: {name} {function} is unknown to this version,"
                f" which knows {RESAMPLING}; plan and train with nnU-Net's default"
            )
        if options != Resampling(order=order):
            raise InputError(
                f"{trained.plans_file}: {name} with {options!r}; this version knows"
                f" order {order}, order_z 0 and force_separate_z null"
            )


def _resolved(plans: Plans, name: str, *, file: Path) -> dict[str, Any]:
    """Return a configuration with what it inherits."""
    values: dict[str, Any] = {}
    seen: list[str] = []
    following: str | None = name
    while following is not None:
        if following in seen:
            raise InputError(f"{file}: configurations inherit in a circle: {seen}")
        if following not in plans.configurations:
            known = ", ".join(plans.configurations)
            raise InputError(
                f"{file} has no configuration {following!r}, but {known}; choose one"
                " with --configuration"
            )
        seen.append(following)
        own = plans.configurations[following]
        values = {**own, **values}
        following = own.get("inherits_from")
    return values


def _channel(name: str, trained: TrainedFolder) -> Channel:
    compact = "".join(each for each in name.casefold() if each.isalnum())
    found = CHANNEL_NAMES.get(compact)
    if found is None:
        raise InputError(
            f"{trained.dataset_file}: channel {name!r} is unknown; CT, MR, T1 and"
            " noNorm (field of view) are known: say which it is with --channels ct,mr"
        )
    return found


def _ct_normalisation(trained: TrainedFolder, number: int) -> CtNormalisation:
    measured = trained.plans.intensities.get(str(number))
    if measured is None:
        raise InputError(
            f"{trained.plans_file} has no foreground intensities of channel {number}"
        )
    values = {
        "low_hu": measured.percentile_00_5,
        "high_hu": measured.percentile_99_5,
        "mean_hu": measured.mean,
        "std_hu": max(measured.std, 1e-8),
    }
    return validated(values, CtNormalisation, file=trained.plans_file)


def _architecture(trained: TrainedFolder) -> tuple[str, Mapping[str, Any]]:
    """Return the kind of network and its arguments, old plans rewritten as new."""
    chosen = trained.configuration
    if chosen.architecture is not None:
        name = chosen.architecture.network_class_name.rpartition(".")[2]
        values: Mapping[str, Any] = chosen.architecture.arch_kwargs
    else:
        name = chosen.UNet_class_name or "none"
        values = _old_arguments(chosen)
    kinds = {
        "PlainConvUNet": "plain_conv_unet",
        "ResidualEncoderUNet": "residual_encoder_unet",
    }
    if name not in kinds:
        raise InputError(
            f"{trained.plans_file}: architecture {name} is unknown to this version,"
            f" which knows {', '.join(kinds)} and STU-Net"
        )
    odd = [each for each in ("block", "bottleneck_channels") if values.get(each)]
    if odd or values.get("nonlin_first"):
        raise InputError(
            f"{trained.plans_file}: {name} with {', '.join(odd) or 'nonlin_first'} is"
            " unknown to this version"
        )
    return kinds[name], values


def _old_arguments(chosen: Configuration) -> dict[str, Any]:
    """Return the arguments that plans before nnU-Net 2.4 mean."""
    stages = len(chosen.n_conv_per_stage_encoder)
    base, most = chosen.UNet_base_num_features, chosen.unet_max_num_features
    return {
        "n_stages": stages,
        "features_per_stage": [min(base * 2**stage, most) for stage in range(stages)],
        "kernel_sizes": chosen.conv_kernel_sizes,
        "strides": chosen.pool_op_kernel_sizes,
        "n_conv_per_stage": chosen.n_conv_per_stage_encoder,
        "n_blocks_per_stage": chosen.n_conv_per_stage_encoder,
        "n_conv_per_stage_decoder": chosen.n_conv_per_stage_decoder,
        "conv_bias": True,
        "norm_op": "InstanceNorm3d",
        "norm_op_kwargs": {"eps": OLD_EPSILON, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _norm(values: Mapping[str, Any], trained: TrainedFolder) -> str:
    name = str(values.get("norm_op")).rpartition(".")[2]
    if name not in NORMS:
        raise InputError(f"{trained.plans_file}: norm_op {name} is unknown")
    return NORMS[name]


def _leak(values: Mapping[str, Any], trained: TrainedFolder) -> float:
    name = str(values.get("nonlin")).rpartition(".")[2]
    if name not in LEAKS:
        raise InputError(f"{trained.plans_file}: nonlin {name} is unknown")
    options = values.get("nonlin_kwargs") or {}
    return float(options.get("negative_slope", LEAKS[name]))


def _per_stage(value: Any, stages: int) -> JsonValue:  # noqa: ANN401
    """Return one number for each stage; nnU-Net may write one for all."""
    return [value] * stages if isinstance(value, int) else [int(each) for each in value]


def _triples(value: Any, stages: int) -> JsonValue:  # noqa: ANN401
    """Return three edges for each stage; nnU-Net may write one for all."""
    every = [value] * stages if isinstance(value, int) else value
    return [[each] * 3 if isinstance(each, int) else list(each) for each in every]


Model = TypeVar("Model", bound=BaseModel)


def _read(path: Path, kind: type[Model]) -> Model:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing; give the folder that nnU-Net v2's training wrote"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        raise InputError(_complaint(path, error)) from None


def validated(values: dict[str, Any], kind: type[Model], *, file: Path) -> Model:
    """Return a document made of a file's values.

    Raises:
        InputError: They do not make one; the message names file, member and rule.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(_complaint(file, error)) from None


def _complaint(path: Path, error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"]) or "the file"
    return f"{path} is not as nnU-Net v2 writes it: {where}: {detail['msg']}"
