"""The names of a result's files: what workers write, and what callers look for."""

from __future__ import annotations

from hanseg_shared.organs import ORGANS

RECORD = "job.json"
"""The job's record; a folder that has it is complete."""

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

OF_REGISTRATION = (
    REPORT,
    REGISTERED_MR,
    FIELD_OF_VIEW,
    TRANSFORM,
    CHECKERBOARD,
    EDGES,
)
"""What the registration makes; without an MR, only the report."""

ALL = (
    RECORD,
    SEGMENTATION,
    PREVIEW,
    *OF_REGISTRATION,
    *(f"{MASKS}/{organ.name}.nii.gz" for organ in ORGANS),
)
"""Every file that a result may have."""
