"""A contoured case's results as DICOM: each object written and read back.

An object that does not read back as what it should say fails the whole: nothing of
DICOM is handed out then. One that cannot be made, such as the registration of an MR
that was rejected, is left out, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.config import disable_value_validation

from hanseg_shared.dicom import gate
from hanseg_shared.dicom.case import DicomCase, slice_masks
from hanseg_shared.dicom.mr_series import write_mr_series
from hanseg_shared.dicom.registration_object import write_registration
from hanseg_shared.dicom.review_page import write_review_page
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.template import Template
from hanseg_shared.documents import (
    DicomOutput,
    DicomReport,
    ModelSummary,
    MrVerdict,
    OrganResult,
    RegistrationReport,
)
from hanseg_shared.organs import organ
from hanseg_shared.result_files import (
    LABELMAP,
    MR_SERIES,
    REG,
    REVIEW_PAGE,
    REVIEW_PDF,
    RTSTRUCT,
    SEG,
)
from hanseg_shared.volume import Volume


@dataclass(frozen=True, slots=True, eq=False)
class ContouredCase:
    """What the DICOM results of a case are made of.

    Attributes:
        ct: The planning CT, in HU.
        labels: Labels 0 to 30 on the CT's grid.
        organs: What became of each of the 30, in label order.
        model: What segmented them.
        registration: What became of the MR.
        mr: The registered MR on the CT's grid, also a rejected one; None without MR.
        field_of_view: Not 0 where the MR has data; None without MR.
        mr_from_ct: The homogeneous 4 x 4 matrix from the CT's frame of reference to
            the MR's, in mm LPS; None if there is no MR, or it was deformed.
        remarks: What a person should know of the images.
    """

    ct: Volume
    labels: Volume
    organs: tuple[OrganResult, ...]
    model: ModelSummary
    registration: RegistrationReport
    mr: Volume | None = None
    field_of_view: Volume | None = None
    mr_from_ct: npt.NDArray[np.float64] | None = None
    remarks: tuple[str, ...] = ()


def write_dicom_results(
    folder: Path,
    outputs: Collection[DicomOutput],
    contoured: ContouredCase,
    *,
    case: DicomCase,
    template: Template,
) -> DicomReport:
    """Write the objects that are asked for, and read each one back.

    Args:
        folder: Where; it exists.
        outputs: Which.
        contoured: What they say.
        case: Whose they are.
        template: Which structures the structure set has.

    Returns:
        What was written, and what was left out and why.

    Raises:
        OutputError: An object does not read back as what it should say.
    """
    export = _Export(folder, contoured, case, template)
    writers: dict[DicomOutput, Callable[[], None]] = {
        DicomOutput.RTSTRUCT: export.write_rtstruct,
        DicomOutput.SEG: lambda: export.write_segmentation(DicomOutput.SEG, SEG),
        DicomOutput.LABELMAP: lambda: export.write_segmentation(
            DicomOutput.LABELMAP, LABELMAP
        ),
        DicomOutput.REG: export.write_registration,
        DicomOutput.MR: export.write_mr_series,
        DicomOutput.REPORT: export.write_report,
    }
    written: list[DicomOutput] = []
    left_out: dict[DicomOutput, str] = {}
    # pydicom would warn of what a clinic's headers hold, and log the value
    with disable_value_validation():
        for output, write in writers.items():
            if output not in outputs:
                continue
            if reason := export.reason_against(output):
                left_out[output] = reason
                continue
            write()
            written.append(output)
    return DicomReport(
        written=tuple(written),
        left_out=left_out,
        template=f"{template.name}@{template.version}",
        remarks=tuple(export.remarks),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Export:
    """One case's objects, each by a method of its own."""

    folder: Path
    contoured: ContouredCase
    case: DicomCase
    template: Template
    remarks: list[str] = field(default_factory=list)

    def reason_against(self, output: DicomOutput) -> str | None:
        """Return why an object cannot be made; None if it can."""
        match output:
            case DicomOutput.RTSTRUCT:
                return self._why_no_structure()
            case DicomOutput.SEG | DicomOutput.LABELMAP:
                if self._shown:
                    return None
                return "no organ was found on the CT's slices"
            case DicomOutput.REG:
                return self._why_no_registration()
            case DicomOutput.MR:
                return self._why_no_mr()
        return None

    def write_rtstruct(self) -> None:
        path, made = self.folder / RTSTRUCT, self.contoured
        structures = write_rtstruct(
            path,
            made.labels,
            case=self.case,
            template=self.template,
            organs=made.organs,
            model=made.model,
        )
        for each in structures.left_out:
            self.remarks.append(f"the structure set has no {each.name}: {each.reason}")
        gate.require_rtstruct(
            path,
            made.labels,
            case=self.case,
            template=self.template,
            organs=self._found,
        )

    def write_segmentation(self, kind: DicomOutput, name: str) -> None:
        path, labels = self.folder / name, self.contoured.labels
        write_segmentation(
            path,
            labels,
            case=self.case,
            organs=self._found,
            model=self.contoured.model,
            kind=kind,
        )
        gate.require_segmentation(path, labels, case=self.case, organs=self._found)

    def write_registration(self) -> None:
        path, matrix = self.folder / REG, self.contoured.mr_from_ct
        assert matrix is not None
        write_registration(path, matrix, case=self.case)
        gate.require_registration(path, matrix, case=self.case)

    def write_mr_series(self) -> None:
        folder, mr = self.folder / MR_SERIES, self.contoured.mr
        assert mr is not None
        write_mr_series(folder, mr, case=self.case)
        gate.require_mr_series(folder, mr, case=self.case)

    def write_report(self) -> None:
        path, made = self.folder / REVIEW_PAGE, self.contoured
        write_review_page(
            self.folder / REVIEW_PDF,
            path,
            ct=made.ct,
            labels=made.labels,
            mr=made.mr,
            organs=made.organs,
            registration=made.registration,
            model=made.model,
            case=self.case,
            remarks=made.remarks,
            field_of_view=made.field_of_view,
        )
        gate.require_report(path, case=self.case)

    @property
    def _found(self) -> list[str]:
        """The organs that have a mask."""
        there = np.zeros(256, dtype=np.bool_)
        for plane in self.contoured.labels.array:  # all at once takes 8 bytes a voxel
            there |= np.bincount(plane.ravel(), minlength=256) > 0
        return [each.name for each in self.contoured.organs if there[each.label]]

    @property
    def _shown(self) -> frozenset[int]:
        """The labels on the slices that the CT has; 0 is none."""
        masks = slice_masks(self.contoured.labels.array, self.case)
        return frozenset(int(each) for mask in masks for each in np.unique(mask)) - {0}

    def _why_no_structure(self) -> str | None:
        shown = self._shown
        for structure in self.template.structures:
            if all(organ(name).label in shown for name in structure.organs):
                return None
        return (
            f"no structure of the template {self.template.name} was found on the CT's "
            "slices, and a structure set cannot be empty"
        )

    def _why_no_mr(self) -> str | None:
        match self.contoured.registration.verdict:
            case MrVerdict.ABSENT:
                return "no MR was sent"
            case MrVerdict.REJECTED:
                return "the MR was rejected: its registration cannot be trusted"
        return None

    def _why_no_registration(self) -> str | None:
        if reason := self._why_no_mr():
            return reason
        if self.case.source.mr is None:
            return "the MR did not come as DICOM, so that it has no frame of reference"
        if self.contoured.mr_from_ct is None:
            return (
                "the MR was deformed, and a spatial registration holds one matrix; ask "
                "for the registered MR (mr) instead"
            )
        return None
