"""The registration as a DICOM Spatial Registration object (PS3.3 A.39.1, C.20.2).

The registered coordinate system is the CT's frame of reference. An item's matrix maps
points of its frame there, so the MR's is the inverse of what resamples the MR onto the
CT.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.uid import SpatialRegistrationStorage
from pydicom.valuerep import format_number_as_ds

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.references import (
    add_common_references,
    list_instances,
    make_code,
)
from hanseg_shared.errors import OptionError
from hanseg_shared.io.dicom.source import SeriesSource

SERIES_NUMBER = 9003

BODY_PART = "HEADNECK"
"""Body Part Examined (0018,0015): without it, a laterality would be asked for."""

RIGID_TOLERANCE = 1e-6
"""Largest deviation of ``R R^T`` from identity of a matrix that is called RIGID."""

SMALLEST_NUMBER = 1e-14
"""Smaller elements are written as 0: they are rounding, and would cost digits."""

Code = tuple[str, str]

SAME_FRAME: Code = ("125021", "Frame of Reference Identity")
BY_CONTENT: Code = ("125024", "Image Content-based Alignment")
"""Registration types: DICOM's codes and their meanings (PS3.16 CID 7100)."""


def write_registration(
    path: Path, mr_from_ct: npt.ArrayLike, *, case: DicomCase
) -> None:
    """Write the registration of the MR to the CT.

    Args:
        path: The file.
        mr_from_ct: The homogeneous 4 x 4 matrix that maps points of the CT's frame of
            reference to the MR's, in mm LPS, as ITK's fixed-to-moving transform does.
        case: Whose; its MR came as DICOM.

    Raises:
        OptionError: The MR did not come as DICOM, or the matrix cannot be inverted.
    """
    make_registration(mr_from_ct, case=case).save_as(path, enforce_file_format=True)


def make_registration(mr_from_ct: npt.ArrayLike, *, case: DicomCase) -> FileDataset:
    """Return the same as a dataset; see `write_registration`."""
    ct, mr = case.source.ct, case.source.mr
    if mr is None:
        raise OptionError(
            "a registration object needs an MR that came as DICOM: it names the MR's "
            "frame of reference"
        )
    ct_from_mr = _invert(np.asarray(mr_from_ct, dtype=np.float64))
    dataset = case.start(
        SpatialRegistrationStorage,
        modality="REG",
        series="registration",
        series_number=SERIES_NUMBER,
        description="Registration of the MR to the CT",
    )
    dataset.BodyPartExamined = BODY_PART
    dataset.InstanceNumber = 1
    dataset.ContentLabel = "MR_TO_CT"
    dataset.ContentDescription = "MR registered to the planning CT"
    dataset.ContentCreatorName = ""
    add_common_references(dataset, case.source)
    shared = ct.frame_of_reference_uid == mr.frame_of_reference_uid
    dataset.RegistrationSequence = Sequence(
        [
            _make_item(ct, np.eye(4), SAME_FRAME),
            _make_item(mr, ct_from_mr, _how_found(case), names_frame=not shared),
        ]
    )
    return dataset


def _how_found(case: DicomCase) -> Code | None:
    """Return the registration's type; None for the clinic's own, which is unknown."""
    return BY_CONTENT if case.source.registration is None else None


def _make_item(
    series: SeriesSource,
    matrix: npt.NDArray[np.float64],
    how: Code | None,
    *,
    names_frame: bool = True,
) -> Dataset:
    """Return the item of one image.

    Args:
        series: The image.
        matrix: Maps its points to the CT's frame of reference.
        how: The registration's type, if it is known.
        names_frame: Whether its frame of reference tells it from the other image; if
            not, only its instances say which image is meant.
    """
    transformation = Dataset()
    transformation.FrameOfReferenceTransformationMatrixType = _type_of(matrix)
    transformation.FrameOfReferenceTransformationMatrix = _as_text(matrix)
    registration = Dataset()
    registration.MatrixSequence = Sequence([transformation])
    registration.RegistrationTypeCodeSequence = Sequence(
        [make_code(*how)] if how else []
    )
    item = Dataset()
    if names_frame:
        item.FrameOfReferenceUID = series.frame_of_reference_uid
    item.ReferencedImageSequence = Sequence(list_instances(series))
    item.MatrixRegistrationSequence = Sequence([registration])
    return item


def _invert(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    if not np.isfinite(matrix).all() or np.linalg.det(matrix[:3, :3]) <= 0.0:
        raise OptionError("the registration's matrix is not finite and invertible")
    return np.asarray(np.linalg.inv(matrix))


def _type_of(matrix: npt.NDArray[np.float64]) -> str:
    linear = matrix[:3, :3]
    deviation = float(np.abs(linear @ linear.T - np.eye(3)).max())
    return "RIGID" if deviation <= RIGID_TOLERANCE else "AFFINE"


def _as_text(matrix: npt.NDArray[np.float64]) -> list[str]:
    """Return the elements row by row, each with as many digits as 16 letters hold."""
    cleaned = np.where(np.abs(matrix) < SMALLEST_NUMBER, 0.0, matrix)
    cleaned[3] = (0.0, 0.0, 0.0, 1.0)
    return [format_number_as_ds(float(value)) for value in cleaned.ravel()]
