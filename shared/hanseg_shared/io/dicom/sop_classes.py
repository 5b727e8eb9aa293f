"""Which kinds of DICOM objects are images of a case, and what the others are called."""

from __future__ import annotations

from typing import Literal

from pydicom.uid import UID

Modality = Literal["CT", "MR"]

_CT = "1.2.840.10008.5.1.4.1.1.2"
_ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
_LEGACY_CT = "1.2.840.10008.5.1.4.1.1.2.2"
_MR = "1.2.840.10008.5.1.4.1.1.4"
_ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
_LEGACY_MR = "1.2.840.10008.5.1.4.1.1.4.4"

SPATIAL_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.1"

MODALITIES: dict[str, Modality] = {
    _CT: "CT",
    _ENHANCED_CT: "CT",
    _LEGACY_CT: "CT",
    _MR: "MR",
    _ENHANCED_MR: "MR",
    _LEGACY_MR: "MR",
}
"""The image storage classes (PS3.4 B.5) that are read, and what they hold."""

MULTI_FRAME = (_ENHANCED_CT, _LEGACY_CT, _ENHANCED_MR, _LEGACY_MR)
"""Those that have many slices in one instance, described by functional groups."""


def name_class(sop_class: str) -> str:
    """Return what an object is called in messages, such as ``RT Dose``."""
    name = UID(sop_class).name
    return "an unknown kind" if name == sop_class else name.removesuffix(" Storage")
