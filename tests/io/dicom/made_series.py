"""Small DICOM series made from volumes, for tests: any pose, gaps, tilt, multi-frame.

`make_series` gives the data sets of a classic CT or MR series, `make_enhanced` the one
of an enhanced series; a test changes them as it likes, and `write_files` writes them.
Attributes that are equal in all slices are arguments by keyword, such as
``PatientName="Moreau^Zoé"``. Nothing is random: equal arguments give equal files.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import UID, ExplicitVRLittleEndian

from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.volume import Volume

Modality = Literal["CT", "MR"]

CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
MR_CLASS = "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2.1"
ENHANCED_MR_CLASS = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CT_CLASS = "1.2.840.10008.5.1.4.1.1.2.2"
LEGACY_MR_CLASS = "1.2.840.10008.5.1.4.1.1.4.4"

INTERCEPT = -1024
"""Rescale Intercept of a made CT: stored values are HU + 1024."""

POSES: dict[str, tuple[Vector, Vector]] = {
    "HFS": ((1, 0, 0), (0, 1, 0)),
    "HFP": ((-1, 0, 0), (0, -1, 0)),
    "HFDL": ((0, -1, 0), (1, 0, 0)),
    "HFDR": ((0, 1, 0), (-1, 0, 0)),
    "FFS": ((-1, 0, 0), (0, 1, 0)),
    "FFP": ((1, 0, 0), (0, -1, 0)),
    "FFDL": ((0, 1, 0), (1, 0, 0)),
    "FFDR": ((0, -1, 0), (-1, 0, 0)),
}
"""The axial directions of a row and of a column for each Patient Position, as a
scanner shows them that does not turn its images (PS3.3 C.7.3.1.1.2)."""

SAGITTAL: tuple[Vector, Vector] = ((0, 1, 0), (0, 0, -1))
CORONAL: tuple[Vector, Vector] = ((1, 0, 0), (0, 0, -1))


def made_uid(*parts: object) -> str:
    """Return a UID that depends on the parts alone."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:12], 'big')}"


def made_grid(
    size: tuple[int, int, int] = (12, 10, 8),
    *,
    spacing: Vector = (1.0, 1.5, 2.0),
    origin: Vector = (-20.0, -35.0, -50.0),
    axes: tuple[Vector, Vector] = POSES["HFS"],
    upwards: bool = True,
) -> Grid:
    """Return a grid whose rows and columns run along `axes`.

    Its third axis runs along their cross product, or against it if not `upwards`: the
    grid is left-handed then, as a series is whose slices are numbered the other way.
    """
    row, column = (np.array(axis, dtype=float) for axis in axes)
    normal = np.cross(row, column) * (1.0 if upwards else -1.0)
    return Grid(size, spacing, origin, _rows_of(row, column, normal))


def turned(axes: tuple[Vector, Vector], degrees: float) -> tuple[Vector, Vector]:
    """Return axes turned about x, then by half as much about z: an oblique pose."""
    a, b = math.radians(degrees), math.radians(degrees / 2)
    about_x = np.array(
        [[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]]
    )
    about_z = np.array(
        [[math.cos(b), -math.sin(b), 0], [math.sin(b), math.cos(b), 0], [0, 0, 1]]
    )
    row, column = (about_z @ about_x @ np.array(axis, dtype=float) for axis in axes)
    return _vector(row), _vector(column)


def made_volume(
    grid: Grid | None = None, *, lowest: int = -500, marker: int = 1700
) -> Volume:
    """Return values of which 1000 in a row differ, and a marker off the centre.

    The marker is the voxel (x, y, z) = `MARKER`; no other is as bright. The default
    values are HU; an MR's `lowest` must not be negative.
    """
    grid = grid or made_grid()
    ramp = np.arange(grid.voxels) % 1000 + lowest
    array = ramp.reshape(grid.shape).astype(np.int16)
    x, y, z = MARKER
    array[z, y, x] = marker
    return Volume(array, grid)


MARKER = (2, 3, 1)


def marker_of(volume: Volume) -> Vector:
    """Return where the brightest voxel is, in mm LPS."""
    z, y, x = np.unravel_index(int(volume.array.argmax()), volume.array.shape)
    return _vector(volume.grid.index_to_world((x, y, z)))


def make_series(
    volume: Volume,
    modality: Modality = "CT",
    *,
    series: str = "1",
    study: str = "1",
    patient_position: str = "HFS",
    **attributes: Any,
) -> list[FileDataset]:
    """Return a classic series, one data set a slice, in the order of the array's z.

    Args:
        volume: The values, HU for a CT, as whole numbers; its grid says where.
        modality: A CT has a Rescale Intercept of `INTERCEPT`, an MR none.
        series: Names the series: another name, another Series Instance UID.
        study: Names the study, likewise, and its frame of reference.
        patient_position: Patient Position (0018,5100).
        **attributes: More attributes of every slice, by keyword; None removes one.
    """
    sop_class = CT_CLASS if modality == "CT" else MR_CLASS
    slices = []
    for k in range(volume.array.shape[0]):
        dataset = _start(sop_class, modality, (study, series, k))
        _set_common(dataset, modality, study, series, patient_position)
        dataset.InstanceNumber = k + 1
        dataset.update(_plane(volume.grid, k))
        dataset.update(_pixel_format(volume.array.shape[1:]))
        if modality == "CT":
            dataset.RescaleSlope, dataset.RescaleIntercept = 1, INTERCEPT
            dataset.RescaleType = "HU"
        set_attributes(dataset, **attributes)
        set_pixels(dataset, _stored(volume.array[k], modality))
        slices.append(dataset)
    return slices


def make_enhanced(
    volume: Volume,
    modality: Modality = "CT",
    *,
    sop_class: str | None = None,
    series: str = "1",
    study: str = "1",
    patient_position: str = "HFS",
    **attributes: Any,
) -> FileDataset:
    """Return an enhanced multi-frame series: one data set, a frame for each slice.

    Pixel measures and orientation are shared; position and rescale are each frame's.

    Args:
        volume: As `make_series`.
        modality: As `make_series`.
        sop_class: Another SOP class than the enhanced one of the modality.
        series: As `make_series`.
        study: As `make_series`.
        patient_position: As `make_series`.
        **attributes: More attributes of the data set, by keyword; None removes one.
    """
    default = ENHANCED_CT_CLASS if modality == "CT" else ENHANCED_MR_CLASS
    dataset = _start(sop_class or default, modality, (study, series, "enhanced"))
    _set_common(dataset, modality, study, series, patient_position)
    dataset.InstanceNumber = 1
    count = volume.array.shape[0]
    dataset.NumberOfFrames = count
    dataset.update(_pixel_format(volume.array.shape[1:]))
    plane = _plane(volume.grid, 0)
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(plane, "PixelSpacing", "SliceThickness")
    shared.PlaneOrientationSequence = _item(plane, "ImageOrientationPatient")
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items(
        [_frame_group(volume.grid, k, modality) for k in range(count)]
    )
    set_attributes(dataset, **attributes)
    set_pixels(dataset, _stored(volume.array, modality))
    return dataset


def set_attributes(dataset: Dataset, **attributes: Any) -> None:
    """Set attributes by keyword; None removes one."""
    for keyword, value in attributes.items():
        if value is None:
            if keyword in dataset:
                delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)


def set_pixels(dataset: Dataset, stored: np.ndarray) -> None:
    """Set uncompressed pixels of 16 bits, signed if Pixel Representation is 1."""
    kind = "<i2" if dataset.PixelRepresentation else "<u2"
    data = np.ascontiguousarray(stored).astype(kind).tobytes()
    dataset.add_new("PixelData", "OW", data)


def tilt(slices: Sequence[Dataset], degrees: float) -> None:
    """Tilt a made series as a gantry does: planes turn about x, the table does not."""
    a = math.radians(degrees)
    for each in slices:
        each.GantryDetectorTilt = degrees
        each.ImageOrientationPatient = [1, 0, 0, 0, math.cos(a), -math.sin(a)]


def write_files(
    folder: Path, datasets: Iterable[FileDataset], *, start: str = "slice"
) -> tuple[DicomFile, ...]:
    """Write data sets into a folder, and return them under the names they were given.

    Args:
        folder: Must exist.
        datasets: In the order of the names.
        start: What the names start with; a number of three digits follows.
    """
    files = []
    for number, dataset in enumerate(datasets, 1):
        name = f"{start}{number:03d}.dcm"
        dataset.save_as(folder / name, enforce_file_format=True)
        files.append(DicomFile(folder / name, name))
    return tuple(files)


def write_series(
    folder: Path, volume: Volume, modality: Modality = "CT", **attributes: Any
) -> tuple[DicomFile, ...]:
    """Write a classic series; see `make_series`."""
    slices = make_series(volume, modality, **attributes)
    return write_files(folder, slices, start=modality.lower())


def _start(sop_class: str, modality: str, names: tuple[object, ...]) -> FileDataset:
    uid = made_uid("instance", modality, *names)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(sop_class)
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(made_uid("implementation"))
    dataset = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    return dataset


def _set_common(
    dataset: Dataset, modality: str, study: str, series: str, patient_position: str
) -> None:
    set_attributes(
        dataset,
        SpecificCharacterSet="ISO_IR 192",
        ImageType=["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"],
        Modality=modality,
        Manufacturer="Made",
        StudyDate="20260102",
        StudyTime="030405",
        AccessionNumber="A1",
        ReferringPhysicianName="",
        SeriesDescription=f"made {modality}",
        PatientName="Made^Patient",
        PatientID="P1",
        PatientBirthDate="19700101",
        PatientSex="O",
        StudyInstanceUID=made_uid("study", study),
        SeriesInstanceUID=made_uid("series", modality, study, series),
        StudyID="S1",
        SeriesNumber=1,
        AcquisitionNumber=1,
        FrameOfReferenceUID=made_uid("frame", modality, study),
        PositionReferenceIndicator="",
        PatientPosition=patient_position,
    )
    if modality == "CT":
        dataset.KVP = 120
    else:
        set_attributes(
            dataset,
            ScanningSequence="SE",
            SequenceVariant="NONE",
            ScanOptions="",
            MRAcquisitionType="2D",
            RepetitionTime=500,
            EchoTime=10,
            EchoTrainLength=1,
        )


def _plane(grid: Grid, k: int) -> Dataset:
    dx, dy, dz = grid.spacing
    direction = np.array(grid.direction)
    position = grid.index_to_world((0, 0, k))
    plane = Dataset()
    plane.ImagePositionPatient = [_ds(v) for v in position]
    plane.ImageOrientationPatient = [
        _ds(v) for v in (*direction[:, 0], *direction[:, 1])
    ]
    plane.PixelSpacing = [_ds(dy), _ds(dx)]  # between rows first (PS3.3 10.7.1.3)
    plane.SliceThickness = _ds(dz)
    return plane


def _frame_group(grid: Grid, k: int, modality: str) -> Dataset:
    frame = Dataset()
    frame.PlanePositionSequence = _item(_plane(grid, k), "ImagePositionPatient")
    content = Dataset()
    content.StackID, content.InStackPositionNumber = "1", k + 1
    content.DimensionIndexValues = [1, k + 1]
    frame.FrameContentSequence = Items([content])
    rescale = Dataset()
    rescale.RescaleSlope = 1
    rescale.RescaleIntercept = INTERCEPT if modality == "CT" else 0
    rescale.RescaleType = "HU" if modality == "CT" else "US"
    frame.PixelValueTransformationSequence = Items([rescale])
    return frame


def _item(source: Dataset, *keywords: str) -> Items:
    item = Dataset()
    for keyword in keywords:
        setattr(item, keyword, source[keyword].value)
    return Items([item])


def _pixel_format(shape: tuple[int, ...]) -> Dataset:
    pixels = Dataset()
    pixels.SamplesPerPixel = 1
    pixels.PhotometricInterpretation = "MONOCHROME2"
    pixels.Rows, pixels.Columns = shape
    pixels.BitsAllocated, pixels.BitsStored, pixels.HighBit = 16, 16, 15
    pixels.PixelRepresentation = 0
    return pixels


def _stored(values: np.ndarray, modality: str) -> np.ndarray:
    """Return the values as they are stored; those of an MR must not be negative."""
    return values.astype(np.int32) - (INTERCEPT if modality == "CT" else 0)


def _ds(value: float) -> str:
    """Return a number as a decimal string of at most 16 characters."""
    return f"{float(value):.10g}"[:16]


def _rows_of(*columns: np.ndarray) -> Matrix:
    first, second, third = np.column_stack(columns)
    return _vector(first), _vector(second), _vector(third)


def _vector(values: np.ndarray) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
