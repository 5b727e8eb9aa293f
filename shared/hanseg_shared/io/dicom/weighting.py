"""Whether an MR series is T1-weighted, judged by its names and its times.

What people and vendors call a series decides first; where that says nothing, the times
of the sequence do.
"""

from __future__ import annotations

import re
from enum import Enum

from hanseg_shared.io.dicom.attributes import Attributes


class Weighting(Enum):
    """What an MR's contrast is."""

    T1 = "T1"
    """T1-weighted, with or without contrast medium."""

    OTHER = "other"
    """Another one: T2, FLAIR, diffusion, flow, a map."""

    UNKNOWN = "unknown"
    """Its headers do not say."""


NAMES = (
    "SeriesDescription",
    "ProtocolName",
    "SequenceName",
    "AcquisitionContrast",
)
"""The attributes that may name the contrast, the most telling first."""

LONGEST_T1_TR_MS = 900.0
LONGEST_T1_TE_MS = 30.0
"""Spin and gradient echoes of longer repetition or echo times are not T1-weighted."""

SHORTEST_T2_TE_MS = 60.0
"""Echoes later than this are T2-weighted, or FLAIR."""

_MAP = re.compile(r"(?<![a-z0-9])(t1|t2)?[- ]?(map|maps|mapping|t1rho)(?![a-z0-9])")
_T1 = re.compile(
    r"(?<![a-z0-9])(s?t1[a-z]*|mp-?2?rage|bravo|spgr|fspgr|vibe|lava|e?thrive|"
    r"3d[- ]?tfe|[-a-z0-9*]*tfl3d[-a-z0-9]*)(?![a-z0-9])"
)
_OTHER = re.compile(
    r"(?<![a-z0-9])(s?t2[a-z]*|pd|pdw|proton density|s?flair|stir|tirm|s?dwi|s?dti|"
    r"diff|diffusion|adc|trace|ivim|swi|tof|mra|angio|flow|pc|asl|bold|epi|"
    r"ep2d[-a-z0-9]*|perf|perfusion|dsc|dce|fiesta|ciss|drive|dixon[- ]fat|"
    r"localizer|loc|survey|scout|mip)(?![a-z0-9])"
)

_LONGEST_NAME = 64
"""What LO and SH have at most."""


def judge_weighting(attributes: Attributes) -> Weighting:
    """Return what a series's first header says of its contrast."""
    b_value = attributes.number("DiffusionBValue")
    if b_value:
        return Weighting.OTHER
    for keyword in NAMES:
        named = _judge_name(attributes.text(keyword))
        if named is not Weighting.UNKNOWN:
            return named
    return _judge_times(attributes)


def _judge_name(name: str) -> Weighting:
    """Return what a name says; T1 decides where others are named too ("T1 FLAIR")."""
    words = re.sub(r"[_/.,;:()+]", " ", name[:_LONGEST_NAME].lower())
    if _MAP.search(words):
        return Weighting.OTHER
    if _T1.search(words):
        return Weighting.T1
    return Weighting.OTHER if _OTHER.search(words) else Weighting.UNKNOWN


def _judge_times(attributes: Attributes) -> Weighting:
    repetition_ms = attributes.number("RepetitionTime")
    echo_ms = attributes.number("EchoTime")
    if not repetition_ms or not echo_ms:
        return Weighting.UNKNOWN
    if echo_ms > SHORTEST_T2_TE_MS:
        return Weighting.OTHER
    if "IR" in attributes.texts("ScanningSequence"):
        return Weighting.UNKNOWN  # STIR and MPRAGE differ in more than times
    if repetition_ms <= LONGEST_T1_TR_MS and echo_ms <= LONGEST_T1_TE_MS:
        return Weighting.T1
    return Weighting.UNKNOWN
