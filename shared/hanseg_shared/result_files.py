"""The names of a result's files: what workers write, and what callers look for."""

from __future__ import annotations

from hanseg_shared.organs import ORGANS

RECORD = "job.json"
"""The job's record; a folder that has it is complete."""

MANIFEST = "manifest.json"
"""Every other file of the result by its SHA-256, and what it was made of."""

SIGNATURE = "manifest.sig"
"""The service's signature of the manifest."""

SEGMENTATION = "segmentation.nii.gz"
PREVIEW = "preview.png"

MASKS = "masks"
"""Sub-folder of the masks, one file an organ."""

REPORT = "registration.json"
REGISTERED_MR = "registered_mr.nii.gz"
FIELD_OF_VIEW = "field_of_view.nii.gz"
TRANSFORM = "transform.tfm"
CHECKERBOARD = "registration_checkerboard.png"
EDGES = "registration_edges.png"

RTSTRUCT = "rtstruct.dcm"
SEG = "seg.dcm"
LABELMAP = "labelmap.dcm"
REG = "reg.dcm"
REVIEW_PAGE = "report.dcm"
REVIEW_PDF = "report.pdf"
MR_SERIES = "mr_series"
"""Sub-folder of the registered MR's slices, one DICOM file each."""

VIEW_CT = "view/ct.nii.gz"
VIEW_MR = "view/mr.nii.gz"
"""What the viewer shows, on the CT's grid: the CT in HU, int16, and the registered MR,
1 to 255 in its field of view and 0 outside, uint8. They are no results: they go when
the images go that were sent."""

REVIEWED = "reviewed"
"""Sub-folder of what is handed on of a signed review."""

OF_REGISTRATION = (
    REPORT,
    REGISTERED_MR,
    FIELD_OF_VIEW,
    TRANSFORM,
    CHECKERBOARD,
    EDGES,
)
"""What the registration makes; without an MR, only the report."""

OF_DICOM = (RTSTRUCT, SEG, LABELMAP, REG, REVIEW_PAGE, REVIEW_PDF)
"""What is written if the CT came as DICOM, beside the MR's series."""

ALL = (
    RECORD,
    MANIFEST,
    SIGNATURE,
    SEGMENTATION,
    PREVIEW,
    *OF_REGISTRATION,
    *OF_DICOM,
    *(f"{MASKS}/{organ.name}.nii.gz" for organ in ORGANS),
)
"""Every file that a result may have, but the slices in `MR_SERIES`."""
