"""A Spatial Registration object that was sent along, read as one matrix in mm LPS.

Each item of the Registration Sequence maps a frame of reference to one that all items
share, the registered coordinate system (PS3.3 C.20.2). The CT's points go there by the
CT's item and on to the MR by the inverse of the MR's.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.dicom.attributes import Attributes
from hanseg_shared.io.dicom.sop_classes import SPATIAL_REGISTRATION
from hanseg_shared.io.dicom.source import SentRegistration

DEFORMABLE_REGISTRATION = "1.2.840.10008.5.1.4.1.1.66.3"
"""A SOP class (PS3.4 B.5)."""

MATRIX_TYPES = ("RIGID", "RIGID_SCALE", "AFFINE")
"""Values of Frame of Reference Transformation Matrix Type (0070,030C)."""

LAST_ROW_TOLERANCE = 1e-6
"""How far the last row may be from 0 0 0 1."""

SMALLEST_DETERMINANT = 0.1
"""Below it a matrix squeezes space flat; no scanner is wrong by so much."""

EDGE_MM = 200.0
SAME_PLACE_MM = 0.01
"""Two matrices are the same if they put no corner of a cube of twice the first length
farther apart than the second."""

Matrix4 = Float[np.ndarray, "4 4"]


def read_sent_registration(
    dataset: Dataset,
    *,
    ct_frame: str,
    mr_frame: str,
    name: str,
    ct_images: Collection[str] = (),
    mr_images: Collection[str] = (),
) -> SentRegistration:
    """Return what a Spatial Registration object says of a CT and an MR.

    An item belongs to the image whose frame of reference it names; one that names no
    frame, or the frame that both images have, to the image whose instances it lists.
    The image whose frame is the registered coordinate system needs no item; of two that
    share their frame, the CT.

    Args:
        dataset: The object.
        ct_frame: Frame of Reference UID of the CT.
        mr_frame: Frame of Reference UID of the MR.
        name: What the file was called, for messages.
        ct_images: SOP Instance UIDs of the CT.
        mr_images: SOP Instance UIDs of the MR.

    Raises:
        ImageContentError: It is another kind of object, is about other images, or its
            matrices contradict each other or cannot be used.
    """
    attributes = Attributes(name, dataset)
    _require_spatial_registration(attributes)
    items = [_Item.of(each) for each in attributes.items("RegistrationSequence")]
    ct, mr = _sides(ct_frame, mr_frame, ct_images, mr_images)
    if not any(ct.owns(item) or mr.owns(item) for item in items):
        _raise(
            name,
            "is about other images: no item of its Registration Sequence (0070,0308) "
            "names the frame of reference (0020,0052) of this CT or this MR, or lists "
            "one of their images",
        )
    registered = attributes.text("FrameOfReferenceUID")
    rcs_from_ct = ct.find_matrix(items, registered, name)
    rcs_from_mr = mr.find_matrix(items, registered, name)
    return SentRegistration(
        sop_instance_uid=attributes.uid("SOPInstanceUID"),
        mr_from_ct=_rows(np.linalg.inv(rcs_from_mr) @ rcs_from_ct),
    )


def registers(
    registration: Attributes,
    *,
    ct_frame: str,
    mr_frame: str,
    ct_images: Collection[str] = (),
    mr_images: Collection[str] = (),
) -> bool:
    """Whether a Spatial Registration registers a CT and an MR with each other.

    One that relates either of them to a third image does not.

    Args:
        registration: The object.
        ct_frame: Frame of Reference UID of the CT.
        mr_frame: Frame of Reference UID of the MR.
        ct_images: SOP Instance UIDs of the CT.
        mr_images: SOP Instance UIDs of the MR.
    """
    items = [_Item.of(each) for each in registration.items("RegistrationSequence")]
    registered = registration.text("FrameOfReferenceUID")
    sides = _sides(ct_frame, mr_frame, ct_images, mr_images)
    return any(side.owns(item) for side in sides for item in items) and all(
        side.stays_in(registered) or any(side.owns(item) for item in items)
        for side in sides
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """An item of the Registration Sequence.

    Attributes:
        frame: The frame of reference that it names; may be empty.
        images: SOP Instance UIDs of the images that it lists; may be empty.
        attributes: The item itself.
    """

    frame: str
    images: frozenset[str]
    attributes: Attributes

    @classmethod
    def of(cls, item: Attributes) -> _Item:
        """Read what an item is about."""
        listed = item.items("ReferencedImageSequence")
        images = frozenset(each.text("ReferencedSOPInstanceUID") for each in listed)
        return cls(item.text("FrameOfReferenceUID"), images, item)


@dataclass(frozen=True, slots=True)
class _Side:
    """The CT or the MR, and how an item is recognised as about it.

    Attributes:
        role: ``CT`` or ``MR``.
        frame: Its frame of reference.
        distinct: Whether the other image has another frame of reference.
        images: Its SOP Instance UIDs.
    """

    role: str
    frame: str
    distinct: bool
    images: frozenset[str]

    def owns(self, item: _Item) -> bool:
        """Whether an item is about this image."""
        if self.distinct and item.frame:
            return item.frame == self.frame
        return bool(item.images & self.images)

    def stays_in(self, registered: str) -> bool:
        """Whether the image needs no item, as it lies in this coordinate system.

        Where both have one frame of reference it does not tell them apart: the CT
        stays, and the MR needs an item.
        """
        return registered == self.frame and (self.distinct or self.role == "CT")

    def find_matrix(self, items: list[_Item], registered: str, name: str) -> Matrix4:
        """Return what maps this image to the registered coordinate system."""
        matrices = [_compose(item.attributes) for item in items if self.owns(item)]
        if not matrices and self.stays_in(registered):
            return np.eye(4)
        if not matrices:
            _raise(
                name,
                f"does not register the {self.role}: no item of its Registration "
                f"Sequence (0070,0308) names the {self.role}'s frame of reference "
                "(0020,0052) or lists one of its images",
            )
        if not all(_are_same(matrices[0], other) for other in matrices[1:]):
            _raise(
                name,
                f"has {len(matrices)} items about the {self.role} in its Registration "
                "Sequence (0070,0308) that contradict each other; send the one to use",
            )
        return matrices[0]


def _sides(
    ct_frame: str,
    mr_frame: str,
    ct_images: Collection[str],
    mr_images: Collection[str],
) -> tuple[_Side, _Side]:
    distinct = ct_frame != mr_frame
    return (
        _Side("CT", ct_frame, distinct, frozenset(ct_images)),
        _Side("MR", mr_frame, distinct, frozenset(mr_images)),
    )


def _require_spatial_registration(dataset: Attributes) -> None:
    kind = dataset.text("SOPClassUID")
    if kind == DEFORMABLE_REGISTRATION:
        _raise(
            dataset.name,
            "is a Deformable Spatial Registration (0008,0016); only rigid and affine "
            "registrations are taken, or none: the service then finds its own",
        )
    if kind != SPATIAL_REGISTRATION:
        words = f"is no Spatial Registration (0008,0016 is {kind[:64] or 'empty'})"
        _raise(dataset.name, words)
    if not dataset.items("RegistrationSequence"):
        _raise(dataset.name, "has an empty Registration Sequence (0070,0308)")


def _compose(item: Attributes) -> Matrix4:
    """Return the matrix of an item: the first of several is applied first."""
    registrations = item.items("MatrixRegistrationSequence")
    if len(registrations) != 1:
        _raise(
            item.name,
            f"has an item with {len(registrations)} items in its Matrix Registration "
            "Sequence (0070,0309), not 1",
        )
    together = np.eye(4)
    matrices = registrations[0].items("MatrixSequence")
    if not matrices:
        _raise(item.name, "has an item without Matrix Sequence (0070,030A)")
    for each in matrices:
        together = _read_matrix(each) @ together
    return together


def _read_matrix(item: Attributes) -> Matrix4:
    kind = item.text("FrameOfReferenceTransformationMatrixType")
    if kind not in MATRIX_TYPES:
        _raise(
            item.name,
            "has the Frame of Reference Transformation Matrix Type (0070,030C) "
            f"{kind[:16] or '(none)'}, not one of {', '.join(MATRIX_TYPES)}",
        )
    numbers = item.vector("FrameOfReferenceTransformationMatrix", 16)
    return _require_usable(np.array(numbers).reshape(4, 4), item.name)


def _require_usable(matrix: Matrix4, name: str) -> Matrix4:
    """Return a matrix that can be used, with the last row 0 0 0 1."""
    if np.abs(matrix[3] - (0.0, 0.0, 0.0, 1.0)).max() > LAST_ROW_TOLERANCE:
        row = " ".join(f"{value:g}" for value in matrix[3])
        _raise_matrix(name, f"has the last row {row}, not 0 0 0 1")
    determinant = float(np.linalg.det(matrix[:3, :3]))
    if determinant < 0.0:
        _raise_matrix(name, f"swaps left and right (determinant {determinant:.3g})")
    if determinant < SMALLEST_DETERMINANT:
        _raise_matrix(name, f"cannot be inverted (determinant {determinant:.3g})")
    return np.vstack([matrix[:3], (0.0, 0.0, 0.0, 1.0)])


def _are_same(one: Matrix4, other: Matrix4) -> bool:
    corners = np.array(np.meshgrid(*[(-EDGE_MM, EDGE_MM)] * 3)).reshape(3, -1)
    apart = (one - other)[:3, :3] @ corners + (one - other)[:3, 3:]
    return bool(np.linalg.norm(apart, axis=0).max() <= SAME_PLACE_MM)


def _rows(matrix: Matrix4) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in matrix)


def _raise(name: str, what: str) -> NoReturn:
    raise ImageContentError(f"the registration {name} {what}")


def _raise_matrix(name: str, what: str) -> NoReturn:
    _raise(name, f"cannot be used: a matrix (3006,00C6) {what}")
