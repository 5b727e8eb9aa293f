"""Frames: the single slices of a series, wherever their description stands.

A classic instance is one frame and describes itself. An enhanced one has many, and
functional groups (PS3.3 C.7.6.16) that describe each frame or all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Vector
from hanseg_shared.io.dicom.attributes import Attributes, describe_tag
from hanseg_shared.io.dicom.header import Header
from hanseg_shared.io.dicom.sop_classes import MULTI_FRAME

CLASSIC_TRAITS = (
    "ImageType",
    "ComplexImageComponent",
    "EchoTime",
    "DiffusionBValue",
    "InversionTime",
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "AcquisitionNumber",
    "KVP",
    "ConvolutionKernel",
    "AcquisitionTime",
)
"""In what slices at one place may differ, the telling attributes first."""

FRAME_TRAITS = (
    ("StackID", "FrameContentSequence"),
    ("FrameType", "MRImageFrameTypeSequence"),
    ("FrameType", "CTImageFrameTypeSequence"),
    ("ComplexImageComponent", "MRImageFrameTypeSequence"),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("DiffusionBValue", "MRDiffusionSequence"),
    ("TemporalPositionIndex", "FrameContentSequence"),
    ("NominalPercentageOfCardiacPhase", "CardiacSynchronizationSequence"),
    ("FrameAcquisitionNumber", "FrameContentSequence"),
    ("KVP", "CTXRayDetailsSequence"),
    ("ConvolutionKernel", "CTReconstructionSequence"),
)
"""The same of frames, each with the functional group that holds it."""

_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


@dataclass(frozen=True, slots=True)
class Rescale:
    """How stored values become values: ``stored * slope + intercept``.

    Attributes:
        slope: Rescale Slope (0028,1053).
        intercept: Rescale Intercept (0028,1052).
        type: Rescale Type (0028,1054): the unit of the outcome; may be empty.
    """

    slope: float
    intercept: float
    type: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One slice: where it is, and how its stored values become values.

    Attributes:
        header: The header of its file.
        number: Its number in an instance of several, from 1 on; None in a classic one.
        position: Image Position (Patient) (0020,0032), in mm LPS.
        orientation: Image Orientation (Patient) (0020,0037): the directions of a row
            and of a column.
        spacing_mm: Pixel Spacing (0028,0030): between rows, between columns.
        rescale: None without Rescale Slope and Intercept.
        tilt_degrees: Gantry/Detector Tilt (0018,1120), 0 without one.
        traits: In what it may differ from another frame at the same place, by keyword.
    """

    header: Header
    number: int | None
    position: Vector
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float]
    rescale: Rescale | None
    tilt_degrees: float
    traits: Mapping[str, str]

    @property
    def name(self) -> str:
        """What messages call it: the sender's file name, and the frame."""
        if self.number is None:
            return self.header.name
        return f"{self.header.name}, frame {self.number}"


def read_frames(header: Header) -> list[Frame]:
    """Return the frames of an instance, in their order.

    Raises:
        ImageContentError: Their place is not described, or wrongly.
    """
    if header.sop_class in MULTI_FRAME:
        return _read_enhanced(header)
    count = header.attributes.number("NumberOfFrames")
    if count is not None and count != 1:
        header.attributes.refuse(
            "NumberOfFrames",
            f"is {count:g} in an image that has one frame by its kind, and nothing "
            "says where each is",
            "export the series as single-frame CT or MR",
        )
    attributes = header.attributes
    return [
        _make_frame(
            header,
            None,
            (attributes, attributes, attributes, attributes),
            tilt=attributes,
            traits={key: _trait(attributes, key) for key in CLASSIC_TRAITS},
        )
    ]


def _read_enhanced(header: Header) -> list[Frame]:
    attributes = header.attributes
    count = int(attributes.count("NumberOfFrames"))
    each, shared = (attributes.items(keyword) for keyword in _GROUPS)
    if len(each) != count:
        found = f"has {len(each)} items for {count} frames" if each else "is missing"
        attributes.refuse(
            _GROUPS[0],
            f"{found}, so that nothing says where each frame is",
            "export the series with its functional groups, or as single-frame CT or MR",
        )
    return [
        _read_frame(header, number, (own, *shared[:1]))
        for number, own in enumerate(each, 1)
    ]


def _read_frame(header: Header, number: int, groups: tuple[Attributes, ...]) -> Frame:
    name = f"{header.name}, frame {number}"
    values = _find_group(groups, "PixelValueTransformationSequence")
    return _make_frame(
        header,
        number,
        (
            _need_group(groups, "PlanePositionSequence", name),
            _need_group(groups, "PlaneOrientationSequence", name),
            _need_group(groups, "PixelMeasuresSequence", name),
            values,
        ),
        tilt=_find_group(groups, "CTAcquisitionDetailsSequence"),
        traits={
            key: _trait(group, key)
            for key, sequence in FRAME_TRAITS
            if (group := _find_group(groups, sequence)) is not None
        },
    )


def _make_frame(
    header: Header,
    number: int | None,
    groups: tuple[Attributes, Attributes, Attributes, Attributes | None],
    *,
    tilt: Attributes | None,
    traits: Mapping[str, str],
) -> Frame:
    """Return a frame of what says its position, orientation, spacing and values."""
    position, orientation, measures, values = groups
    x, y, z = position.vector("ImagePositionPatient", 3)
    between_rows, between_columns = measures.vector("PixelSpacing", 2)
    degrees = tilt.number("GantryDetectorTilt") if tilt is not None else None
    return Frame(
        header=header,
        number=number,
        position=(x, y, z),
        orientation=orientation.vector("ImageOrientationPatient", 6),
        spacing_mm=(between_rows, between_columns),
        rescale=None if values is None else _read_rescale(values),
        tilt_degrees=degrees or 0.0,
        traits=traits,
    )


def _read_rescale(values: Attributes) -> Rescale | None:
    slope, intercept = values.number("RescaleSlope"), values.number("RescaleIntercept")
    if slope is None or intercept is None:
        return None
    return Rescale(slope, intercept, values.text("RescaleType"))


def _find_group(groups: tuple[Attributes, ...], keyword: str) -> Attributes | None:
    """Return a functional group's item, the frame's own before the shared one."""
    found = (group.item(keyword) for group in groups)
    return next((item for item in found if item is not None), None)


def _need_group(groups: tuple[Attributes, ...], keyword: str, name: str) -> Attributes:
    found = _find_group(groups, keyword)
    if found is None:
        raise ImageContentError(
            f"{name}: {describe_tag(keyword)} is missing, so that nothing says where "
            "the frame is; export the series with its functional groups, or as "
            "single-frame CT or MR"
        )
    return found


def _trait(attributes: Attributes, keyword: str) -> str:
    return "\\".join(attributes.texts(keyword))
