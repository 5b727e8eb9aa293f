"""A folder that nnU-Net v2's training left behind: its plans.json and dataset.json.

Only what this version computes exactly as nnU-Net does is accepted; everything else is
refused by its name, because a model that is run differently from how it was trained
gives wrong results that look right.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, StrictBool, ValidationError

from hanseg_segmentation.importing.known_settings import (
    OF_ARCHITECTURE,
    OF_CONFIGURATION,
    OF_DATASET,
    OF_INTENSITIES,
    OF_PLANS,
    Part,
    require_known,
)
from hanseg_shared.errors import InputError
from hanseg_shared.faults import first_fault

PLANS_FILE, DATASET_FILE = "plans.json", "dataset.json"

RESAMPLING = "resample_data_or_seg_to_shape"
"""The resampling that this version computes."""

PREPROCESSOR = "DefaultPreprocessor"

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


class ResamplingRule(Part):
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
    resampling_fn_data_kwargs: ResamplingRule
    resampling_fn_probabilities: str
    resampling_fn_probabilities_kwargs: ResamplingRule
    previous_stage: str | None = None
    architecture: Architecture | None = None
    UNet_class_name: str | None = None
    UNet_base_num_features: int = 32
    unet_max_num_features: int = 320
    n_conv_per_stage_encoder: tuple[int, ...] = ()
    n_conv_per_stage_decoder: tuple[int, ...] = ()
    pool_op_kernel_sizes: tuple[tuple[int, ...], ...] = ()
    conv_kernel_sizes: tuple[tuple[int, ...], ...] = ()


class IntensityStatistics(Part):
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
    foreground_intensity_properties_per_channel: (
        dict[str, IntensityStatistics] | None
    ) = None
    foreground_intensity_properties_by_modality: (
        dict[str, IntensityStatistics] | None
    ) = None

    @property
    def intensities(self) -> dict[str, IntensityStatistics]:
        """The fingerprint by channel number, under its new or its old name."""
        return (
            self.foreground_intensity_properties_per_channel
            or self.foreground_intensity_properties_by_modality
            or {}
        )


class NnunetDataset(Part):
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
    dataset: NnunetDataset
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
    dataset = _read(folder / DATASET_FILE, NnunetDataset)
    values = _resolve_inheritance(plans, configuration, file=folder / PLANS_FILE)
    chosen = validate(values, Configuration, file=folder / PLANS_FILE)
    reader = _find_reader(plans, dataset, folder)
    found = TrainedFolder(folder, plans, dataset, chosen, configuration, reader)
    _require_runnable(found)
    require_known(plans, file=found.plans_file)
    require_known(chosen, file=found.plans_file, within=f"{configuration}.")
    require_known(dataset, file=found.dataset_file)
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


def _find_reader(plans: Plans, dataset: NnunetDataset, folder: Path) -> Reader:
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


def _resolve_inheritance(plans: Plans, name: str, *, file: Path) -> dict[str, Any]:
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
        raise InputError(
            f"{path} is not as nnU-Net v2 writes it: {first_fault(error)}"
        ) from None


def validate(values: dict[str, Any], kind: type[Model], *, file: Path) -> Model:
    """Return a document made of a file's values.

    Raises:
        InputError: They do not make one; the message names file, member and rule.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(
            f"{file} is not as nnU-Net v2 writes it: {first_fault(error)}"
        ) from None
