"""One file that was sent as DICOM: where it lies now, and what its sender calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class DicomFile:
    """A DICOM file (PS3.10) on this machine.

    Attributes:
        path: Where it lies; its name there says nothing.
        name: What the sender calls it, for messages: a path within an archive or a
            folder, or a file's name.
    """

    path: Path
    name: str
