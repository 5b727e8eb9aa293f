"""Per-frame functional groups of segmentations, encoded fast.

Thirty organs on 200 slices have some 3,000 frames of 25 elements each, which pydicom
writes in 8 s; what frames have in common is encoded once instead, and only the indices
of each are filled in.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.io.dicom.source import SliceSource
from hanseg_shared.organs import Code

_ITEM = b"\xfe\xff\x00\xe0"
_GROUPS = Tag("PerFrameFunctionalGroupsSequence")


class FrameGroups:
    """Collects the functional groups of frames, one after another."""

    def __init__(self, case: DicomCase) -> None:
        self._case = case
        self._slices = case.source.ct.slices
        self._of_slice: dict[int, tuple[bytes, bytes]] = {}
        self._of_segment: dict[int | None, bytes] = {None: b""}
        self._items: list[bytes] = []

    def add(
        self, index: int, dimensions: Sequence[int], *, segment: int | None = None
    ) -> None:
        """Add a frame on a slice of the CT.

        Args:
            index: The slice.
            dimensions: Its Dimension Index Values.
            segment: Its segment's number; None in a label map.
        """
        if index not in self._of_slice:
            each = self._slices[index]
            self._of_slice[index] = (
                _encode("DerivationImageSequence", _derivation(self._case, each)),
                _encode("PlanePositionSequence", _position(each)),
            )
        if segment not in self._of_segment:
            self._of_segment[segment] = _segment_identification(segment)
        derivation, position = self._of_slice[index]
        content = _frame_content(dimensions)
        item = derivation + content + position + self._of_segment[segment]
        self._items.append(_ITEM + struct.pack("<I", len(item)) + item)

    def put_into(self, dataset: Dataset) -> None:
        """Set the collected groups, the last of all, in an object.

        The object is marked as read in Explicit VR Little Endian and in its character
        set, so that pydicom writes the groups as they are.
        """
        value = b"".join(self._items)
        dataset[_GROUPS] = RawDataElement(
            _GROUPS, "SQ", len(value), value, 0, False, True
        )
        characters = dataset.get("SpecificCharacterSet")
        encoding = convert_encodings(characters) if characters else default_encoding
        dataset.set_original_encoding(
            is_implicit_vr=False, is_little_endian=True, character_encoding=encoding
        )


def _encode(keyword: str, item: Dataset) -> bytes:
    """Return a sequence of one item in Explicit VR Little Endian."""
    parent = Dataset()
    setattr(parent, keyword, [item])
    with DicomBytesIO() as file:
        file.is_implicit_VR, file.is_little_endian = False, True
        write_dataset(file, parent)
        return file.getvalue()


def _frame_content(dimensions: Sequence[int]) -> bytes:
    """Return a Frame Content Sequence of indices only, as `_encode` would."""
    values = struct.pack(f"<{len(dimensions)}I", *dimensions)
    element = struct.pack("<HH2sH", 0x0020, 0x9157, b"UL", len(values)) + values
    item = _ITEM + struct.pack("<I", len(element)) + element
    return struct.pack("<HH2sHI", 0x0020, 0x9111, b"SQ", 0, len(item)) + item


def _segment_identification(segment: int | None) -> bytes:
    identification = Dataset()
    identification.ReferencedSegmentNumber = segment
    return _encode("SegmentIdentificationSequence", identification)


def shared_groups(case: DicomCase) -> Dataset:
    """Return the functional groups that all frames have in common."""
    ct = case.source.ct
    axes = np.array(ct.direction)
    orientation, measures, groups = Dataset(), Dataset(), Dataset()
    orientation.ImageOrientationPatient = [_number(v) for v in axes[:, :2].T.ravel()]
    x, y, z = ct.spacing
    measures.PixelSpacing = [_number(y), _number(x)]
    measures.SliceThickness = _number(z)
    if ct.even:
        measures.SpacingBetweenSlices = _number(z)
    groups.PlaneOrientationSequence = [orientation]
    groups.PixelMeasuresSequence = [measures]
    return groups


def _number(value: float) -> str:
    """Return a decimal string of at most 16 characters (PS3.5 6.2)."""
    return next(
        text
        for digits in range(15, 0, -1)
        if len(text := f"{value + 0.0:.{digits}g}") <= 16
    )


def _position(each: SliceSource) -> Dataset:
    item = Dataset()
    item.ImagePositionPatient = [_number(v) for v in each.position]
    return item


def _derivation(case: DicomCase, each: SliceSource) -> Dataset:
    """Return which image of the CT a frame was made from (PS3.3 C.7.6.16.2.6)."""
    source = reference(case, each.sop_instance_uid)
    if each.frame is not None:
        source.ReferencedFrameNumber = each.frame
    source.SpatialLocationsPreserved = "YES"
    purpose = Code("121322", "Source image for image processing operation")
    source.PurposeOfReferenceCodeSequence = [coded(purpose, scheme="DCM")]
    item = Dataset()
    item.SourceImageSequence = [source]
    item.DerivationCodeSequence = [coded(Code("113076", "Segmentation"), scheme="DCM")]
    return item


def reference(case: DicomCase, sop_instance_uid: str) -> Dataset:
    """Return a reference to an instance of the CT (PS3.3 table 10-11)."""
    item = Dataset()
    item.ReferencedSOPClassUID = case.source.ct.sop_class_uid
    item.ReferencedSOPInstanceUID = sop_instance_uid
    return item


def coded(code: Code, *, scheme: str = "SCT") -> Dataset:
    """Return a coded entry (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = scheme
    item.CodeMeaning = code.meaning
    return item
