"""What a file is by its name: whose CT or MR, a mask, or unknown.

This is the one place that reads meaning out of names, for `hanseg batch`, training
and evaluation alike. A patient may be called Mr Smith or SEG-12, so it is not a word
somewhere in a name that decides, but the last one that says a role:
``DOSE-01_ct.nii.gz`` is the CT of DOSE-01, ``anna_ct_label.nii.gz`` a mask of anna.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

_IMAGE_NAME = re.compile(r"(.+?)(\.seg)?\.(nii\.gz|nii|nrrd|mha)", re.IGNORECASE)
_UNREAD_NAME = re.compile(
    r".+\.(mhd|nhdr|hdr|img|mgz|mgh|mnc|zip|nii\.(bz2|xz|zip|zst))",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+")
_SALUTATION = re.compile(r"Mr\.? +(?=[^\W\d_])")
_DATA_SET_NAME = re.compile(r"han[-_ ]?seg", re.IGNORECASE)
"""The challenge's name, whose "seg" makes no file a segmentation."""


class NameRole(Enum):
    """What a name says that its file is."""

    CT = auto()
    """A CT."""

    MR = auto()
    """An MR, of T1 weighting as far as the name says."""

    OTHER_MR = auto()
    """An MR of another weighting."""

    MASK = auto()
    """A mask, a label map or a dose."""

    DERIVED = auto()
    """A result of registration, or contours of another origin."""

    UNCLEAR = auto()
    """Both CT and MR: an MR on the CT's grid is often called so."""

    NONE = auto()
    """It says nothing."""


class _Kind(Enum):
    """What one word of a name may say."""

    CT = auto()
    MR = auto()
    OTHER_MR = auto()
    MASK = auto()
    DERIVED = auto()
    REGISTERED = auto()
    FILLER = auto()
    CONNECTING = auto()
    PLAIN = auto()


_KINDS: tuple[tuple[_Kind, re.Pattern[str]], ...] = (
    (_Kind.CT, re.compile(r"p?ct|planct|planningct")),
    (_Kind.MR, re.compile(r"mr|mri|mrt|t1w?|mrt1|mrit1")),
    (_Kind.OTHER_MR, re.compile(r"t2w?|flair|dwi|adc|stir")),
    (
        _Kind.MASK,
        re.compile(
            r"(oars?|labels?|labelmaps?|masks?|segs?|segmentations?|contours?"
            r"|structures?|doses?)[0-9]*"
        ),
    ),
    (_Kind.DERIVED, re.compile(r"(clinical|deepmind|fov)[0-9]*")),
    (_Kind.REGISTERED, re.compile(r"registered[0-9]*")),
    (_Kind.FILLER, re.compile(r"img|image")),
    (_Kind.CONNECTING, re.compile(r"to|on|onto|in|into|2|and|space|grid|fixed")),
)
_PLAIN = (_Kind.PLAIN, _Kind.FILLER, _Kind.CONNECTING)
_MASKS = {_Kind.MASK, _Kind.DERIVED, _Kind.REGISTERED}
_MRS = {_Kind.MR, _Kind.OTHER_MR}


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A name taken apart.

    Attributes:
        role: What it says that the file is.
        case: The rest: whose it is. Empty if nothing is left.
        word: The words that decide; empty without one.
        names_ct: Whether it says "CT" anywhere.
    """

    role: NameRole
    case: str
    word: str = ""
    names_ct: bool = False


@dataclass(frozen=True, slots=True)
class _Word:
    kind: _Kind
    start: int
    end: int


def normalise(name: str) -> str:
    """Return a name in the one form in which names are compared (NFC).

    macOS writes an umlaut as two characters, others as one (Unicode UAX 15).
    """
    return unicodedata.normalize("NFC", name)


def natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts case_2 before case_10; digits are ASCII's."""
    parts = re.findall(r"[0-9]+|[^0-9]+", normalise(name).lower())
    return [_sort_key(part) for part in parts]


def _sort_key(part: str) -> tuple[int, str]:
    if not (part.isascii() and part.isdigit()):
        return -1, part
    digits = part.lstrip("0")
    return len(digits), digits


def image_stem(path: Path) -> str | None:
    """Return an image file's name without its ending, or None for another file."""
    match = _IMAGE_NAME.fullmatch(path.name)
    return normalise(match.group(1)) if match else None


def is_segment_file(path: Path) -> bool:
    """Whether a file is one of 3D Slicer's segmentations, by its ending."""
    return path.name.lower().endswith(".seg.nrrd")


def is_unread_image(path: Path) -> bool:
    """Whether a file is, by its ending, an image that is not read here."""
    return _UNREAD_NAME.fullmatch(path.name) is not None


def parse_name(stem: str) -> ParsedName:
    """Take a name apart: what it says that the file is, and whose it is.

    Args:
        stem: A file's name without its ending, or a folder's name.
    """
    stem = normalise(stem)
    words = _words(stem)
    speaking = [n for n, word in enumerate(words) if word.kind not in _PLAIN]
    names_ct = any(word.kind is _Kind.CT for word in words)
    if not speaking:
        return ParsedName(NameRole.NONE, _case_name(stem, words, {_Kind.FILLER}))
    last = speaking[-1]
    role, family = _role(words, last)
    first, end = _extend_run(words, last, family | {_Kind.FILLER})
    before, after = stem[: words[first].start], stem[words[end].end :]
    keeps_end = role in {NameRole.CT, NameRole.MR, NameRole.UNCLEAR}
    case = _join(before, after) if keeps_end or not before.strip(" ._-") else before
    word = stem[words[first].start : words[end].end]
    return ParsedName(role, case.strip(" ._-"), word, names_ct)


def says_only_masks(folder_name: str) -> bool:
    """Whether every word of a folder's name is one of masks, doses or other MRs."""
    words = _words(normalise(folder_name))
    hidden = _MASKS | {_Kind.OTHER_MR}
    return bool(words) and all(word.kind in hidden for word in words)


def case_without(stem: str, words: Collection[str]) -> str:
    """Return a name without those of its last words, after ``_``, that are listed.

    Args:
        stem: A file's name without its ending.
        words: Of lower case.
    """
    parts = normalise(stem).split("_")
    while len(parts) > 1 and parts[-1].lower() in words:
        parts.pop()
    return "_".join(parts)


def printable(text: str) -> str:
    """Return a name as it can be written as UTF-8; what cannot is replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")


def is_printable(text: str) -> bool:
    """Whether a name can be written as UTF-8; file systems take any bytes."""
    return printable(text) == text


def _words(stem: str) -> list[_Word]:
    hidden = _DATA_SET_NAME.sub(lambda match: "x" * len(match[0]), stem)
    salutation = _SALUTATION.match(hidden)
    start = salutation.end() if salutation else 0
    return [
        _Word(_kind(match[0].lower()), match.start(), match.end())
        for match in _WORD.finditer(hidden, start)
    ]


def _kind(word: str) -> _Kind:
    found = (kind for kind, pattern in _KINDS if pattern.fullmatch(word))
    return next(found, _Kind.PLAIN)


def _role(words: list[_Word], last: int) -> tuple[NameRole, set[_Kind]]:
    """Return what the deciding word says, and the kinds of word that go with it."""
    kind = words[last].kind
    if kind in _MASKS:
        role = NameRole.MASK if kind is _Kind.MASK else NameRole.DERIVED
        return role, _MASKS | _MRS | {_Kind.CT}
    family = {_Kind.CT} if kind is _Kind.CT else _MRS
    other = _MRS if kind is _Kind.CT else {_Kind.CT}
    first, _ = _extend_run(words, last, family | {_Kind.FILLER})
    if _is_connected(words, first, other):
        return NameRole.UNCLEAR, family
    if first and words[first - 1].kind is _Kind.REGISTERED:
        return NameRole.DERIVED, family | {_Kind.REGISTERED}
    if kind is _Kind.CT:
        return NameRole.CT, family
    run = words[first : last + 1]
    other_weighting = any(word.kind is _Kind.OTHER_MR for word in run)
    return (NameRole.OTHER_MR if other_weighting else NameRole.MR), family


def _is_connected(words: list[_Word], first: int, other: set[_Kind]) -> bool:
    """Whether the other role stands before a word, as in ``mr_to_ct``."""
    n = first - 1
    while n >= 0 and words[n].kind in {_Kind.CONNECTING, _Kind.REGISTERED}:
        n -= 1
    return n >= 0 and words[n].kind in other


def _extend_run(words: list[_Word], n: int, kinds: set[_Kind]) -> tuple[int, int]:
    """Return the first and last of the words beside one that are of these kinds."""
    first = last = n
    while first > 0 and words[first - 1].kind in kinds:
        first -= 1
    while last + 1 < len(words) and words[last + 1].kind in kinds:
        last += 1
    return first, last


def _case_name(stem: str, words: list[_Word], dropped: set[_Kind]) -> str:
    for word in reversed(words):
        if word.kind in dropped:
            stem = _join(stem[: word.start], stem[word.end :])
    return stem.strip(" ._-")


def _join(before: str, after: str) -> str:
    """Return what stands around a word, with one of the separators between."""
    if before.strip(" ._-") and after[:1] and after[0] in " ._-":
        return before + after.lstrip(" ._-")
    return before + after
