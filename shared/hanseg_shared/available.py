"""Which registrations that a job may ask for can be done, here and in this version."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from hanseg_shared.documents import Backend, TransformKind
from hanseg_shared.errors import OptionError

ANTS_REMEDY = (
    "install it (pip install 'hanseg-registration[ants]'), name an interpreter that "
    "has it (HANSEG_ANTS_PYTHON), or use elastix"
)
"""What to do where ants is asked for and antspyx is missing."""


def require_available(kind: TransformKind, backend: Backend) -> None:
    """Refuse what this version cannot do.

    Whoever takes an order asks, so that none is accepted that must fail later.

    Raises:
        OptionError: The kind belongs to another backend.
    """
    if kind is TransformKind.DEFORMABLE and backend is not Backend.ELASTIX:
        raise OptionError(
            f"{kind} registration is not available with the backend {backend}; "
            "use elastix"
        )


def require_installed(backend: Backend, ants_python: Path | None) -> None:
    """Refuse a backend that is not installed.

    Args:
        backend: What is asked for; elastix always is.
        ants_python: The interpreter that the settings name for antspyx, which is
            not asked: it may be on another machine.

    Raises:
        OptionError: No antspyx is here, and no interpreter is named.
    """
    if backend is Backend.ANTS and ants_python is None and find_spec("ants") is None:
        raise OptionError(f"antspyx is not installed; {ANTS_REMEDY}")
