"""The result of a registration: two images, a transform and a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from hanseg_registration.verdict import as_rejection
from hanseg_shared.documents import MrVerdict, RegistrationReport
from hanseg_shared.io import write_volume
from hanseg_shared.result_files import (
    FIELD_OF_VIEW,
    REGISTERED_MR,
    REPORT,
    TRANSFORM,
)
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """An MR on the grid of a CT, and whether it can be trusted there.

    Attributes:
        registered_mr: The MR on the CT's grid, in the MR's intensities; its measured
            background where it has no data.
        field_of_view: 1 where the MR has data, on the CT's grid, uint8.
        transform: Maps points of the CT to points of the MR, in mm LPS.
        report: The verdict and its numbers.
    """

    registered_mr: Volume
    field_of_view: Volume
    transform: sitk.Transform
    report: RegistrationReport

    def write(self, folder: Path) -> None:
        """Write the four files of the contract to a folder that exists."""
        write_volume(self.registered_mr, folder / REGISTERED_MR)
        write_volume(self.field_of_view, folder / FIELD_OF_VIEW)
        sitk.WriteTransform(self.transform, str(folder / TRANSFORM))
        (folder / REPORT).write_text(self.report.model_dump_json(indent=2))


def absent_report() -> RegistrationReport:
    """Return the report of a job without MR."""
    return RegistrationReport(
        verdict=MrVerdict.ABSENT,
        reason="No MR was sent: the organs come from the CT alone.",
    )


def rejected_report(why: str) -> RegistrationReport:
    """Return the report of a registration that could not be computed."""
    return RegistrationReport(verdict=MrVerdict.REJECTED, reason=as_rejection(why))
