"""A model as it is kept on disk: weights, and the plan of how they are to be used.

A package is a folder: `model.json`, which is a `ModelPackage`, and the weights as
safetensors, one file for each fold. Nothing in it is code. `weights` reads and writes
the weights; `installed` looks through folders of models. Nothing here needs torch.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import (
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hanseg_segmentation.packages.names import Name
from hanseg_shared.document import Document
from hanseg_shared.documents import ModelSummary
from hanseg_shared.errors import ModelError, OptionError
from hanseg_shared.faults import first_fault, place_of
from hanseg_shared.organs import BACKGROUND, Evidence, organ, pairs_that_share

if TYPE_CHECKING:
    import numpy as np

PACKAGE_FILE = "model.json"
"""The file that makes a folder a model package."""

WEIGHTS_FILE = "weights.safetensors"
"""What `write_package` calls the weights."""

LARGEST_PACKAGE_BYTES = 4 * 2**20
"""A `model.json` above this is refused unread."""

FINEST_MM, COARSEST_MM = 0.1, 20.0
"""Spacings of a network's grid, at the ends of what images of a head have: at 0.1 mm a
head has 10 000 times the voxels that it has at 2 mm."""

MOST_PATCH_VOXELS = 2**25
"""Voxels of a tile. nnU-Net plans about 2 million for a GPU of 8 GB, 16 times fewer."""

MOST_LOGITS = 2**31
"""Output channels times voxels of a tile: 8 GiB in float32."""

LARGEST_SETTING = 8192
"""No number in a network's settings, such as features or blocks, is above it."""

MOST_SETTINGS = 64
"""No list in a network's settings, such as one number a stage, is longer."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Ratio = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Edge = Annotated[int, Field(ge=4, le=1024)]
Step = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
ImageChannel = Literal["ct", "mr", "field_of_view"]
Channel = Literal[
    ImageChannel,
    "bone_window",
    "soft_tissue_window",
    "brain_window",
    "stroke_window",
]
Axis = Literal["x", "y", "z"]

PATIENT_AXES: dict[str, Axis] = dict(
    zip("LRPASI", ("x", "x", "y", "y", "z", "z"), strict=True)
)
"""The patient's axis that runs towards each side: left and right, posterior and
anterior, superior and inferior."""

LPS = "LPS"
"""The orientation of DICOM's patient axes: x to the left, y to the back, z up."""


def is_orientation(sides: str) -> bool:
    """Whether a word names one side of each of the patient's axes."""
    return sorted(PATIENT_AXES.get(side, "") for side in sides) == ["x", "y", "z"]


PATIENT_FRAME_MULTIPLE = 8
"""Patches of the patient's frame have edges that are multiples of this, in voxels."""


class CtNormalisation(Document):
    """How HU become network input: clip, subtract the mean, divide by the deviation.

    Attributes:
        low_hu: HU below this count as this.
        high_hu: HU above this count as this.
        mean_hu: What becomes 0.
        std_hu: What becomes 1 above the mean.
    """

    low_hu: Finite = -1000.0
    high_hu: Finite = 1500.0
    mean_hu: Finite = -100.0
    std_hu: Positive = 400.0

    @model_validator(mode="after")
    def _require_order(self) -> Self:
        if not self.low_hu < self.high_hu:
            raise ValueError(
                f"low_hu must be below high_hu, got {self.low_hu} and {self.high_hu}"
            )
        return self


class MrNormalisation(Document):
    """How MR values become network input: z-score over the tissue inside the field.

    Attributes:
        tissue_above_hu: Voxels whose CT is above this count as tissue.
        clip_sd: Values further from the mean than this many deviations are clipped.
    """

    tissue_above_hu: Finite = -500.0
    clip_sd: Positive = 4.0


class ZScore(Document):
    """How MR values become network input as in nnU-Net: a z-score, nothing clipped.

    Attributes:
        scope: Over what mean and deviation are taken. ``image`` is every voxel left
            by the crop to what is not 0; ``nonzero`` is what that crop's mask holds,
            and voxels outside it stay 0 (nnU-Net's ``use_mask_for_norm``);
            ``field_of_view`` is where the MR has data, and voxels outside it are 0.
    """

    scope: Literal["image", "nonzero", "field_of_view"]


class Normalisation(Document):
    """How both images become network input; the same in training and inference."""

    ct: CtNormalisation = CtNormalisation()
    mr: MrNormalisation | ZScore = MrNormalisation()


class NetworkSpec(Document):
    """Which network the weights belong to.

    Attributes:
        kind: The network's name in `network.build.KINDS`.
        config: What that network's frozen configuration takes, by name.
    """

    kind: str
    config: dict[str, JsonValue] = Field(default_factory=dict)

    @field_validator("config")
    @classmethod
    def _require_bounded(cls, config: dict[str, JsonValue]) -> dict[str, JsonValue]:
        for name, value in config.items():
            _require_bounded_setting(name, value)
        return config


def _require_bounded_setting(name: str, value: JsonValue) -> None:
    """Raise `ValueError` for a network that no machine could build."""
    if isinstance(value, list | dict):
        if len(value) > MOST_SETTINGS:
            raise ValueError(
                f"{name} has {len(value)} entries; networks have up to {MOST_SETTINGS}"
            )
        for each in value.values() if isinstance(value, dict) else value:
            _require_bounded_setting(name, each)
    elif isinstance(value, int | float) and not abs(value) <= LARGEST_SETTING:
        raise ValueError(f"{name} is {value}; networks have up to {LARGEST_SETTING}")


class FoldWeights(Document):
    """The weights of one more network of the same kind, trained on other cases.

    Attributes:
        weights: File name, beside `model.json`.
        sha256: SHA-256 of that file.
    """

    weights: FileName
    sha256: Sha256


class SecondStage(Document):
    """A finer model, itself a package, that segments some of the organs again.

    Attributes:
        folder: Sub-folder of this package that holds it.
        sha256: SHA-256 of its weights.
        organs: Names of the organs that it segments.
    """

    folder: FileName
    sha256: Sha256
    organs: Annotated[tuple[str, ...], Field(min_length=1)]


class Localiser(Document):
    """A coarse model, itself a package, that says where the organs can be.

    Attributes:
        folder: Sub-folder of this package that holds it.
        sha256: SHA-256 of its weights.
    """

    folder: FileName
    sha256: Sha256


class ModelPackage(Document):
    """The content of `model.json`.

    Attributes:
        format: Version of this file's layout.
        name: What a job calls the model.
        version: Version of the weights.
        licence: SPDX expression of the weights' licence.
        description: What it is, in a sentence or two.
        channels: The network's input channels, in its order. Windows are parts of
            the CT's range, 0 to 1, and belong to the frame ``patient``.
        frame: ``patient``: the network works on an LPS-aligned grid, images shrunk
            by a tent. ``image``: as nnU-Net does, on the image's own axes, flipped
            and permuted once to the nearest LPS axes, cropped to what is not 0 and
            resampled by cubic splines.
        spacing_mm: Spacing (x, y, z) of the grid the network works on; in the frame
            ``image`` along the reoriented image's axes, whatever `transpose` is.
        orientation: Towards which side of the patient the axes x, y and z of the
            reoriented image run, in the frame ``image``: ``LPS`` is DICOM's, ``RAS``
            what nnU-Net's reorienting readers make of every image.
        transpose: Which of the axes (z, y, x) = (0, 1, 2) each of the network's
            axes is: nnU-Net's ``transpose_forward``.
        separate_above: An image is resampled slice by slice where its spacings, or
            the network's, are further apart than this ratio: nnU-Net's
            ``separate_z_anisotropy_threshold``; None for never.
        separate_above_back: The same on the logits' way back.
        patch: Voxels of one tile in the network's order of axes, which is
            (z, y, x) unless `transpose` says otherwise.
        step: Distance between tiles as a part of the patch.
        merged_sides: Whether the two organs of a pair may share an output channel.
            Their sides then follow from where they lie; see `inference.part_sides`.
        labels: Output channel of each organ the model knows; channel 0 is the
            background, and channels without an organ count as background.
        normalisation: How images become network input.
        network: Which network the weights belong to.
        evidence: The best kind of contours that each organ in `labels` was trained on.
        weights: File name of the weights, beside `model.json`; of the first fold's
            where there are several.
        sha256: SHA-256 of that file.
        further_folds: The weights of the other folds.
        combine: How folds and mirrored passes become one answer: the mean of their
            logits (nnU-Net's predictor), the mean of their softmax, or the majority.
        mirror_axes: The patient's axes along which the network was trained to be
            mirrored, and may be in test-time augmentation; x is left-right.
        second_stage: A finer model for some of the organs; None without.
        localiser: A coarse model of the CT alone that was trained with it and says
            where organs can be; without, the shipped model does where that pays.
        provenance: Where the weights come from: data, commit, date, recipe.
        figures: Measured figures by name, such as ``validation_dice`` by organ.
    """

    format: Literal[1] = 1
    name: Name
    version: Name
    licence: str
    description: str
    channels: Annotated[tuple[Channel, ...], Field(min_length=1, max_length=7)] = (
        "ct",
        "mr",
        "field_of_view",
    )
    frame: Literal["patient", "image"] = "patient"
    spacing_mm: tuple[Positive, Positive, Positive]
    orientation: str = LPS
    transpose: tuple[int, int, int] = (0, 1, 2)
    separate_above: Ratio | None = 3.0
    separate_above_back: Ratio | None = 3.0
    patch: tuple[Edge, Edge, Edge]
    step: Step = 0.5
    merged_sides: bool = False
    labels: dict[str, Annotated[int, Field(ge=1, le=254)]]
    normalisation: Normalisation = Normalisation()
    network: NetworkSpec
    evidence: dict[str, Evidence]
    weights: FileName = WEIGHTS_FILE
    sha256: Sha256
    further_folds: tuple[FoldWeights, ...] = ()
    combine: Literal["logits", "softmax", "vote"] = "softmax"
    mirror_axes: tuple[Axis, ...] = ()
    second_stage: SecondStage | None = None
    localiser: Localiser | None = None
    provenance: dict[str, str] = Field(default_factory=dict)
    figures: dict[str, dict[str, float]] = Field(default_factory=dict)

    @field_validator("channels", "mirror_axes")
    @classmethod
    def _require_unique(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"each may be named once, got {', '.join(values)}")
        return values

    @field_validator("transpose")
    @classmethod
    def _require_permutation(cls, axes: tuple[int, int, int]) -> tuple[int, int, int]:
        if sorted(axes) != [0, 1, 2]:
            raise ValueError(f"must be an order of the axes 0, 1 and 2, got {axes}")
        return axes

    @field_validator("spacing_mm")
    @classmethod
    def _require_spacing_of_a_head(
        cls, spacing: tuple[float, float, float]
    ) -> tuple[float, float, float]:
        if not all(FINEST_MM <= each <= COARSEST_MM for each in spacing):
            raise ValueError(
                f"must be {FINEST_MM} to {COARSEST_MM} mm, got {spacing}: no image of"
                " a head fits into memory on such a grid"
            )
        return spacing

    @field_validator("patch")
    @classmethod
    def _require_patch_that_fits(
        cls, patch: tuple[int, int, int]
    ) -> tuple[int, int, int]:
        if math.prod(patch) > MOST_PATCH_VOXELS:
            raise ValueError(
                f"has {math.prod(patch)} voxels, {patch}; at most"
                f" {MOST_PATCH_VOXELS} fit into memory"
            )
        return patch

    @field_validator("orientation")
    @classmethod
    def _require_one_side_of_each_axis(cls, sides: str) -> str:
        if not is_orientation(sides):
            raise ValueError(
                f"must be one of L and R, of P and A, and of S and I, got {sides!r}"
            )
        return sides

    @field_validator("labels")
    @classmethod
    def _require_known_organs(
        cls, labels: dict[str, int], info: ValidationInfo
    ) -> dict[str, int]:
        if not labels:
            raise ValueError("a model must know at least one organ")
        try:
            for name in labels:
                organ(name)
        except OptionError as error:
            raise ValueError(error.message) from error
        merged = len(pairs_that_share(labels)) if info.data.get("merged_sides") else 0
        if len(set(labels.values())) + merged != len(labels):
            raise ValueError("two organs share an output channel")
        return labels

    @model_validator(mode="after")
    def _require_logits_that_fit(self) -> Self:
        logits = (max(self.labels.values()) + 1) * math.prod(self.patch)
        if logits > MOST_LOGITS:
            raise ValueError(
                f"{max(self.labels.values()) + 1} output channels of a patch"
                f" {self.patch} are {logits} values; at most {MOST_LOGITS} fit into"
                " memory"
            )
        return self

    @model_validator(mode="after")
    def _require_evidence_for_each(self) -> Self:
        if set(self.evidence) != set(self.labels):
            odd = sorted(set(self.evidence) ^ set(self.labels))
            raise ValueError(f"labels and evidence must name the same organs: {odd}")
        return self

    @model_validator(mode="after")
    def _require_organs_of_second_stage(self) -> Self:
        stage = self.second_stage
        if stage is not None and (odd := set(stage.organs) - set(self.labels)):
            raise ValueError(
                f"the second stage segments organs that have no label: {sorted(odd)}"
            )
        return self

    @model_validator(mode="after")
    def _require_fit_to_frame(self) -> Self:
        if self.frame == "image":
            if odd := set(self.channels) - set(get_args(ImageChannel)):
                raise ValueError(f"channels {sorted(odd)} belong to frame 'patient'")
            return self
        if self.transpose != (0, 1, 2) or self.orientation != LPS:
            raise ValueError("turning axes belongs to the frame 'image'")
        if any(edge % PATIENT_FRAME_MULTIPLE for edge in self.patch):
            raise ValueError(
                f"patch edges must be a multiple of {PATIENT_FRAME_MULTIPLE} in the"
                f" frame 'patient', got {self.patch}"
            )
        return self

    @model_validator(mode="after")
    def _require_one_file_a_fold(self) -> Self:
        names = [each.weights for each in self.folds]
        if len(set(names)) != len(names):
            raise ValueError(f"folds share a file of weights: {', '.join(names)}")
        return self

    @property
    def folds(self) -> tuple[FoldWeights, ...]:
        """The weights of every fold, the first one's included."""
        first = FoldWeights(weights=self.weights, sha256=self.sha256)
        return (first, *self.further_folds)

    @property
    def network_axes(self) -> tuple[Axis, Axis, Axis]:
        """The patient's axis along each of the network's."""
        first, second, third = (
            PATIENT_AXES[self.orientation[2 - axis]] for axis in self.transpose
        )
        return first, second, third

    @property
    def summary(self) -> ModelSummary:
        """What a job's document says about the model."""
        return ModelSummary(name=self.name, version=self.version, sha256=self.sha256)

    @property
    def merged_pairs(self) -> dict[int, int]:
        """Label of the right organ by that of the left, where both are one channel."""
        return pairs_that_share(self.labels)

    def label_of_channel(self, channels: int) -> np.ndarray[tuple[int], np.dtype]:
        """Return each output channel's organ label, uint8 of shape ``(channels,)``.

        A pair that shares a channel has the left organ's label there.

        Raises:
            ModelError: An organ's channel is beyond the network's `channels`.
        """
        import numpy as np

        highest = max(self.labels.values())
        if highest >= channels:
            raise ModelError(
                f"model {self.name} names output channel {highest}, but its network"
                f" has {channels}; the package was put together wrongly"
            )
        table = np.full(channels, BACKGROUND, dtype=np.uint8)
        pairs = self.merged_pairs
        for name, channel in self.labels.items():
            if organ(name).label not in pairs.values():
                table[channel] = organ(name).label
        return table


def read_package(folder: Path) -> ModelPackage:
    """Return a folder's `model.json`; the weights are not looked at.

    Raises:
        ModelError: The file is missing, unreadable or not a valid package.
    """
    path = folder / PACKAGE_FILE
    try:
        if path.stat().st_size > LARGEST_PACKAGE_BYTES:
            raise ModelError(f"{path} has more than {LARGEST_PACKAGE_BYTES} bytes")
        return ModelPackage.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"{path} is missing; a model package needs it: install the model again"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ModelError(f"{path} {_describe_error(error)}") from None


def _describe_error(error: ValidationError) -> str:
    """Return what makes a `model.json` no package of this version, as one line."""
    detail = error.errors(include_url=False)[0]
    if detail["loc"] == ("format",):
        return (
            f"is no valid model package: format {detail['input']!r} is not known, this"
            " version reads 1; update the service, or install a model made for it"
        )
    if detail["type"] == "extra_forbidden":
        return (
            f"is no valid model package: {place_of(detail)} is unknown to this "
            "version; update the service, or install a model made for it"
        )
    return f"is no valid model package: {first_fault(error)}"
