"""What is kept of a DICOM source once its images are volumes.

`DicomSource` says where every slice is and how it is called, which is what results
need to refer to it; it holds nothing of the patient but unique identifiers.
`DicomIdentity` holds what says whose images they are; it is kept in a file of its own
and comes back only in results.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from hanseg_shared.document import Document
from hanseg_shared.grid import Grid, Matrix, Vector

SOURCE_FILE = "dicom_source.json"
"""Under which name a job keeps its `DicomSource`."""

IDENTITY_FILE = "dicom_identity.json"
"""Under which name a job keeps its `DicomIdentity`."""

Uid = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)*$", max_length=64)]
"""A DICOM unique identifier (PS3.5 section 9)."""


class SliceSource(Document):
    """One slice of a series: an instance, or a frame of one.

    Attributes:
        sop_instance_uid: SOP Instance UID (0008,0018).
        frame: Number of the frame, from 1 on; None in a single-frame instance.
        position: Image Position (Patient) (0020,0032): the centre of the first
            pixel, in mm LPS.
        index: The slice of the volume, along z from 0 on, that shows it.
    """

    sop_instance_uid: Uid
    frame: int | None = None
    position: Vector
    index: int


class SeriesSource(Document):
    """One CT or MR series, and the volume that was made of it.

    The volume's x axis runs along a row of pixels, y down a column, z along their
    cross product, whatever way the slices were numbered. Where slices are evenly
    spaced and none is missing, slice k of `slices` is slice k of the volume.

    Attributes:
        sop_class_uid: SOP Class UID (0008,0016) of all instances.
        modality: Modality (0008,0060).
        series_instance_uid: Series Instance UID (0020,000E).
        study_instance_uid: Study Instance UID (0020,000D).
        frame_of_reference_uid: Frame of Reference UID (0020,0052).
        patient_position: Patient Position (0018,5100), such as ``HFS``; may be empty.
        rows: Pixels down a column.
        columns: Pixels along a row.
        size: Voxels of the volume along x, y, z.
        spacing: Their distance in mm.
        origin: The centre of the first voxel, in mm LPS.
        direction: Rows of the matrix whose columns are the axes' unit vectors.
        slices: Along z, ascending.
        even: Whether the slices were evenly spaced and none was missing; otherwise the
            volume was resampled, and contours belong on `slices` only.
        padded: Whether padding values were replaced by air.
        remarks: What a person should know of the series.
    """

    sop_class_uid: Uid
    modality: Literal["CT", "MR"]
    series_instance_uid: Uid
    study_instance_uid: Uid
    frame_of_reference_uid: Uid
    patient_position: str = ""
    rows: int
    columns: int
    size: tuple[int, int, int]
    spacing: Vector
    origin: Vector
    direction: Matrix
    slices: tuple[SliceSource, ...]
    even: bool = True
    padded: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def grid(self) -> Grid:
        """The grid of the volume."""
        return Grid(self.size, self.spacing, self.origin, self.direction)


class SentRegistration(Document):
    """A spatial registration that was sent along with CT and MR.

    Attributes:
        sop_instance_uid: SOP Instance UID (0008,0018) of the registration object.
        mr_from_ct: Rows of the homogeneous 4 x 4 matrix that maps points of the CT's
            frame of reference to the MR's, in mm LPS.
    """

    sop_instance_uid: Uid
    mr_from_ct: tuple[tuple[float, float, float, float], ...]


class DicomSource(Document):
    """Where a case's volumes came from.

    Attributes:
        ct: The planning CT.
        mr: The MR, if one was sent as DICOM.
        registration: The clinic's own registration, if one was sent.
        remarks: What a person should know of the choice, such as series left out.
    """

    ct: SeriesSource
    mr: SeriesSource | None = None
    registration: SentRegistration | None = None
    remarks: tuple[str, ...] = ()


class DicomIdentity(Document):
    """Whose images they are, as the CT's headers say it.

    Attributes:
        character_set: Values of Specific Character Set (0008,0005).
        attributes: The attributes of the patient and study modules (PS3.3 C.7.1.1,
            C.7.2.1) that the CT has, in DICOM's JSON model (PS3.18 F.2), by tag.
    """

    character_set: tuple[str, ...] = ()
    attributes: dict[str, dict[str, Any]] = Field(default_factory=dict)

    def texts(self) -> tuple[str, ...]:
        """Return what the patient module (group 0010) says: name, number and so on."""
        found = [each for tag, each in self.attributes.items() if tag[:4] == "0010"]
        return tuple(_texts(found))


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401 - DICOM's JSON
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts([each for key, each in value.items() if key != "vr"])
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
