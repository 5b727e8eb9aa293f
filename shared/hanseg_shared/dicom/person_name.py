"""Names of people as an object's character set can hold them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from pydicom.charset import convert_encodings, default_encoding


def fit_name(name: str, character_set: Sequence[str]) -> str:
    """Return a name, in plain letters if the character set has not all of its own.

    Results keep the character set of the CT (PS3.3 C.12.1.1.2), which may be Latin
    alone: what it has no letter for at all becomes a question mark.

    Args:
        name: A PN (PS3.5 6.2).
        character_set: Values of Specific Character Set (0008,0005).
    """
    given = list(character_set)
    for encoding in convert_encodings(given) if given else [default_encoding]:
        try:
            name.encode("ascii" if encoding == default_encoding else encoding)
        except UnicodeEncodeError:
            continue
        return name
    plain = unicodedata.normalize("NFKD", name)
    kept = "".join(c for c in plain if not unicodedata.combining(c))
    return kept.encode("ascii", "replace").decode("ascii")
