"""A trained folder's channels, labels, axes and normalisation, in a package's terms."""

from __future__ import annotations

from collections.abc import Sequence

from hanseg_segmentation.importing.trained_folder import (
    DATASET_FILE,
    TrainedFolder,
    validate,
)
from hanseg_segmentation.packages.package import (
    LPS,
    PATIENT_AXES,
    Axis,
    Channel,
    CtNormalisation,
    Normalisation,
    ZScore,
    is_orientation,
)
from hanseg_shared.errors import InputError

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
    channels = tuple(given) or tuple(_find_channel(name, trained) for name in names)
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


def _find_channel(name: str, trained: TrainedFolder) -> Channel:
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
    return validate(values, CtNormalisation, file=trained.plans_file)
