"""What to install where a library is missing that only a part of the product needs."""

from __future__ import annotations

import re
from importlib.metadata import distributions

from hanseg_shared.errors import ServiceUnavailableError

OWN = "hanseg-"
"""What the names of the product's distributions begin with."""

_REQUIREMENT = re.compile(r"([\w.-]+).*?;\s*extra\s*==\s*['\"]([\w-]+)['\"]")
"""A requirement of an extra, as a distribution's metadata state it."""


def missing_library(error: ModuleNotFoundError) -> ServiceUnavailableError:
    """Return a missing library as an error that says what to install.

    Raises:
        ModuleNotFoundError: It is one of our own modules, which no user can mend.
    """
    library = (error.name or "").partition(".")[0]
    if not library or library.startswith("hanseg_"):
        raise error
    extra = extra_with(library)
    install = f"pip install '{extra}'" if extra else f"pip install {library}"
    return ServiceUnavailableError(
        f"this needs {library}, which is not installed; install it with: {install}"
    )


def extra_with(library: str) -> str | None:
    """Return the extra that brings a library, such as ``hanseg-shared[jobs]``.

    Only distributions that are installed are asked; None if none of them has it.
    """
    wanted = _normalise(library)
    for name, requirements in sorted(_own_requirements().items(), reverse=True):
        for requirement in requirements:
            found = _REQUIREMENT.match(requirement)
            if found and wanted in {_normalise(found[1]), _import_name(found[1])}:
                return f"{name}[{found[2]}]"
    return None


def _own_requirements() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for each in distributions():
        if each.name.startswith(OWN):  # of two the first on the path is the one in use
            found.setdefault(each.name, each.requires or [])
    return found


def _import_name(distribution: str) -> str:
    """Return what ``SimpleITK-SimpleElastix`` is imported as, in lower case."""
    return _normalise(distribution).partition("-")[0]


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
