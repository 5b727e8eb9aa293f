"""What comes of a case that was sent as DICOM; light enough for any process."""

from __future__ import annotations

from hanseg_shared.document import Document
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE, Uid

CT_FILE = "ct.nrrd"
"""Under which name a conversion writes the CT."""

MR_FILE = "mr.nrrd"
"""Under which name a conversion writes the MR."""


class SeriesChoice(Document):
    """Which series the sender wants, where there are several.

    Attributes:
        ct: Series Instance UID (0020,000E) of the CT; None lets the largest be taken.
        mr: The same of the MR.
    """

    ct: Uid | None = None
    mr: Uid | None = None


class Conversion(Document):
    """The files that a conversion wrote, all in one folder.

    Attributes:
        ct: The CT as an NRRD file, in HU.
        mr: The MR as an NRRD file; None if none came as DICOM. An MR that was sent as
            NIfTI, NRRD or MHA stays the file that it is.
        source: The `DicomSource`, as JSON.
        identity: The `DicomIdentity`, as JSON.
        remarks: What a person should know, of what was passed over and of the series.
    """

    ct: str = CT_FILE
    mr: str | None = None
    source: str = SOURCE_FILE
    identity: str = IDENTITY_FILE
    remarks: tuple[str, ...] = ()
