"""Which of the options a job may name this version can do; the others come later."""

from __future__ import annotations

from hanseg_shared.documents import Backend, TransformKind
from hanseg_shared.errors import OptionError


def require_available(kind: TransformKind, backend: Backend) -> None:
    """Refuse what this version cannot do.

    Whoever takes an order asks, so that none is accepted that must fail later.

    Raises:
        OptionError: The kind or the backend belongs to a later version.
    """
    if backend is not Backend.ELASTIX:
        raise OptionError(
            f"the backend {backend} is not available yet in this version; use elastix"
        )
    if kind is TransformKind.DEFORMABLE:
        raise OptionError(
            f"{kind} registration is not available yet in this version; "
            "use rigid, affine or none"
        )
