"""The choice of the engine for a backend that a caller names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from hanseg_registration.engines.ants import AntsEngine
from hanseg_registration.engines.ants_parameters import load_ants_parameters
from hanseg_registration.engines.elastix import ElastixEngine
from hanseg_registration.engines.interface import Engine, Step
from hanseg_registration.engines.parameter_maps import FOLDER, load_parameters
from hanseg_shared.available import ANTS_REMEDY, require_installed
from hanseg_shared.documents import Backend
from hanseg_shared.errors import OptionError
from hanseg_shared.file_hash import file_sha256

Name = TypeVar("Name")


def make_engine(
    backend: Backend,
    *,
    parameters: Path | None = None,
    ants_python: Path | None = None,
) -> Engine:
    """Return the engine of a backend.

    Args:
        backend: What the caller asked for.
        parameters: A folder with parameter files that replace the built-in ones.
        ants_python: An interpreter that has antspyx; None for this one.

    Raises:
        OptionError: The backend is not installed, or a file is missing in the folder:
            some are needed for few cases only, which is late to find out.
    """
    if backend is Backend.ELASTIX:
        _require_all(parameters, load_parameters, [*Step, "deformable"])
        return ElastixEngine(parameters)
    require_installed(backend, ants_python)
    if ants_python is not None and not os.access(ants_python, os.X_OK):
        raise OptionError(f"there is no interpreter {ants_python}; {ANTS_REMEDY}")
    _require_all(parameters, load_ants_parameters, list(Step))
    return AntsEngine(parameters, ants_python)


def _require_all(
    folder: Path | None,
    load: Callable[[Name, Path], object],
    names: Sequence[Name],
) -> None:
    """Raise `OptionError` unless a site's folder, if there is one, holds all files."""
    if folder is not None:
        for name in names:
            load(name, folder)


def parameters_sha256(backend: Backend, folder: Path | None = None) -> str:
    """Return one SHA-256 for all parameter files of a backend.

    It is of the lines ``SHA-256  NAME``, sorted by name, as ``sha256sum`` writes them.

    Args:
        backend: Whose parameters.
        folder: A site's own folder of parameters; None for those that ship.

    Raises:
        OSError: A file cannot be read.
    """
    pattern = "*.txt" if backend is Backend.ELASTIX else "ants-*.toml"
    lines = [
        f"{file_sha256(path)}  {path.name}\n"
        for path in sorted((folder or FOLDER).glob(pattern))
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()
