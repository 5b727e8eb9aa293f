"""The engine behind the word for a backend."""

from __future__ import annotations

from pathlib import Path

from hanseg_registration.elastix import ElastixEngine
from hanseg_registration.engines import Engine
from hanseg_shared.documents import Backend
from hanseg_shared.errors import OptionError


def engine_for(backend: Backend, *, parameters: Path | None = None) -> Engine:
    """Return the engine of a backend.

    Args:
        backend: What the caller asked for.
        parameters: A folder with parameter files that replace the built-in ones.

    Raises:
        OptionError: The backend is not available.
    """
    if backend is Backend.ELASTIX:
        return ElastixEngine(parameters)
    raise OptionError(
        f"the backend {backend} is not available yet in this version; use elastix"
    )
