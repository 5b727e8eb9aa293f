"""A model as it is kept on disk: weights, and the plan of how they are to be used.

A package is a folder: `model.json`, which is a `ModelPackage`, and the weights as
safetensors, one file for each fold. Nothing in it is code, and nothing is read before
its SHA-256 is compared with the one in `model.json`. Listing packages needs no torch.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, get_args

from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from hanseg_shared.documents import Document, ModelSummary
from hanseg_shared.errors import ModelError, OptionError
from hanseg_shared.organs import BACKGROUND, Evidence, organ

if TYPE_CHECKING:
    import numpy as np
    import torch

logger = logging.getLogger(__name__)

PACKAGE_FILE = "model.json"
"""The file that makes a folder a model package."""

WEIGHTS_FILE = "weights.safetensors"
"""What `write_package` calls the weights."""

SECOND_STAGE_FOLDER = "second_stage"
"""What `combine_packages` calls the folder of the finer package."""

MOST_ORGANS_NAMED = 6
"""A description counts organs that are more than this."""

LARGEST_PACKAGE_BYTES = 4 * 2**20
"""A `model.json` above this is refused unread."""

RENAME = 'give it a "name" of its own in its model.json, or remove it'
"""The remedy for a name that is not a model's own."""

LARGEST_WEIGHTS_BYTES = 8 * 2**30
"""Weights files above this are refused unread."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME_PATTERN)]
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
    def _ordered(self) -> Self:
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
            and what lies outside stays 0 (nnU-Net's ``use_mask_for_norm``);
            ``field_of_view`` is where the MR has data, and what lies outside is 0.
    """

    scope: Literal["image", "nonzero", "field_of_view"]


class Normalisation(Document):
    """How both images become network input; the same in training and inference."""

    ct: CtNormalisation = CtNormalisation()
    mr: MrNormalisation | ZScore = MrNormalisation()


class NetworkSpec(Document):
    """Which network the weights belong to.

    Attributes:
        kind: The network's name in `inference.networks.KINDS`.
        config: What that network's frozen configuration takes, by name.
    """

    kind: str
    config: dict[str, JsonValue] = Field(default_factory=dict)


class FoldWeights(Document):
    """The weights of one more network of the same kind, trained on other cases.

    Attributes:
        weights: File name, beside `model.json`.
        sha256: SHA-256 of that file.
    """

    weights: FileName
    sha256: Sha256


class SecondStage(Document):
    """A finer model, a package of its own, that draws some of the organs anew.

    Attributes:
        folder: Sub-folder of this package that holds it.
        sha256: SHA-256 of its weights.
        organs: Names of the organs that it draws.
    """

    folder: FileName
    sha256: Sha256
    organs: Annotated[tuple[str, ...], Field(min_length=1)]


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
        labels: Output channel of each organ the model knows; channel 0 is the
            background, and channels without an organ count as background.
        normalisation: How images become network input.
        network: Which network the weights belong to.
        evidence: The best kind of data that taught each organ in `labels`.
        weights: File name of the weights, beside `model.json`; of the first fold's
            where there are several.
        sha256: SHA-256 of that file.
        further_folds: The weights of the other folds.
        combine: How folds and mirrored passes become one answer: the mean of their
            logits (nnU-Net's predictor), the mean of their softmax, or the majority.
        mirror_axes: The patient's axes along which the network was trained to be
            mirrored, and may be in test-time augmentation; x is left-right.
        second_stage: A finer model for some of the organs; None without.
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
    provenance: dict[str, str] = Field(default_factory=dict)
    figures: dict[str, dict[str, float]] = Field(default_factory=dict)

    @field_validator("channels", "mirror_axes")
    @classmethod
    def _unique(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(values)) != len(values):
            raise ValueError(f"each may be named once, got {', '.join(values)}")
        return values

    @field_validator("transpose")
    @classmethod
    def _permutation(cls, axes: tuple[int, int, int]) -> tuple[int, int, int]:
        if sorted(axes) != [0, 1, 2]:
            raise ValueError(f"must be an order of the axes 0, 1 and 2, got {axes}")
        return axes

    @field_validator("orientation")
    @classmethod
    def _one_side_of_each_axis(cls, sides: str) -> str:
        if not is_orientation(sides):
            raise ValueError(
                f"must be one of L and R, of P and A, and of S and I, got {sides!r}"
            )
        return sides

    @field_validator("labels")
    @classmethod
    def _known_organs(cls, labels: dict[str, int]) -> dict[str, int]:
        if not labels:
            raise ValueError("a model must know at least one organ")
        try:
            for name in labels:
                organ(name)
        except OptionError as error:
            raise ValueError(error.message) from error
        if len(set(labels.values())) != len(labels):
            raise ValueError("two organs share an output channel")
        return labels

    @model_validator(mode="after")
    def _evidence_for_each(self) -> Self:
        if set(self.evidence) != set(self.labels):
            odd = sorted(set(self.evidence) ^ set(self.labels))
            raise ValueError(f"labels and evidence must name the same organs: {odd}")
        return self

    @model_validator(mode="after")
    def _second_stage_draws_its_organs(self) -> Self:
        stage = self.second_stage
        if stage is not None and (odd := set(stage.organs) - set(self.labels)):
            raise ValueError(f"the second stage draws what is no label: {sorted(odd)}")
        return self

    @model_validator(mode="after")
    def _fits_the_frame(self) -> Self:
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
    def _one_file_a_fold(self) -> Self:
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

    def label_of_channel(self, channels: int) -> np.ndarray[tuple[int], np.dtype]:
        """Return each output channel's organ label, uint8 of shape ``(channels,)``.

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
        for name, channel in self.labels.items():
            table[channel] = organ(name).label
        return table


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model package and the folder it lies in."""

    folder: Path
    package: ModelPackage


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A folder that should hold a model, and why the service does not offer it.

    Attributes:
        folder: Where it is.
        name: What its package calls it; the folder's name if that cannot be read.
        reason: What is wrong and what to do, without the folder's path.
    """

    folder: Path
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Installed:
    """What is found in folders of models.

    Attributes:
        models: Those that can be used, sorted by name.
        left_out: Those that cannot, sorted by folder.
    """

    models: tuple[InstalledModel, ...]
    left_out: tuple[LeftOut, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models that can be used."""
        return tuple(each.package.name for each in self.models)

    def reason_against(self, name: str) -> str | None:
        """Return why a model of that name is left out; None if none of it is."""
        said = [
            f"{each.folder.name}: {each.reason}"
            for each in self.left_out
            if name in (each.name, each.folder.name)
        ]
        return "; ".join(said) or None


DEFAULT_MODEL = "default"
"""The model that a job gets when it names none, and that a worker loads first."""


def shipped_models() -> Path:
    """Return the folder of the models that ship with the package."""
    return Path(__file__).parents[1] / "models"


def model_folders(further: Path | None) -> tuple[Path, ...]:
    """Return where models are looked for: the shipped ones, and a site's own."""
    return (shipped_models(),) if further is None else (shipped_models(), further)


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
        raise ModelError(f"{path} {_complaint(error)}") from None


def installed_models(folders: Iterable[Path], *, whole: bool = False) -> Installed:
    """Return every model in the sub-folders of `folders`, and those left out.

    A package that is damaged, incomplete or of a newer version is left out. So is one
    with the name of a model that ships, and every one of several that share a name:
    which of them a job means is not to be guessed.

    Args:
        folders: Folders of models; that of the shipped ones is known as such.
        whole: Whether weights are compared with their SHA-256 as well, which is done
            once for each state of a file.
    """
    models: list[InstalledModel] = []
    left_out: list[LeftOut] = []
    reserved: set[str] = set()
    places, unreadable = _package_folders(folders)
    left_out += unreadable
    for folder in places:
        name = folder.name
        try:
            package = read_package(folder)
            name = package.name
            models.append(InstalledModel(folder, package))
            _require_complete(folder, package, whole=whole)
        except ModelError as error:
            left_out.append(LeftOut(folder, name, _within(folder, error.message)))
        if folder.parent == shipped_models():
            reserved.add(name)
    broken = {each.folder for each in left_out}
    sharing = _sharing_names(models, reserved)
    left_out += [each for each in sharing if each.folder not in broken]
    broken |= {each.folder for each in sharing}
    usable = [each for each in models if each.folder not in broken]
    return Installed(
        tuple(sorted(usable, key=lambda each: each.package.name)),
        tuple(sorted(left_out, key=lambda each: each.folder)),
    )


def offered_models(folders: Iterable[Path]) -> Installed:
    """Return what a service offers and what it leaves out, and log the latter once."""
    found = installed_models(folders, whole=True)
    for each in found.left_out:
        _log_left_out(each.folder, each.reason)
    return found


def find_models(folders: Iterable[Path]) -> tuple[InstalledModel, ...]:
    """Return the usable models in the sub-folders of `folders`, sorted by name.

    What is left out is logged; see `installed_models`. A folder that does not exist
    holds none.
    """
    found = installed_models(folders)
    for each in found.left_out:
        _log_left_out(each.folder, each.reason)
    return found.models


def find_model(name: str, folders: Iterable[Path]) -> InstalledModel:
    """Return the installed model of that name.

    Raises:
        ModelError: There is none, or its package is left out.
    """
    found = installed_models(folders)
    for model in found.models:
        if model.package.name == name:
            return model
    if reason := found.reason_against(name):
        raise ModelError(f"model {name} cannot be used: {reason}")
    known = ", ".join(found.names) or "none"
    raise ModelError(f"no model is called {name!r}; installed: {known}")


def require_name(text: str, *, what: str) -> None:
    """Raise `OptionError` unless a text can be a model's name or version."""
    if not re.fullmatch(NAME_PATTERN.strip("^$"), text):
        raise OptionError(
            f"{text!r} cannot be a model's {what}; use up to 64 letters, digits, '.',"
            " '_' and '-', beginning with a letter or digit"
        )


def require_free_name(name: str, folders: Iterable[Path]) -> None:
    """Raise `OptionError` if a model of that name is in `folders`, left out or not."""
    require_name(name, what="name")
    found = installed_models(folders)
    taken = {*found.names, *(each.name for each in found.left_out)}
    if name in taken:
        raise OptionError(
            f"a model called {name} is installed already; give the new one its own"
            " with --name"
        )


def folder_of(name: str, folders: Iterable[Path]) -> Path:
    """Return where a model lies, be it left out or not.

    Args:
        name: The model's; or, where several share it, the name of a folder.
        folders: Folders of models.

    Raises:
        ModelError: There is none, or there are several.
    """
    found = installed_models(folders)
    every = [(each.package.name, each.folder) for each in found.models]
    every += [(each.name, each.folder) for each in found.left_out]
    by_name = [folder for known, folder in every if known == name]
    by_folder = [folder for _, folder in every if folder.name == name]
    if len(by_name) > 1 and len(by_folder) != 1:
        names = ", ".join(folder.name for folder in by_name)
        raise ModelError(
            f"{len(by_name)} models are called {name}; name one by its folder: {names}"
        )
    chosen = by_name if len(by_name) == 1 else by_folder
    if not chosen:
        known = ", ".join(sorted(known for known, _ in every)) or "none"
        raise ModelError(f"no model is called {name!r}; installed: {known}")
    return chosen[0]


def _sharing_names(
    models: Sequence[InstalledModel], reserved: Collection[str]
) -> list[LeftOut]:
    """Return the models whose name a shipped one has, or several have."""
    ours = shipped_models()
    by_name: dict[str, list[Path]] = {}
    for each in models:
        if each.folder.parent != ours:
            by_name.setdefault(each.package.name, []).append(each.folder)
    found = []
    for name, folders in by_name.items():
        if name in reserved:
            reason = f"the model that ships is called {name}; {RENAME}"
        elif len(folders) > 1:
            names = ", ".join(each.name for each in folders)
            reason = f"{len(folders)} models are called {name} ({names}); {RENAME}"
        else:
            continue
        found += [LeftOut(folder, name, reason) for folder in folders]
    return found


def _require_complete(folder: Path, package: ModelPackage, *, whole: bool) -> None:
    """Raise `ModelError` unless a package's files are there, and whole if asked for."""
    for each in package.folds:
        path = folder / each.weights
        size = _size_of_weights(path)
        if whole:
            _require_sha256(path, size, each.sha256)
    if package.second_stage is not None:
        second = second_stage_folder(folder, package.second_stage)
        _require_complete(second, read_package(second), whole=whole)


def _within(folder: Path, message: str) -> str:
    """Return a message about a folder's files without the folder's path."""
    return message.replace(f"{folder}/", "")


@functools.lru_cache(maxsize=256)
def _log_left_out(folder: Path, reason: str) -> None:
    logger.warning("model %s is left out: %s", folder, reason)


def read_weights(
    folder: Path, package: ModelPackage, *, fold: int = 0
) -> dict[str, torch.Tensor]:
    """Return a fold's weights by name, verified: the bytes hashed are those parsed.

    Args:
        folder: Where the package is.
        package: Its `model.json`.
        fold: Which of `package.folds`.

    Raises:
        ModelError: The file is missing, too large, not what the package's SHA-256
            says, or no safetensors file.
    """
    chosen = package.folds[fold]
    content = _read_verified(folder / chosen.weights, chosen.sha256)
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            f"{folder / chosen.weights} is no safetensors file: {error}"
        ) from error


def verify_weights(folder: Path, package: ModelPackage) -> None:
    """Raise `ModelError` unless all weights are what the package's SHA-256 say."""
    for each in package.folds:
        _read_verified(folder / each.weights, each.sha256)
    if package.second_stage is not None:
        second = second_stage_folder(folder, package.second_stage)
        verify_weights(second, read_package(second))


def second_stage_folder(folder: Path, stage: SecondStage) -> Path:
    """Return the folder of a package's second stage, once it is the one it names.

    Raises:
        ModelError: It is missing or another one, has a second stage itself, or does
            not know the organs that it is to draw.
    """
    place = folder / stage.folder
    second = read_package(place)
    wrong = ""
    if second.sha256 != stage.sha256:
        wrong = f"weights {second.sha256}, but the package says {stage.sha256}"
    elif second.second_stage is not None:
        wrong = "a second stage itself"
    elif unknown := set(stage.organs) - set(second.labels):
        wrong = f"no label for {', '.join(sorted(unknown))}"
    if wrong:
        raise ModelError(f"{place} has {wrong}; install the model again")
    return place


def write_package(
    folder: Path,
    package: ModelPackage,
    weights: Mapping[str, torch.Tensor],
    *,
    further: Sequence[Mapping[str, torch.Tensor]] = (),
) -> ModelPackage:
    """Write a package to `folder`, and return it with the SHA-256 of its weights.

    The weights are written first and `model.json` last, each by rename, so that a
    reader never sees half a file.

    Args:
        folder: Where; created if need be.
        package: What; its `sha256` and `further_folds` are replaced.
        weights: The network's state by name; stored as it is, contiguous, on the CPU.
        further: The states of the other folds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = _write_weights(folder / package.weights, weights)
    folds = []
    for number, state in enumerate(further, start=1):
        name = further_weights_file(number)
        written_sha256 = _write_weights(folder / name, state)
        folds.append(FoldWeights(weights=name, sha256=written_sha256))
    written = package.model_copy(
        update={"sha256": sha256, "further_folds": tuple(folds)}
    )
    text = written.model_dump_json(indent=2) + "\n"
    _replace(folder / PACKAGE_FILE, text.encode())
    return written


def combine_packages(
    first: Path,
    second: Path,
    *,
    organs: Sequence[str],
    into: Path,
    name: str | None = None,
    version: str | None = None,
) -> ModelPackage:
    """Write a package whose second stage is another package, and return it.

    Its description, licence and provenance tell of both. Measured figures are not
    taken over: they are of other models.

    Args:
        first: Folder of the package that draws all organs.
        second: Folder of the finer package.
        organs: Names of the organs that it draws anew.
        into: Folder to write to, which must not exist.
        name: What jobs call the new one; None for the first one's name.
        version: Of the new one; None for today's date.

    Raises:
        ModelError: One of them is damaged, or they do not fit together.
        OptionError: An organ is none, or `into` exists.
    """
    for each in organs:
        organ(each)
    if into.exists():
        raise OptionError(f"{into} exists; name a folder that does not")
    coarse, fine = read_package(first), read_package(second)
    stage = {
        "folder": SECOND_STAGE_FOLDER,
        "sha256": fine.sha256,
        "organs": tuple(organs),
    }
    changes = {
        "name": coarse.name if name is None else name,
        "version": version_of_today() if version is None else version,
        "licence": licence_of_both(coarse.licence, fine.licence),
        "description": f"{len(coarse.labels)} organs at risk in two stages: all by"
        f" {coarse.name} {coarse.version} ({coarse.description}) and then"
        f" {_counted(organs)} anew by {fine.name} {fine.version} ({fine.description})",
        "second_stage": stage,
        "evidence": coarse.evidence
        | {each: fine.evidence[each] for each in organs if each in fine.evidence},
        "provenance": _provenance_of("first_stage", coarse)
        | _provenance_of("second_stage", fine),
        "figures": {},
    }
    try:
        joined = ModelPackage.model_validate(coarse.model_dump() | changes)
    except ValidationError as error:
        raise ModelError(f"{second} does not fit {first}: {_first(error)}") from None
    partial = into.with_name(f".{into.name}.part")  # where no model is looked for
    shutil.rmtree(partial, ignore_errors=True)
    _copy_package(first, coarse, partial)
    _copy_package(second, fine, partial / SECOND_STAGE_FOLDER)
    _replace(partial / PACKAGE_FILE, (joined.model_dump_json(indent=2) + "\n").encode())
    verify_weights(partial, joined)
    partial.rename(into)
    return joined


def version_of_today() -> str:
    """Return the version of a model that is made now: the date, such as 2026.11.29."""
    return time.strftime("%Y.%m.%d")


def _counted(organs: Sequence[str]) -> str:
    return ", ".join(organs) if len(organs) <= MOST_ORGANS_NAMED else str(len(organs))


def licence_of_both(first: str, second: str) -> str:
    """Return the SPDX expression of weights under two licences."""
    return first if first == second else f"{first} AND {second}"


def _provenance_of(stage: str, package: ModelPackage) -> dict[str, str]:
    """Return where a stage comes from, by names that tell the stages apart."""
    origin = {stage: f"{package.name} {package.version} {package.sha256}"}
    return origin | {f"{stage}_{k}": text for k, text in package.provenance.items()}


def _copy_package(folder: Path, package: ModelPackage, into: Path) -> None:
    """Copy a package without its second stage."""
    into.mkdir(parents=True)
    for name in (PACKAGE_FILE, *(each.weights for each in package.folds)):
        shutil.copyfile(folder / name, into / name)


def further_weights_file(number: int) -> str:
    """Return what `write_package` calls the weights of a further fold, from 1 on."""
    return f"weights_{number}.safetensors"


def _write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> str:
    """Write one network's state as safetensors, and return the file's SHA-256."""
    import safetensors.torch

    tensors = {name: each.detach().cpu().contiguous() for name, each in weights.items()}
    content = safetensors.torch.save(tensors)
    _replace(path, content)
    return hashlib.sha256(content).hexdigest()


def _package_folders(folders: Iterable[Path]) -> tuple[list[Path], list[LeftOut]]:
    """Return the sub-folders that hold a model, and the folders that cannot be read."""
    places: list[Path] = []
    unreadable: list[LeftOut] = []
    for folder in folders:
        try:
            inside = sorted(each for each in folder.iterdir() if each.name[:1] != ".")
        except FileNotFoundError:
            continue
        except OSError as error:
            reason = f"the folder of models cannot be listed: {error.strerror}"
            unreadable.append(LeftOut(folder, folder.name, reason))
            continue
        places += [each for each in inside if _looks_like_a_package(each)]
    return places, unreadable


def _looks_like_a_package(place: Path) -> bool:
    """Whether a folder holds a model; one that cannot be looked into may do so."""
    try:
        names = {each.name for each in place.iterdir()}
    except NotADirectoryError:
        return False
    except OSError:
        return True
    return PACKAGE_FILE in names or any(n.endswith(".safetensors") for n in names)


def _size_of_weights(path: Path) -> int:
    """Return the size of a file of weights, in bytes.

    Raises:
        ModelError: It is missing, no file, too large or cannot be read.
    """
    try:
        state = path.stat()
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; install the model again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(state.st_mode):
        kind = "Is a directory" if stat.S_ISDIR(state.st_mode) else "Is no file"
        raise ModelError(f"{path} cannot be read: {kind}")
    if not os.access(path, os.R_OK):
        raise ModelError(f"{path} cannot be read: Permission denied")
    if state.st_size > LARGEST_WEIGHTS_BYTES:
        raise ModelError(
            f"{path} has {state.st_size} bytes, more than {LARGEST_WEIGHTS_BYTES}"
        )
    return state.st_size


def _require_sha256(path: Path, size: int, sha256: str) -> None:
    try:
        state = path.stat()
        actual = _sha256_of(path, (state.st_ino, state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if actual != sha256:
        raise ModelError(_other_weights(path, size, actual, sha256))


@functools.lru_cache(maxsize=256)
def _sha256_of(path: Path, state: tuple[int, ...]) -> str:
    """Return a file's SHA-256; `state` changes when the file is exchanged."""
    del state
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _other_weights(path: Path, size: int, actual: str, sha256: str) -> str:
    return (
        f"{path} ({size} bytes) has SHA-256 {actual}, but {PACKAGE_FILE} says"
        f" {sha256}: the file was damaged or exchanged; install the model again"
    )


def _read_verified(path: Path, sha256: str) -> bytes:
    size = _size_of_weights(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ModelError(_other_weights(path, size, actual, sha256))
    return content


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a part."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)


def _complaint(error: ValidationError) -> str:
    """Return what makes a `model.json` no package of this version, as one line."""
    detail = error.errors(include_url=False)[0]
    if detail["loc"] == ("format",):
        return (
            f"is no valid model package: format {detail['input']!r} is not known, this"
            " version reads 1; update the service, or install a model made for it"
        )
    if detail["type"] == "extra_forbidden":
        where = ".".join(str(part) for part in detail["loc"])
        return (
            f"is no valid model package: {where} is unknown to this version; update the"
            " service, or install a model made for it"
        )
    return f"is no valid model package: {_first(error)}"


def _first(error: ValidationError) -> str:
    """Return a validation error's first complaint as one line."""
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"]) or "the document"
    return f"{where}: {detail['msg']}"
