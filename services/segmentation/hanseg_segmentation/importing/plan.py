"""What a trained nnU-Net v2 folder says about its network and its images.

Only what this version computes exactly as nnU-Net does is accepted; everything else is
refused by its name, because a model run differently from how it was trained is wrong
without looking so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar, cast

from pydantic import BaseModel, JsonValue, StrictBool, ValidationError

from hanseg_segmentation.importing.known_settings import (
    OF_ARCHITECTURE,
    OF_CONFIGURATION,
    OF_DATASET,
    OF_INTENSITIES,
    OF_PLANS,
    Part,
    require_known,
    require_known_names,
    shown,
)
from hanseg_segmentation.importing.trainers import NORMS as NORMS_OF_TRAINERS
from hanseg_segmentation.packages.package import (
    LPS,
    PATIENT_AXES,
    Axis,
    Channel,
    CtNormalisation,
    NetworkSpec,
    Normalisation,
    ZScore,
    is_orientation,
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

ARCHITECTURES = "dynamic_network_architectures."
"""The package whose networks this version computes."""

KINDS = {
    "PlainConvUNet": ("plain_conv_unet", "n_conv_per_stage", "nonlin_first"),
    "ResidualEncoderUNet": (
        "residual_encoder_unet",
        "n_blocks_per_stage",
        "stem_channels",
    ),
}
"""The networks known: our name, what its blocks are called, and its own argument."""

ARGUMENTS = (
    "n_stages",
    "features_per_stage",
    "conv_op",
    "kernel_sizes",
    "strides",
    "n_conv_per_stage_decoder",
    "conv_bias",
    "norm_op",
    "norm_op_kwargs",
    "dropout_op",
    "dropout_op_kwargs",
    "nonlin",
    "nonlin_kwargs",
    "deep_supervision",
)
"""Arguments of both networks; dropout and deep supervision are for training alone."""

NORM_ARGUMENTS = ("eps", "affine", "momentum", "track_running_stats")
NONLIN_ARGUMENTS = ("inplace", "negative_slope")

DEFAULT_THRESHOLD = 3.0
"""nnU-Net's ``ANISO_THRESHOLD``, unless the plan names another."""


class Reader(StrEnum):
    """nnU-Net's classes that read images, of those that read 3D medical ones.

    They decide which side of the patient the network's axes run towards.
    """

    SIMPLE_ITK = "SimpleITKIO"
    """The axes as they are stored, whatever they are."""

    NIBABEL = "NibabelIO"
    """The axes as they are stored, in the same order as SimpleITK's."""

    SIMPLE_ITK_REORIENT = "SimpleITKIOWithReorient"
    """Turned to RAS by ITK's ``DICOMOrient``."""

    NIBABEL_REORIENT = "NibabelIOWithReorient"
    """Turned to RAS, nibabel's closest canonical orientation."""

    @property
    def orientation(self) -> str | None:
        """What images are turned to; None if they stay as they are stored."""
        turns = self in (Reader.SIMPLE_ITK_REORIENT, Reader.NIBABEL_REORIENT)
        return "RAS" if turns else None


class Resampling(Part):
    """Arguments of nnU-Net's resampling, with the defaults of its function."""

    is_seg: StrictBool = False
    order: int = 3
    order_z: int = 0
    force_separate_z: StrictBool | None = False
    separate_z_anisotropy_threshold: float = DEFAULT_THRESHOLD

    @property
    def separate_above(self) -> float | None:
        """Ratio of spacings above which slices are apart: 0 always, None never."""
        if self.force_separate_z is None:
            return max(self.separate_z_anisotropy_threshold, 0.0)
        return 0.0 if self.force_separate_z else None


class Architecture(Part):
    """The network, as nnU-Net 2.4 and later write it."""

    without_effect: ClassVar[frozenset[str]] = OF_ARCHITECTURE
    network_class_name: str
    arch_kwargs: dict[str, Any]


class Configuration(Part):
    """One configuration of plans.json, inheritance resolved."""

    without_effect: ClassVar[frozenset[str]] = OF_CONFIGURATION
    patch_size: tuple[int, ...]
    spacing: tuple[float, ...]
    normalization_schemes: tuple[str, ...]
    use_mask_for_norm: tuple[StrictBool, ...]
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


class Intensities(Part):
    """What the training images' fingerprint says of a channel."""

    without_effect: ClassVar[frozenset[str]] = OF_INTENSITIES
    mean: float
    std: float
    percentile_00_5: float
    percentile_99_5: float


class Plans(Part):
    """plans.json."""

    without_effect: ClassVar[frozenset[str]] = OF_PLANS
    dataset_name: str
    image_reader_writer: str
    plans_name: str = "nnUNetPlans"
    transpose_forward: tuple[int, int, int]
    transpose_backward: tuple[int, int, int]
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


class Dataset(Part):
    """dataset.json."""

    without_effect: ClassVar[frozenset[str]] = OF_DATASET
    channel_names: dict[int, str] | None = None
    modality: dict[int, str] | None = None
    labels: dict[str, int | tuple[int, ...]]
    regions_class_order: tuple[int, ...] | None = None
    overwrite_image_reader_writer: str | None = None

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
        reader: What read its images.
    """

    folder: Path
    plans: Plans
    dataset: Dataset
    configuration: Configuration
    configuration_name: str
    reader: Reader

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
    reader = _reader(plans, dataset, folder)
    found = TrainedFolder(folder, plans, dataset, chosen, configuration, reader)
    _require_runnable(found)
    require_known(plans, file=found.plans_file)
    require_known(chosen, file=found.plans_file, within=f"{configuration}.")
    require_known(dataset, file=found.dataset_file)
    return found


def image_orientation(trained: TrainedFolder, *, given: str | None) -> str:
    """Return towards which sides of the patient the axes x, y and z of images run.

    Args:
        trained: The folder.
        given: How the training images were stored, if the user says it.

    Raises:
        InputError: It is no orientation, or the plan's reader turns images otherwise.
    """
    if given is not None and not is_orientation(given):
        raise InputError(
            f"--orientation must be one of L and R, of P and A, and of S and I, such as"
            f" LPS, got {given!r}"
        )
    turned = trained.reader.orientation
    if turned is None:
        return LPS if given is None else given
    if given not in (None, turned):
        raise InputError(
            f"{trained.plans_file}: {trained.reader} turns every image to {turned}, but"
            f" --orientation is {given}; leave it out"
        )
    return turned


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
    if "background" not in trained.dataset.labels:
        raise InputError(f"{file}: no label is called background; nnU-Net wants it, 0")
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
    if trained.dataset.labels.get("ignore", len(labels)) != len(labels):
        raise InputError(
            f"{file}: the label ignore is {trained.dataset.labels['ignore']}, but must"
            f" be the highest, {len(labels)}"
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
    kind, blocks, values = _architecture(trained)
    norm = NORMS_OF_TRAINERS.get(trainer) or _norm(values, trained)
    options = _norm_options(values, norm, trained)
    try:
        stages = int(values["n_stages"])
        config: dict[str, JsonValue] = {
            "in_channels": in_channels,
            "out_channels": out_channels,
            "features": _per_stage(values["features_per_stage"], stages),
            "kernels": _odd(_triples(values["kernel_sizes"], stages)),
            "strides": cast("JsonValue", _triples(values["strides"], stages)),
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
    """Return the spacing along the axes x, y, z that images have when they are read."""
    z, y, x = (
        trained.configuration.spacing[trained.plans.transpose_forward.index(axis)]
        for axis in range(3)
    )
    return x, y, z


def patient_axes(
    trained: TrainedFolder, axes: Sequence[int], *, orientation: str
) -> tuple[Axis, ...]:
    """Return which of the patient's axes the network's axes are."""
    forward = trained.plans.transpose_forward
    return tuple(PATIENT_AXES[orientation[2 - forward[axis]]] for axis in axes)


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
    forward, backward = (
        trained.plans.transpose_forward,
        trained.plans.transpose_backward,
    )
    if [forward.index(axis) for axis in range(3)] != list(backward):
        raise InputError(
            f"{file}: transpose_backward is {backward}, which does not undo"
            f" transpose_forward, {forward}"
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
        if options.is_seg or (options.order, options.order_z) != (order, 0):
            raise InputError(
                f"{trained.plans_file}: {name} with order {options.order},"
                f" order_z {options.order_z} and is_seg {options.is_seg}; this version"
                f" knows order {order}, order_z 0 and is_seg false"
            )


def _reader(plans: Plans, dataset: Dataset, folder: Path) -> Reader:
    name = plans.image_reader_writer
    overwritten = dataset.overwrite_image_reader_writer
    if overwritten not in (None, "None", name):
        raise InputError(
            f"{folder / DATASET_FILE}: overwrite_image_reader_writer is {overwritten},"
            f" but {PLANS_FILE} has image_reader_writer {name}: which of them read the"
            " training images?"
        )
    try:
        return Reader(name)
    except ValueError:
        raise InputError(
            f"{folder / PLANS_FILE}: image_reader_writer {name} is unknown to this"
            " version, and decides which side is left; known for 3D images:"
            f" {', '.join(Reader)}"
        ) from None


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


def _architecture(trained: TrainedFolder) -> tuple[str, str, Mapping[str, Any]]:
    """Return the kind of network, its blocks' name, and its arguments.

    Old plans are rewritten as new.
    """
    chosen, file = trained.configuration, trained.plans_file
    if chosen.architecture is not None:
        name = chosen.architecture.network_class_name
        values: Mapping[str, Any] = chosen.architecture.arch_kwargs
    else:
        name = ARCHITECTURES + (chosen.UNet_class_name or "none")
        values = _old_arguments(chosen)
    short = name.rpartition(".")[2]
    kind = KINDS.get(short)
    if kind is None or not name.startswith(ARCHITECTURES):
        raise InputError(
            f"{file}: architecture {short if kind is None else name} is unknown to"
            f" this version, which knows {', '.join(KINDS)} of {ARCHITECTURES[:-1]},"
            " and STU-Net"
        )
    ours, blocks, own = kind
    if chosen.architecture is not None:
        known = (*ARGUMENTS, blocks, own)
        require_known_names(values, known, file=file, within="arch_kwargs")
    if values.get("nonlin_first"):
        raise InputError(f"{file}: nonlin_first is unknown to this version")
    _torch_name(values, "conv_op", ("Conv3d",), trained)
    return ours, blocks, values


def _torch_name(
    values: Mapping[str, Any], key: str, known: Collection[str], trained: TrainedFolder
) -> str:
    """Return which of PyTorch's classes an argument names.

    Raises:
        InputError: It names none of the known ones.
    """
    module, _, name = str(values.get(key)).rpartition(".")
    if name not in known or not (
        module == "torch.nn" or module.startswith("torch.nn.")
    ):
        raise InputError(
            f"{trained.plans_file}: {key} {shown(values.get(key))} is unknown to this"
            f" version, which knows torch.nn's {', '.join(known)}"
        )
    return name


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
        "conv_op": "torch.nn.Conv3d",
        "norm_op": "torch.nn.InstanceNorm3d",
        "norm_op_kwargs": {"eps": OLD_EPSILON, "affine": True},
        "nonlin": "torch.nn.LeakyReLU",
    }


def _norm(values: Mapping[str, Any], trained: TrainedFolder) -> str:
    return NORMS[_torch_name(values, "norm_op", NORMS, trained)]


def _norm_options(
    values: Mapping[str, Any], norm: str, trained: TrainedFolder
) -> Mapping[str, Any]:
    """Return a normalisation's arguments.

    Raises:
        InputError: One is not known, or its statistics are not those of its kind:
            of the image for ``instance``, of the training for ``batch``.
    """
    options: Mapping[str, Any] = values.get("norm_op_kwargs") or {}
    file = trained.plans_file
    require_known_names(options, NORM_ARGUMENTS, file=file, within="norm_op_kwargs")
    tracked = options.get("track_running_stats", norm == "batch")
    if tracked is not (norm == "batch"):
        raise InputError(
            f"{file}: norm_op_kwargs.track_running_stats {shown(tracked)} of {norm}"
            " normalisation is unknown to this version"
        )
    return options


def _leak(values: Mapping[str, Any], trained: TrainedFolder) -> float:
    name = _torch_name(values, "nonlin", LEAKS, trained)
    options: Mapping[str, Any] = values.get("nonlin_kwargs") or {}
    known = NONLIN_ARGUMENTS if name == "LeakyReLU" else NONLIN_ARGUMENTS[:1]
    file = trained.plans_file
    require_known_names(options, known, file=file, within="nonlin_kwargs")
    return float(options.get("negative_slope", LEAKS[name]))


def _odd(triples: list[list[int]]) -> JsonValue:
    """Return kernels once their edges are odd: even ones have no middle."""
    if even := [each for triple in triples for each in triple if each % 2 == 0]:
        raise ValueError(f"kernel_sizes: edge {even[0]} is even")
    return cast("JsonValue", triples)


def _per_stage(value: Any, stages: int) -> JsonValue:  # noqa: ANN401
    """Return one number for each stage; nnU-Net may write one for all."""
    return [value] * stages if isinstance(value, int) else [int(each) for each in value]


def _triples(value: Any, stages: int) -> list[list[int]]:  # noqa: ANN401
    """Return three edges for each stage; nnU-Net may write one for all."""
    every = [value] * stages if isinstance(value, int) else value
    return [
        [each] * 3 if isinstance(each, int) else [int(edge) for edge in each]
        for each in every
    ]


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
