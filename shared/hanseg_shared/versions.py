"""Which versions made a result, for its record."""

from __future__ import annotations

import platform
from importlib.metadata import version


def versions_of(*distributions: str) -> dict[str, str]:
    """Return the versions of Python and of installed distributions, by name."""
    return {"python": platform.python_version()} | {
        name: version(name) for name in distributions
    }
