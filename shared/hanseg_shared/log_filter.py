"""Keeps out of the log what could name a patient: a filter for every handler.

No message should hold any of it; this is for the one that does all the same, such as
an exception of a library that repeats a value. Two things are masked: what looks like
a name (DICOM person names and elements, UIDs, query strings, paths of image files), and
what is known to be one (`keep_out_of_log`).
"""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from pathlib import PurePath

MASK = "[masked]"

MOST_NAMES = 2000
"""How many known names are masked, the latest; each costs every line a search."""

SHORTEST_NAME = 4
"""Shorter ones are parts of ordinary words."""

OWN_FILES = frozenset(
    {"ct", "mr", "reg", "segmentation", "registered", "labels", "content", "source"}
)
"""Names of image files that are the service's own, without their suffixes."""

_IMAGE = r"(?:nii(?:\.gz)?|nrrd|nhdr|mha|mhd|dcm|zip|img|hdr)"
# lengths are bounded, so that the time is linear in the length of a line
_QUOTED_PATH = re.compile(
    rf"(?P<quote>['\"])(?P<path>[^'\"\n]{{0,400}}\.{_IMAGE})(?P=quote)", re.I
)
_PATH = re.compile(rf"(?P<path>[^\s'\"]{{1,400}}\.{_IMAGE})\b", re.I)
_PERSON_NAME = re.compile(r"[^\s'\"(\[{=,;:]{0,100}\w\^[\w^][^\s'\")\]},;:]{0,100}")
_ELEMENT = re.compile(
    r"(\((?:0008|0010|0020|0032|0038|0040),\s?[0-9A-Fa-f]{4}\)\s).*?(?=\\n|$)", re.M
)
_UID = re.compile(r"(?<![\d.])[0-2](?:\.\d+){4,}(?![\d.])")
_QUERY = re.compile(r"(?<=[\w/])\?[\w.~%-]+=[^\s'\"]*")

_lock = threading.Lock()
_known: OrderedDict[str, None] = OrderedDict()


def keep_out_of_log(*names: str | None) -> None:
    """Have names masked in every line that this process logs from now on."""
    with _lock:
        for name in names:
            if name is None or len(name.strip()) < SHORTEST_NAME:
                continue
            _known[name.strip()] = None
            _known.move_to_end(name.strip())
        while len(_known) > MOST_NAMES:
            _known.popitem(last=False)


def mask_patient(text: str) -> str:
    """Return a text without what could name a patient."""
    with _lock:
        known = [name for name in _known if name in text]
    for name in sorted(known, key=len, reverse=True):
        text = text.replace(name, MASK)
    text = _ELEMENT.sub(rf"\1{MASK}", text)
    text = _QUERY.sub(f"?{MASK}", text)
    text = _QUOTED_PATH.sub(_mask_path, text)
    text = _PATH.sub(_mask_path, text)
    text = _PERSON_NAME.sub(MASK, text)
    return _UID.sub(MASK, text)


def _mask_path(found: re.Match[str]) -> str:
    path = found["path"]
    if PurePath(path).name.partition(".")[0].lower() in OWN_FILES or MASK in path:
        return found[0]
    return found[0].replace(path, MASK)


class PatientFilter(logging.Filter):
    """Masks the message of every record, and its traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record in place; all are let through."""
        record.msg, record.args = mask_patient(_message_of(record)), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = mask_patient(record.exc_text)
        if record.stack_info:
            record.stack_info = mask_patient(record.stack_info)
        return True


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 - a wrong format must not show its arguments
        return f"a message that cannot be formatted, of {record.pathname}"
