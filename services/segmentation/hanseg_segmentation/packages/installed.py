"""Which models are installed: those that ship, and those in a site's own folder.

A package that is damaged, incomplete or named like another is left out, and the reason
is kept. Listing models needs no torch.
"""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hanseg_segmentation.packages.names import require_name
from hanseg_segmentation.packages.package import (
    PACKAGE_FILE,
    ModelPackage,
    read_package,
)
from hanseg_segmentation.packages.weights import (
    folders_of_parts,
    require_sha256,
    size_of_weights,
)
from hanseg_shared.errors import InputError, ModelError, OptionError

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "default"
"""The model that a job gets when it names none, and that a worker loads first."""

RENAME = 'give it a "name" of its own in its model.json, or remove it'
"""The remedy for a name that is not a model's own."""


@dataclass(frozen=True, slots=True)
class InstalledModel:
    """A model package and its folder."""

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


def shipped_models() -> Path:
    """Return the folder of the models that ship with the package."""
    return Path(__file__).parents[1] / "models"


def model_folders(further: Path | None) -> tuple[Path, ...]:
    """Return where models are looked for: the shipped ones, and a site's own."""
    return (shipped_models(),) if further is None else (shipped_models(), further)


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
            left_out.append(LeftOut(folder, name, _strip_folder(folder, error.message)))
        if folder.parent == shipped_models():
            reserved.add(name)
    broken = {each.folder for each in left_out}
    sharing = _find_shared_names(models, reserved)
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


def require_own_name(
    name: str, version: str | None, *, folders: Iterable[Path]
) -> None:
    """Raise `OptionError` unless a new model can have that name and version.

    Args:
        name: Taken if a model in `folders` has it.
        version: None for one that is chosen later.
        folders: Where models are looked for.
    """
    require_free_name(name, folders)
    if version is not None:
        require_name(version, what="version")


def folder_of(name: str, folders: Iterable[Path]) -> Path:
    """Return a model's folder, also if the model is left out.

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


def remove_model(folder: Path) -> None:
    """Remove an installed package's folder.

    It is moved out of sight first, so that no reader finds half of it.

    Raises:
        InputError: The folder cannot be removed.
    """
    try:
        with tempfile.TemporaryDirectory(
            prefix=".removing-", dir=folder.parent
        ) as away:
            folder.rename(Path(away) / folder.name)
    except OSError as error:
        raise InputError(f"{folder} cannot be removed: {error.strerror}") from error


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


def _find_shared_names(
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
        size = size_of_weights(path)
        if whole:
            require_sha256(path, size, each.sha256)
    for part in folders_of_parts(folder, package):
        _require_complete(part, read_package(part), whole=whole)


def _strip_folder(folder: Path, message: str) -> str:
    """Return a message about a folder's files without the folder's path."""
    return message.replace(f"{folder}/", "")


@functools.lru_cache(maxsize=256)
def _log_left_out(folder: Path, reason: str) -> None:
    logger.warning("model %s is left out: %s", folder, reason)
