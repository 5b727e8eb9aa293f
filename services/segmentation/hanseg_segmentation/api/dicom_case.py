"""A case that was sent as DICOM, and its conversion, which runs in a child process.

This process never parses a DICOM file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hanseg_shared.io.dicom.conversion import Conversion, SeriesChoice
from hanseg_shared.io.dicom.convert import convert_case_in_child
from hanseg_shared.io.halt import Halt
from hanseg_shared.io.limits import Limits


@dataclass(frozen=True, slots=True)
class DicomCaseFiles:
    """What was sent of a case whose CT is DICOM.

    Attributes:
        ct: An archive, a file or a folder with the CT's series, and perhaps the MR's.
        mr: The same with the MR's, or an image file; None if it is in `ct`.
        reg: The same with a registration of both; None if it is in `ct`, or none.
        choice: Which series to take, where there are several.
    """

    ct: Path
    mr: Path | None = None
    reg: Path | None = None
    choice: SeriesChoice = field(default_factory=SeriesChoice)


def convert_case(
    files: DicomCaseFiles, folder: Path, limits: Limits, halt: Halt
) -> Conversion:
    """Convert a case in a process of its own.

    Args:
        files: What was sent.
        folder: An empty one, where the volumes and the records of the source go.
        limits: Caps on archives and images.
        halt: Ends the conversion.

    Raises:
        ImageError: The case cannot be used.
    """
    return convert_case_in_child(
        files.ct, files.mr, files.reg, folder, limits, files.choice, halt
    )
