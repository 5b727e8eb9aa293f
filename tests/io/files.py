"""Image files written byte by byte, so that a test can spoil any part of them."""

from __future__ import annotations

import gzip
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hanseg_shared.volume import Volume

NRRD_FIELDS = {
    "type": "short",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "4 5 6",
    "space directions": "(1,0,0) (0,2,0) (0,0,3)",
    "kinds": "domain domain domain",
    "endian": "little",
    "encoding": "raw",
    "space origin": "(-10,20,30)",
}
MHA_FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-10 20 30",
    "CenterOfRotation": "0 0 0",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "1 2 3",
    "DimSize": "4 5 6",
    "ElementType": "MET_SHORT",
}
VOXELS = np.arange(4 * 5 * 6, dtype="<i2").reshape(6, 5, 4)
"""What all files made here hold unless told otherwise."""


def nrrd(data: bytes = VOXELS.tobytes(), **changes: str | None) -> bytes:
    """Return an attached NRRD; a change of None leaves the field out."""
    changed = {key.replace("_", " "): value for key, value in changes.items()}
    fields = {**NRRD_FIELDS, **changed}
    lines = [f"{key}: {value}" for key, value in fields.items() if value is not None]
    return "\n".join(["NRRD0004", "# a comment", *lines, "", ""]).encode() + data


def mha(data: bytes = VOXELS.tobytes(), **changes: str | None) -> bytes:
    """Return an MHA file; a change of None leaves the key out."""
    fields = {**MHA_FIELDS, **changes}
    last = fields.pop("ElementDataFile", "LOCAL")
    lines = [f"{key} = {value}" for key, value in fields.items() if value is not None]
    return "\n".join([*lines, f"ElementDataFile = {last}", ""]).encode() + data


def nifti(data: bytes = VOXELS.tobytes(), **changes: Any) -> bytes:
    """Return a plain NIfTI-1 file; arguments replace header fields."""
    field: dict[str, Any] = {
        "order": "<",
        "dim": (3, 4, 5, 6, 1, 1, 1, 1),
        "datatype": (4, 16),
        "pixdim": (1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0),
        "vox_offset": 352.0,
        "scaling": (0.0, 0.0),
        "units": 2,
        "codes": (0, 1),
        "qform": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        "sform": (-1, 0, 0, 10, 0, -2, 0, -20, 0, 0, 3, 30),
        "magic": b"n+1\0",
    } | changes
    order = field["order"]
    header = bytearray(352)
    struct.pack_into(f"{order}i", header, 0, 348)
    struct.pack_into(f"{order}8h", header, 40, *field["dim"])
    struct.pack_into(f"{order}hh", header, 70, *field["datatype"])
    struct.pack_into(f"{order}8f", header, 76, *field["pixdim"])
    struct.pack_into(f"{order}f", header, 108, field["vox_offset"])
    struct.pack_into(f"{order}ff", header, 112, *field["scaling"])
    header[123] = field["units"]
    struct.pack_into(f"{order}hh", header, 252, *field["codes"])
    struct.pack_into(f"{order}6f", header, 256, *field["qform"])
    struct.pack_into(f"{order}12f", header, 280, *field["sform"])
    header[344:348] = field["magic"]
    return bytes(header) + data


def written(path: Path, content: bytes) -> Path:
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def gzipped(data: bytes) -> bytes:
    """Return one gzip member."""
    return gzip.compress(data, 1, mtime=0)


def zlibbed(data: bytes) -> bytes:
    """Return a zlib stream, as MetaImage compresses."""
    return zlib.compress(data, 1)


def raw_copy(volume: Volume, offset: float) -> Volume:
    """Return the volume with its values shifted."""
    return volume.with_array(volume.array + np.int16(offset))


def dicom(sop_class: bytes) -> bytes:
    """Return the start of a DICOM file: preamble and meta header (PS3.10 7.1)."""
    uid = sop_class + b"\0" * (len(sop_class) % 2)
    version = b"\x02\x00\x01\x00OB\x00\x00" + struct.pack("<I", 2) + b"\x00\x01"
    element = b"\x02\x00\x02\x00UI" + struct.pack("<H", len(uid)) + uid
    length = len(version) + len(element)
    group = b"\x02\x00\x00\x00UL" + struct.pack("<HI", 4, length)
    return bytes(128) + b"DICM" + group + version + element
