"""Whether a registration object that was read back maps the MR onto the CT.

A Spatial Registration (PS3.3 C.20.2) has an item for each image; its matrix maps points
of the item's frame of reference to the object's own, which is the CT's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.untrusted import items_of, reading, text
from hanseg_shared.errors import OutputError
from hanseg_shared.io.dicom.source import SeriesSource

MOST_APART_MM = 0.01
"""How far from its place a corner of the CT may come back from the MR."""

RIGID_TOLERANCE = 1e-5
"""Largest deviation of ``R R^T`` from identity of a matrix that is called RIGID."""

Matrix = npt.NDArray[np.float64]


def require_matrices(dataset: Dataset, mr_from_ct: Matrix, case: DicomCase) -> None:
    """Raise unless the matrices bring points of the MR to where the CT has them.

    Args:
        dataset: The registration object.
        mr_from_ct: The homogeneous 4 x 4 matrix from the CT to the MR, in mm LPS.
        case: Its CT gives the points; its MR came as DICOM.

    Raises:
        OutputError: They do anything else.
    """
    ct, mr = case.source.ct, case.source.mr
    if mr is None:
        raise OutputError("there is a registration, but no MR that came as DICOM")
    with reading("a registration"):
        items = items_of(dataset, "RegistrationSequence")
        if len(items) != 2:
            raise OutputError(
                f"RegistrationSequence (0070,0308) has {len(items)} items, not one for "
                "the CT and one for the MR"
            )
        of_ct, of_mr = _matrix(_item_of(items, ct)), _matrix(_item_of(items, mr))
    _require_maps(of_ct, np.eye(4), ct, "the CT's matrix is not the identity")
    inverse = np.asarray(np.linalg.inv(mr_from_ct), dtype=np.float64)
    if (
        _apart_mm(of_mr, inverse, ct)
        <= MOST_APART_MM
        < _apart_mm(of_mr, mr_from_ct, ct)
    ):
        raise OutputError("the MR's matrix maps the CT to the MR, not the MR to the CT")
    _require_maps(of_mr, mr_from_ct, ct, "the MR's matrix is not the registration's")


def _item_of(items: list[Dataset], series: SeriesSource) -> Dataset:
    """Return the item of a series: that which refers to its images."""
    images = {each.sop_instance_uid for each in series.slices}
    for item in items:
        named = {
            text(each, "ReferencedSOPInstanceUID")
            for each in items_of(item, "ReferencedImageSequence")
        }
        if named != images:
            continue
        frame = item.get("FrameOfReferenceUID", series.frame_of_reference_uid)
        if frame != series.frame_of_reference_uid:
            raise OutputError(
                f"FrameOfReferenceUID (0020,0052) of the {series.modality}'s item is "
                "not that of its images"
            )
        return item
    raise OutputError(
        f"no item of RegistrationSequence (0070,0308) refers to the images of the "
        f"{series.modality}"
    )


def _matrix(item: Dataset) -> Matrix:
    """Return an item's homogeneous 4 x 4 matrix."""
    registration = items_of(item, "MatrixRegistrationSequence")
    matrices = [each for r in registration for each in items_of(r, "MatrixSequence")]
    if len(matrices) != 1:
        raise OutputError(f"an item has {len(matrices)} matrices, not one")
    numbers = matrices[0].FrameOfReferenceTransformationMatrix
    matrix = np.array([float(each) for each in numbers]).reshape(4, 4)
    kind = text(matrices[0], "FrameOfReferenceTransformationMatrixType")
    linear = matrix[:3, :3]
    deviation = float(np.abs(linear @ linear.T - np.eye(3)).max())
    if kind == "RIGID" and not deviation <= RIGID_TOLERANCE:
        raise OutputError(
            f"a matrix is called RIGID, but deviates by {deviation:.2g} from a "
            f"rotation (at most {RIGID_TOLERANCE:.0e})"
        )
    if not np.array_equal(matrix[3], (0.0, 0.0, 0.0, 1.0)):
        raise OutputError("a matrix does not end in 0, 0, 0, 1")
    return matrix


def _require_maps(
    there: Matrix, back: Matrix, series: SeriesSource, otherwise: str
) -> None:
    apart = _apart_mm(there, back, series)
    if not apart <= MOST_APART_MM:
        raise OutputError(
            f"{otherwise}: corners of the CT come back {apart:.3g} mm away, and at "
            f"most {MOST_APART_MM} is allowed"
        )


def _apart_mm(there: Matrix, back: Matrix, series: SeriesSource) -> float:
    """Return how far corners of a series lie from where two matrices bring them."""
    corners = np.column_stack([series.grid.corners(), np.ones(8)]).T
    moved = there @ back @ corners
    return float(np.linalg.norm((moved - corners)[:3], axis=0).max())
