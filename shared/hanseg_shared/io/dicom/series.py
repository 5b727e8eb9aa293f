"""Series: the files of one, and the stack of slices they make if it can be used."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hanseg_shared.errors import ImageContentError, ImageTooLargeError
from hanseg_shared.io.dicom.attributes import describe_tag
from hanseg_shared.io.dicom.contrasts import pick_contrast, require_one_image
from hanseg_shared.io.dicom.frames import Frame, read_frames
from hanseg_shared.io.dicom.geometry import (
    Stack,
    require_no_tilt,
    require_one_geometry,
    stack_frames,
)
from hanseg_shared.io.dicom.header import Header
from hanseg_shared.io.dicom.pixel_format import PixelFormat
from hanseg_shared.io.dicom.sop_classes import MODALITIES, Modality
from hanseg_shared.io.header_text import quote
from hanseg_shared.io.limits import Limits

HU_TYPES = ("", "HU", "HU_MOD", "US")
"""Values of Rescale Type (0028,1054) of a CT in HU; ``US`` says nothing (PS3.3
C.11.1.1.2), and many scanners write it."""

HU_CONTRASTS = (
    "NONE",
    "RESAMPLED",
    "FILTERED",
    "MASKED",
    "MEAN",
    "MEDIAN",
    "MAXIMUM",
    "MINIMUM",
    "ENERGY_PROP_WT",
)
"""Derived Pixel Contrast (PS3.3 C.8.16.1.4), the fourth value of an enhanced CT's image
type, where values are HU; others name what a map shows, such as blood flow."""

LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
"""JPEG extended and near-lossless JPEG-LS. JPEG 2000 (1.2.840.10008.1.2.4.91) may be
either; Lossy Image Compression (0028,2110) says it then."""

_LOCALIZER = "LOCALIZER"
_DERIVED = "DERIVED"


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """The files of one series.

    Attributes:
        uid: Series Instance UID (0020,000E).
        modality: What its images are.
        headers: By name, each instance once.
        remarks: What a person should know of the files.
    """

    uid: str
    modality: Modality
    headers: tuple[Header, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_derived(self) -> bool:
        """Whether its first image says that it was computed from others."""
        return _DERIVED in self.headers[0].attributes.texts("ImageType")


def group_series(headers: Iterable[Header]) -> list[Series]:
    """Return the CT and MR series among files, by UID.

    Raises:
        ImageContentError: Two files claim to be the same instance and differ.
    """
    groups: dict[tuple[str, Modality], list[Header]] = {}
    for header in sorted(headers, key=lambda each: each.name):
        modality = MODALITIES.get(header.sop_class)
        if modality is not None:
            groups.setdefault((header.series, modality), []).append(header)
    return [
        _make_series(uid, modality, groups[uid, modality])
        for uid, modality in sorted(groups)
    ]


def stack_series(series: Series, limits: Limits) -> tuple[Stack, tuple[str, ...]]:
    """Return a series's slices in order, and remarks on them; reads no pixel.

    Raises:
        ImageContentError: Its images are not of one kind, have no pixels, or make no
            volume; the message names file, tag and remedy.
        ImageTooLargeError: It is beyond the caps.
    """
    headers, remarks = _without_localizers(series)
    for header in headers:
        if header.pixels is None:
            header.attributes.refuse(
                "PixelData", "is missing", "send the images, not their headers"
            )
    _require_equal(headers)
    formats = [PixelFormat.of(header.attributes) for header in headers]
    first = formats[0]
    frames = [frame for header in headers for frame in read_frames(header)]
    _require_few_voxels(len(frames), first, headers[0], limits)
    require_no_tilt(frames)
    if series.modality == "CT":
        _require_hounsfield(frames)
        _require_no_map(frames)
    require_one_geometry(frames, rows=first.rows, columns=first.columns)
    if series.modality == "CT":
        require_one_image(frames)
    else:
        frames, chosen = pick_contrast(frames)
        remarks += chosen
    stack = stack_frames(frames, rows=first.rows, columns=first.columns, limits=limits)
    remarks += (*stack.remarks, *_pixel_remarks(series, headers, formats))
    return stack, (*series.remarks, *remarks)


def _make_series(uid: str, modality: Modality, headers: list[Header]) -> Series:
    kept: dict[str, Header] = {}
    twice = 0
    for header in headers:
        other = kept.setdefault(header.sop_instance, header)
        if other is header:
            continue
        if not filecmp.cmp(other.file.path, header.file.path, shallow=False):
            header.attributes.refuse(
                "SOPInstanceUID",
                f"is that of {other.name} too, but the files differ",
                "send each image once",
            )
        twice += 1
    remarks = (f"{_count(twice, 'file')} sent twice, used once",) if twice else ()
    return Series(uid, modality, tuple(kept.values()), remarks)


def _without_localizers(series: Series) -> tuple[list[Header], tuple[str, ...]]:
    kept = [
        header
        for header in series.headers
        if _LOCALIZER not in header.attributes.texts("ImageType")
    ]
    if not kept:
        series.headers[0].attributes.refuse(
            "ImageType",
            "says LOCALIZER: a scout view, not a slice",
            "send the axial series",
        )
    left_out = len(series.headers) - len(kept)
    if not left_out:
        return kept, ()
    return kept, (f"{_count(left_out, 'localizer')} among its slices left out",)


def _require_equal(headers: Sequence[Header]) -> None:
    """Refuse images that differ in what all of a series must have alike."""
    first = headers[0]
    for keyword, what, read in _EQUAL:
        expected = read(first)
        for header in headers[1:]:
            if read(header) != expected:
                header.attributes.refuse(
                    keyword,
                    f"differs from that of {first.name}: one series with several "
                    f"{what}",
                    "export each as a series of its own",
                )


def _uid(keyword: str) -> Callable[[Header], object]:
    return lambda header: header.attributes.uid(keyword)


def _count_of(keyword: str) -> Callable[[Header], object]:
    return lambda header: header.attributes.count(keyword)


_EQUAL: tuple[tuple[str, str, Callable[[Header], object]], ...] = (
    ("SOPClassUID", "kinds of images", lambda header: header.sop_class),
    ("StudyInstanceUID", "studies", _uid("StudyInstanceUID")),
    ("FrameOfReferenceUID", "frames of reference", _uid("FrameOfReferenceUID")),
    ("Rows", "sizes", _count_of("Rows")),
    ("Columns", "sizes", _count_of("Columns")),
)


def _require_few_voxels(
    frames: int, pixels: PixelFormat, first: Header, limits: Limits
) -> None:
    voxels = frames * pixels.rows * pixels.columns
    longest = max(frames, pixels.rows, pixels.columns)
    if voxels > limits.max_voxels or longest > limits.max_axis:
        raise ImageTooLargeError(
            f"{first.name}: its series has {pixels.columns} x {pixels.rows} x {frames} "
            f"voxels by {describe_tag('Columns')} and {describe_tag('Rows')}; at most "
            f"{limits.max_voxels} in all and {limits.max_axis} along an axis are "
            "allowed: send the head and neck only"
        )


def _require_hounsfield(frames: Sequence[Frame]) -> None:
    for frame in frames:
        rescale = frame.rescale
        if rescale is None or rescale.slope == 0:
            slope, intercept = map(describe_tag, ("RescaleSlope", "RescaleIntercept"))
            raise ImageContentError(
                f"{frame.name}: {slope} or {intercept} is missing or no number that "
                "gives Hounsfield units; export the CT with its rescale"
            )
        if rescale.type not in HU_TYPES:
            raise ImageContentError(
                f"{frame.name}: {describe_tag('RescaleType')} is "
                f"{quote(rescale.type)}, so its values are no Hounsfield units; "
                "send the CT itself, not a map computed from it"
            )


def _require_no_map(frames: Sequence[Frame]) -> None:
    """Refuse an enhanced CT whose frames are maps of something else than HU."""
    for frame in frames:
        shown = frame.traits.get("FrameType", "").split("\\")
        if len(shown) > 3 and shown[3] not in HU_CONTRASTS:
            raise ImageContentError(
                f"{frame.name}: {describe_tag('FrameType')} says {quote(shown[3])}: "
                "it is a map computed from a CT, not in Hounsfield units; send the CT "
                "itself"
            )


def _pixel_remarks(
    series: Series, headers: Sequence[Header], formats: Sequence[PixelFormat]
) -> tuple[str, ...]:
    remarks = []
    if series.is_derived:
        remarks.append(
            f"{describe_tag('ImageType')} says DERIVED: its images were computed from "
            "others"
        )
    if any(_is_lossy(header) for header in headers):
        remarks.append(
            "its pixels were compressed with loss, which may move contours slightly"
        )
    if any(pixels.inverted for pixels in formats):
        remarks.append(
            f"{describe_tag('PhotometricInterpretation')} is MONOCHROME1, which says "
            "how it is shown; its values are used as they are"
        )
    return tuple(remarks)


def _is_lossy(header: Header) -> bool:
    if header.attributes.text("LossyImageCompression") == "01":
        return True
    return header.transfer_syntax_uid in LOSSY_SYNTAXES


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
