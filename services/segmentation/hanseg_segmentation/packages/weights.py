"""The weights of a model package: written as a whole, read only if their SHA-256 fits.

Nothing is parsed before its SHA-256 is compared with the one in `model.json`; the check
alone needs no torch.
"""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hanseg_segmentation.packages.package import (
    PACKAGE_FILE,
    FoldWeights,
    Localiser,
    ModelPackage,
    SecondStage,
    read_package,
)
from hanseg_shared.errors import ModelError

if TYPE_CHECKING:
    import torch

LARGEST_WEIGHTS_BYTES = 8 * 2**30
"""Weights files above this are refused unread."""


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
    """Raise `ModelError` unless every file of weights has the package's SHA-256."""
    for each in package.folds:
        _read_verified(folder / each.weights, each.sha256)
    for part in folders_of_parts(folder, package):
        verify_weights(part, read_package(part))


def folders_of_parts(folder: Path, package: ModelPackage) -> tuple[Path, ...]:
    """Return the folders of the packages inside a package, once they are those named.

    Raises:
        ModelError: One is missing, or does not fit.
    """
    found = []
    if package.localiser is not None:
        found.append(localiser_folder(folder, package.localiser))
    if package.second_stage is not None:
        found.append(second_stage_folder(folder, package.second_stage))
    return tuple(found)


def localiser_folder(folder: Path, localiser: Localiser) -> Path:
    """Return the folder of a package's localiser, once it is the one it names.

    Raises:
        ModelError: It is missing or another one, has parts itself, or sees an MR.
    """
    place = folder / localiser.folder
    coarse = read_package(place)
    wrong = _unlike(coarse, localiser.sha256)
    if not wrong and (coarse.localiser or coarse.second_stage):
        wrong = "a localiser or second stage itself"
    elif not wrong and "mr" in coarse.channels:
        wrong = "a network that sees an MR, which a localiser is not given"
    if wrong:
        raise ModelError(f"{place} has {wrong}; install the model again")
    return place


def second_stage_folder(folder: Path, stage: SecondStage) -> Path:
    """Return the folder of a package's second stage, once it is the one it names.

    Raises:
        ModelError: It is missing or another one, has a second stage itself, or does
            not know the organs that it is to segment.
    """
    place = folder / stage.folder
    second = read_package(place)
    wrong = _unlike(second, stage.sha256)
    if not wrong and second.second_stage is not None:
        wrong = "a second stage itself"
    elif not wrong and (unknown := set(stage.organs) - set(second.labels)):
        wrong = f"no label for {', '.join(sorted(unknown))}"
    if wrong:
        raise ModelError(f"{place} has {wrong}; install the model again")
    return place


def _unlike(part: ModelPackage, sha256: str) -> str:
    """Return how a part's weights differ from those named; empty where they do not."""
    if part.sha256 == sha256:
        return ""
    return f"weights {part.sha256}, but the package says {sha256}"


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
    replace_file(folder / PACKAGE_FILE, text.encode())
    return written


def further_weights_file(number: int) -> str:
    """Return what `write_package` calls the weights of a further fold, from 1 on."""
    return f"weights_{number}.safetensors"


def _write_weights(path: Path, weights: Mapping[str, torch.Tensor]) -> str:
    """Write one network's state as safetensors, and return the file's SHA-256."""
    import safetensors.torch

    tensors = {name: each.detach().cpu().contiguous() for name, each in weights.items()}
    content = safetensors.torch.save(tensors)
    replace_file(path, content)
    return hashlib.sha256(content).hexdigest()


def size_of_weights(path: Path) -> int:
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


def require_sha256(path: Path, size: int, sha256: str) -> None:
    """Raise `ModelError` unless a file has that SHA-256; hashed once for each state.

    Args:
        path: A file of weights.
        size: Its size in bytes, for the message.
        sha256: What `model.json` says of it.
    """
    try:
        state = path.stat()
        actual = _sha256_of(path, (state.st_ino, state.st_size, state.st_mtime_ns))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if actual != sha256:
        raise ModelError(_describe_mismatch(path, size, actual, sha256))


@functools.lru_cache(maxsize=256)
def _sha256_of(path: Path, state: tuple[int, ...]) -> str:
    """Return a file's SHA-256; `state` changes when the file is exchanged."""
    del state
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _describe_mismatch(path: Path, size: int, actual: str, sha256: str) -> str:
    return (
        f"{path} ({size} bytes) has SHA-256 {actual}, but {PACKAGE_FILE} says"
        f" {sha256}: the file was damaged or exchanged; install the model again"
    )


def _read_verified(path: Path, sha256: str) -> bytes:
    size = size_of_weights(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    actual = hashlib.sha256(content).hexdigest()
    if actual != sha256:
        raise ModelError(_describe_mismatch(path, size, actual, sha256))
    return content


def replace_file(path: Path, content: bytes) -> None:
    """Write a file by rename: readers see the old content or the new, never a part."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    partial.replace(path)
