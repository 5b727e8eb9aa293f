"""A volume as an uncompressed NRRD file: quick to write, and exact."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hanseg_shared.grid import Grid
from hanseg_shared.io.limits import Limits
from hanseg_shared.io.parsed_header import check_header
from hanseg_shared.volume import Volume

_TYPES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "f4": "float"}


def write_nrrd(volume: Volume, path: Path, limits: Limits) -> None:
    """Write a volume to a new file, and check that its header can be read back.

    Numbers are written to the last digit. That readers give the same grid is tested,
    not checked here: it would load ITK.

    Args:
        volume: Of 8 or 16-bit whole numbers, or 32-bit floats.
        path: Of the file.
        limits: Caps on the volume.

    Raises:
        ImageError: The volume is beyond the limits.
    """
    array = np.ascontiguousarray(volume.array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    with path.open("xb") as file:
        file.write(_header(volume.grid, _TYPES[array.dtype.str[1:]]).encode("ascii"))
        file.write(array.data)  # unlike tofile, it says when the disk is full
    check_header(path, limits)


def _header(grid: Grid, type_: str) -> str:
    steps = np.array(grid.direction) * np.array(grid.spacing)
    return "\n".join(
        (
            "NRRD0004",
            f"type: {type_}",
            "dimension: 3",
            "space: left-posterior-superior",
            f"sizes: {' '.join(map(str, grid.size))}",
            f"space directions: {' '.join(map(_vector, steps.T))}",
            "kinds: domain domain domain",
            "endian: little",
            "encoding: raw",
            f"space origin: {_vector(np.array(grid.origin))}",
            "\n",
        )
    )


def _vector(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
