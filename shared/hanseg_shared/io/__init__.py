"""Images in and out: NIfTI, NRRD and MHA files, hostile ones included.

The names below are found on first use, so that a process that only looks for cases or
starts the sandbox never loads ITK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hanseg_shared.io.case_check import CaseCheck, Role
    from hanseg_shared.io.cases import CaseFiles, FoundCases, PassedOver, find_cases
    from hanseg_shared.io.check import check_case
    from hanseg_shared.io.confined import Confines
    from hanseg_shared.io.formats import ImageFormat, is_dicom_input
    from hanseg_shared.io.header import ImageHeader, read_header
    from hanseg_shared.io.limits import DEFAULT_LIMITS, Limits
    from hanseg_shared.io.read import (
        read_ct,
        read_image,
        read_labels,
        read_mask,
        read_mr,
        read_registered_mr,
    )
    from hanseg_shared.io.sandbox import check_case_in_child
    from hanseg_shared.io.write import write_volume

__all__ = [
    "DEFAULT_LIMITS",
    "CaseCheck",
    "CaseFiles",
    "Confines",
    "FoundCases",
    "ImageFormat",
    "ImageHeader",
    "Limits",
    "PassedOver",
    "Role",
    "check_case",
    "check_case_in_child",
    "find_cases",
    "is_dicom_input",
    "read_ct",
    "read_header",
    "read_image",
    "read_labels",
    "read_mask",
    "read_mr",
    "read_registered_mr",
    "write_volume",
]

_MODULES = {
    "case_check": ("CaseCheck", "Role"),
    "cases": ("CaseFiles", "FoundCases", "PassedOver", "find_cases"),
    "check": ("check_case",),
    "formats": ("ImageFormat", "is_dicom_input"),
    "header": ("ImageHeader", "read_header"),
    "limits": ("DEFAULT_LIMITS", "Limits"),
    "read": (
        "read_ct",
        "read_image",
        "read_labels",
        "read_mask",
        "read_mr",
        "read_registered_mr",
    ),
    "confined": ("Confines",),
    "sandbox": ("check_case_in_child",),
    "write": ("write_volume",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
