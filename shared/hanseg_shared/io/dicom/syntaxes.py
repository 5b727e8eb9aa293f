"""Transfer syntaxes (PS3.5 section 10): which are read, and why the others are not."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


class Coding(Enum):
    """How the pixels of a frame are stored."""

    NATIVE = auto()
    """As numbers, little endian."""

    RLE = auto()
    """Run lengths (PS3.5 annex G)."""

    JPEG = auto()
    """JPEG (ISO 10918-1) or JPEG-LS (ISO 14495-1), whose frame headers are alike."""

    JPEG_2000 = auto()
    """JPEG 2000 (ISO 15444-1)."""


@dataclass(frozen=True, slots=True)
class Syntax:
    """A transfer syntax that is read; the bytes are little endian.

    Attributes:
        name: What a message calls it.
        coding: How pixels are stored; all but native ones are encapsulated.
        explicit: Whether each element names its value representation (VR).
    """

    name: str
    coding: Coding
    explicit: bool = True

    @property
    def encapsulated(self) -> bool:
        """Whether pixels lie in fragments (PS3.5 A.4)."""
        return self.coding is not Coding.NATIVE


SYNTAXES = {
    "1.2.840.10008.1.2": Syntax(
        "Implicit VR Little Endian", Coding.NATIVE, explicit=False
    ),
    "1.2.840.10008.1.2.1": Syntax("Explicit VR Little Endian", Coding.NATIVE),
    "1.2.840.10008.1.2.4.51": Syntax("JPEG Extended (12 bit)", Coding.JPEG),
    "1.2.840.10008.1.2.4.57": Syntax("JPEG Lossless", Coding.JPEG),
    "1.2.840.10008.1.2.4.70": Syntax("JPEG Lossless, First-Order", Coding.JPEG),
    "1.2.840.10008.1.2.4.80": Syntax("JPEG-LS Lossless", Coding.JPEG),
    "1.2.840.10008.1.2.4.81": Syntax("JPEG-LS Near-Lossless", Coding.JPEG),
    "1.2.840.10008.1.2.4.90": Syntax("JPEG 2000 Lossless", Coding.JPEG_2000),
    "1.2.840.10008.1.2.4.91": Syntax("JPEG 2000", Coding.JPEG_2000),
    "1.2.840.10008.1.2.5": Syntax("RLE Lossless", Coding.RLE),
}
"""Those that are read, by their UID."""

_REFUSED = {
    "1.2.840.10008.1.2.1.99": (
        "it is deflated as a whole, so that nothing of it can be checked before it is "
        "unpacked"
    ),
    "1.2.840.10008.1.2.2": "big endian files were retired from DICOM in 2006",
    "1.2.840.10008.1.2.4.50": (
        "JPEG Baseline has 8 bits a pixel, too few for CT or MR values"
    ),
}
"""What is said of those that might be sent, and are not read."""


_READ = (
    "only Implicit or Explicit VR Little Endian, RLE, JPEG Lossless, JPEG Extended, "
    "JPEG-LS and JPEG 2000 are read"
)


def why_refused(uid: str) -> str:
    """Return why a transfer syntax is not read."""
    return _REFUSED.get(uid, _READ)
