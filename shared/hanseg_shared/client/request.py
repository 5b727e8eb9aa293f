"""What is sent to have one case contoured."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hanseg_shared.dicom.template import Template
from hanseg_shared.documents import JobOptions, Priority


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is sent to have one case contoured.

    Attributes:
        ct: The planning CT: an image file, a DICOM file, or a zip archive or folder of
            DICOM files, which may hold the MR's series as well. A folder is packed.
        mr: The T1 MR, likewise.
        options: What is to be done.
        case: The caller's name for it.
        reg: A DICOM registration of `mr` to `ct`, to use instead of the service's own.
        ct_series: Series Instance UID of the CT to take, where there are several.
        mr_series: The same of the MR.
        template: A template to use that the service does not know.
        is_urgent: Whether it is to be done before routine cases; the key needs the
            scope ``urgent``.
    """

    ct: Path
    mr: Path | None = None
    options: JobOptions = field(default_factory=JobOptions)
    case: str | None = None
    reg: Path | None = None
    ct_series: str | None = None
    mr_series: str | None = None
    template: Template | None = None
    is_urgent: bool = False

    @property
    def parts(self) -> dict[str, Path]:
        """The files by the names under which they are sent."""
        parts = {"ct": self.ct, "mr": self.mr, "reg": self.reg}
        return {name: path for name, path in parts.items() if path is not None}

    @property
    def body(self) -> dict[str, Any]:
        """What is sent beside the files."""
        template = self.template and self.template.model_dump(mode="json")
        body = {
            "options": self.options.model_dump(mode="json"),
            "case": self.case,
            "ct_series": self.ct_series,
            "mr_series": self.mr_series,
            "template_document": template,
            "priority": Priority.URGENT.value if self.is_urgent else None,
        }
        return {name: value for name, value in body.items() if value is not None}
