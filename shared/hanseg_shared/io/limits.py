"""How large an image may be: checked on the header, before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass

from hanseg_shared.grid import Vector

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on what is read; a file beyond one of them is refused.

    Attributes:
        max_voxels: Most voxels of one image. The default is twice the largest
            planning CT expected (1024 x 1024 x 200).
        max_axis: Most voxels along one axis.
        max_file_bytes: Most bytes of one file on disk.
        max_header_bytes: Most bytes of a header, its text or extensions included.
        min_spacing_mm: Smallest distance between voxels.
        max_spacing_mm: Largest distance between voxels; a thicker slice than this
            shows no organ.
        max_origin_mm: Largest coordinate of the first voxel, of either sign.
        max_extent_mm: Longest side of a CT or MR. What is coarse is small as a file,
            and large once it is resampled.
        max_volume_litres: Largest volume of a CT or MR: a field of view of 500 mm is
            375 litres at the longest side.
        working_spacing_mm: Spacing (x, y, z) of the grid that a network would have
            the CT on; None if there is no network.
        max_working_voxels: Most voxels of that grid.
    """

    max_voxels: int = 1024 * 1024 * 400
    max_axis: int = 4096
    max_file_bytes: int = 4096 * _MIB
    max_header_bytes: int = _MIB
    min_spacing_mm: float = 0.01
    max_spacing_mm: float = 20.0
    max_origin_mm: float = 100_000.0
    max_extent_mm: float = 1500.0
    max_volume_litres: float = 500.0
    working_spacing_mm: Vector | None = None
    max_working_voxels: int = 1024 * 1024 * 400


DEFAULT_LIMITS = Limits()
"""The caps where a caller names none."""
