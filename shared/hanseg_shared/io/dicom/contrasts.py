"""Several images of one place in a series: echoes, components, phases in time.

Of an MR, one contrast is taken where a rule says which: magnitude before phase, the
lowest diffusion weighting, the shortest echo, which is the most T1-weighted. What no
rule decides, and any such CT, is refused with what distinguishes the images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.frames import CLASSIC_TRAITS, FRAME_TRAITS, Frame
from hanseg_shared.io.dicom.geometry import SAME_PLACE_MM, positions_along_normal

SHOWN_VALUES = 6
"""So many values of an attribute are listed in a message."""

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]{1,2})?")

_MAGNITUDE = {"M", "MAGNITUDE", "M_SE", "M_FFE", "M_IR"}
"""How image types call a magnitude image, the standard's own or a vendor's."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Which of several values of an attribute is taken, and how that is said."""

    keyword: str
    choose: Callable[[list[str]], list[str]]
    reason: str


def _magnitudes(values: list[str]) -> list[str]:
    return [value for value in values if _MAGNITUDE & set(value.split("\\"))]


def _lowest(values: list[str]) -> list[str]:
    numbers = [(float(value), value) for value in values if _NUMBER.fullmatch(value)]
    return [min(numbers)[1]] if numbers else []


_RULES = (
    _Rule("ComplexImageComponent", _magnitudes, "the magnitude is used"),
    _Rule("FrameType", _magnitudes, "the magnitude is used"),
    _Rule("ImageType", _magnitudes, "the magnitude is used"),
    _Rule("DiffusionBValue", _lowest, "the lowest is used"),
    _Rule("EffectiveEchoTime", _lowest, "the shortest echo is used"),
    _Rule("EchoTime", _lowest, "the shortest echo is used"),
)


def pick_contrast(frames: Sequence[Frame]) -> tuple[list[Frame], tuple[str, ...]]:
    """Return one MR frame for each place, and remarks on what was left out.

    Args:
        frames: Of one orientation, in any order.

    Raises:
        ImageContentError: No rule decides which of several to take.
    """
    chosen, remarks = list(frames), []
    for rule in _RULES:
        if count_images(chosen) == 1:
            break
        values = _values(chosen, rule.keyword)
        kept = rule.choose(values) if len(values) > 1 else []
        if not kept or len(kept) == len(values):
            continue
        chosen = [frame for frame in chosen if frame.traits[rule.keyword] in kept]
        remarks.append(
            f"it holds several images of each place, which differ in "
            f"{describe_tag(rule.keyword)} ({_list(values)}): {rule.reason}"
        )
    require_one_image(chosen)
    return chosen, tuple(remarks)


def require_one_image(frames: Sequence[Frame]) -> None:
    """Refuse frames of which several show the same place throughout.

    Raises:
        ImageContentError: They do, with what distinguishes them.
    """
    count = count_images(frames)
    if count == 1:
        return
    keywords = dict.fromkeys((*CLASSIC_TRAITS, *(key for key, _ in FRAME_TRAITS)))
    different = [key for key in keywords if len(_values(frames, key)) > 1]
    told = "nothing in their headers tells them apart"
    if different:
        told = (
            f"they differ in {describe_tag(different[0])}: "
            f"{_list(_values(frames, different[0]))}"
        )
    raise ImageContentError(
        f"{frames[0].name}: its series holds {count} images of each place "
        f"({describe_tag('ImagePositionPatient')}), such as phases of a 4D scan or "
        f"echoes; {told}; send one of them as a series of its own"
    )


def count_images(frames: Sequence[Frame]) -> int:
    """Return how many images there are of each place; 1 unless of every one."""
    along = np.sort(positions_along_normal(frames))
    apart = np.flatnonzero(np.diff(along) > SAME_PLACE_MM)
    counts = np.diff([-1, *apart, len(along) - 1])
    return int(counts.min())


def _values(frames: Sequence[Frame], keyword: str) -> list[str]:
    values = {frame.traits[keyword] for frame in frames if keyword in frame.traits}
    return sorted(values)


def _list(values: list[str]) -> str:
    more = ", ..." if len(values) > SHOWN_VALUES else ""
    return ", ".join(map(_show, values[:SHOWN_VALUES])) + more


def _show(value: str) -> str:
    """Return a value as a message repeats it: short, and of printable letters."""
    return re.sub(r"[^ -~]", "?", value)[:32] or "none"
