"""A model as it is kept on disk: weights, and the plan of how they are to be used.

A package is a folder of two files: `model.json`, which is a `ModelPackage`, and the
weights as safetensors. Nothing in it is code, and nothing is read before its SHA-256
is compared with the one in `model.json`. Listing packages needs no torch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self

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

LARGEST_WEIGHTS_BYTES = 4 * 2**30
"""Weights files above this are refused unread."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Edge = Annotated[int, Field(ge=8, le=512, multiple_of=8)]


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


class Normalisation(Document):
    """How both images become network input; the same in training and inference."""

    ct: CtNormalisation = CtNormalisation()
    mr: MrNormalisation = MrNormalisation()


class NetworkSpec(Document):
    """Which network the weights belong to.

    Attributes:
        kind: The network's name in `inference.networks.KINDS`.
        config: What that network's frozen configuration takes, by name.
    """

    kind: str
    config: dict[str, JsonValue] = Field(default_factory=dict)


class ModelPackage(Document):
    """The content of `model.json`.

    Attributes:
        format: Version of this file's layout.
        name: What a job calls the model.
        version: Version of the weights.
        licence: SPDX expression of the weights' licence.
        description: What it is, in a sentence or two.
        channels: The network's input channels, in order.
        spacing_mm: Spacing (x, y, z) of the LPS-aligned grid the network works on.
        patch: Voxels (z, y, x) of one tile.
        labels: Output channel of each organ the model knows; channel 0 is the
            background, and channels without an organ count as background.
        normalisation: How images become network input.
        network: Which network the weights belong to.
        evidence: The best kind of data that taught each organ in `labels`.
        weights: File name of the weights, beside `model.json`.
        sha256: SHA-256 of that file.
        provenance: Where the weights come from: data, commit, date, recipe.
        figures: Measured figures by name, such as ``validation_dice`` by organ.
    """

    format: Literal[1] = 1
    name: Name
    version: Name
    licence: str
    description: str
    channels: tuple[Literal["ct"], Literal["mr"], Literal["field_of_view"]] = (
        "ct",
        "mr",
        "field_of_view",
    )
    spacing_mm: tuple[Positive, Positive, Positive]
    patch: tuple[Edge, Edge, Edge]
    labels: dict[str, Annotated[int, Field(ge=1, le=254)]]
    normalisation: Normalisation = Normalisation()
    network: NetworkSpec
    evidence: dict[str, Evidence]
    weights: FileName = WEIGHTS_FILE
    sha256: Sha256
    provenance: dict[str, str] = Field(default_factory=dict)
    figures: dict[str, dict[str, float]] = Field(default_factory=dict)

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


DEFAULT_MODEL = "default"
"""The model that a job gets when it names none, and that a worker loads first."""


def shipped_models() -> Path:
    """Return the folder of the models that ship with the package."""
    return Path(__file__).parent / "models"


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
        return ModelPackage.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"{path} is missing; a model package needs it: install the model again"
        ) from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ModelError(f"{path} is no valid model package: {_first(error)}") from None


def find_models(folders: Iterable[Path]) -> tuple[InstalledModel, ...]:
    """Return every model package in the sub-folders of `folders`, sorted by name.

    A folder that does not exist holds none. A damaged package is logged and left
    out, so that it does not take the others down.

    Raises:
        ModelError: Two packages have one name.
    """
    found: dict[str, InstalledModel] = {}
    for folder in _package_folders(folders):
        try:
            package = read_package(folder)
        except ModelError as error:
            logger.warning("a model is left out: %s", error)
            continue
        if package.name in found:
            raise ModelError(
                f"two models are called {package.name}: {found[package.name].folder}"
                f" and {folder}; remove or rename one"
            )
        found[package.name] = InstalledModel(folder, package)
    return tuple(found[name] for name in sorted(found))


def find_model(name: str, folders: Iterable[Path]) -> InstalledModel:
    """Return the installed model of that name.

    Raises:
        ModelError: There is none, or its package is damaged.
    """
    places = tuple(folders)
    models = find_models(places)
    for model in models:
        if model.package.name == name:
            return model
    for folder in _package_folders(places):
        if folder.name == name:
            read_package(folder)  # tells what is wrong with it
    known = ", ".join(model.package.name for model in models) or "none"
    raise ModelError(f"no model is called {name!r}; installed: {known}")


def read_weights(folder: Path, package: ModelPackage) -> dict[str, torch.Tensor]:
    """Return the weights by name, verified: the bytes hashed are the bytes parsed.

    Raises:
        ModelError: The file is missing, too large, not what the package's SHA-256
            says, or no safetensors file.
    """
    content = _read_verified(folder / package.weights, package.sha256)
    import safetensors
    import safetensors.torch

    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise ModelError(
            f"{folder / package.weights} is no safetensors file: {error}"
        ) from error


def verify_weights(folder: Path, package: ModelPackage) -> None:
    """Raise `ModelError` unless the weights are what the package's SHA-256 says."""
    _read_verified(folder / package.weights, package.sha256)


def write_package(
    folder: Path, package: ModelPackage, weights: Mapping[str, torch.Tensor]
) -> ModelPackage:
    """Write a package to `folder`, and return it with the SHA-256 of its weights.

    The weights are written first and `model.json` last, each by rename, so that a
    reader never sees half a file.

    Args:
        folder: Where; created if need be.
        package: What; its `sha256` is replaced.
        weights: The network's state by name; stored as it is, contiguous, on the CPU.
    """
    import safetensors.torch

    tensors = {name: each.detach().cpu().contiguous() for name, each in weights.items()}
    content = safetensors.torch.save(tensors)
    written = package.model_copy(update={"sha256": hashlib.sha256(content).hexdigest()})
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / package.weights, content)
    text = written.model_dump_json(indent=2) + "\n"
    _replace(folder / PACKAGE_FILE, text.encode())
    return written


def _package_folders(folders: Iterable[Path]) -> list[Path]:
    return [
        found.parent
        for folder in folders
        for found in sorted(folder.glob(f"*/{PACKAGE_FILE}"))
    ]


def _read_verified(path: Path, sha256: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > LARGEST_WEIGHTS_BYTES:
            raise ModelError(
                f"{path} has {size} bytes, more than {LARGEST_WEIGHTS_BYTES}"
            )
        content = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"{path} is missing; install the model again") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ModelError(
            f"{path} ({size} bytes) has SHA-256 {actual}, but {PACKAGE_FILE} says"
            f" {sha256}: the file was damaged or exchanged; install the model again"
        )
    return content


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that readers see the old one or the new one, never a part."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)


def _first(error: ValidationError) -> str:
    """Return a validation error's first complaint as one line."""
    detail = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in detail["loc"]) or "the document"
    return f"{where}: {detail['msg']}"
