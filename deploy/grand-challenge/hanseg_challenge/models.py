"""Which model the container runs: one that was uploaded, or one of the image."""

from __future__ import annotations

from pathlib import Path

from hanseg_segmentation.packages.installed import (
    DEFAULT_MODEL,
    InstalledModel,
    find_model,
    installed_models,
    model_folders,
)
from hanseg_segmentation.packages.package import PACKAGE_FILE, read_package
from hanseg_segmentation.packages.weights import verify_weights
from hanseg_shared.errors import ModelError

UPLOADED = Path("/opt/ml/model")
"""Where grand-challenge.org unpacks a model that was uploaded apart from its image."""


def choose_model(
    name: str | None, *, uploaded: Path, installed: Path | None
) -> InstalledModel:
    """Return the model that runs, its weights compared with their SHA-256.

    Args:
        name: The model's; None for the one that was uploaded, or else the default one.
        uploaded: A package, or a folder of packages; need not exist.
        installed: The image's own folder of packages, beside those that ship.

    Raises:
        ModelError: There is no such model, several might be meant, or it is damaged.
    """
    found = _find_uploaded(name, uploaded)
    if found is None:
        found = find_model(name or DEFAULT_MODEL, model_folders(installed))
    verify_weights(found.folder, found.package)
    return found


def _find_uploaded(name: str | None, folder: Path) -> InstalledModel | None:
    """Return the uploaded model that is meant; None if none was uploaded."""
    if (folder / PACKAGE_FILE).is_file():
        models = [InstalledModel(folder, read_package(folder))]
    else:
        found = installed_models([folder])
        if found.left_out:
            bad = found.left_out[0]
            raise ModelError(f"{bad.folder} cannot be used: {bad.reason}")
        models = list(found.models)
    meant = [each for each in models if name in (None, each.package.name)]
    if len(meant) > 1:
        names = ", ".join(each.package.name for each in meant)
        raise ModelError(
            f"{folder} holds several models: name one of {names} in"
            " HANSEG_CHALLENGE_MODEL"
        )
    return meant[0] if meant else None
