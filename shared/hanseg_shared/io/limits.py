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
        max_entries: Most files of a DICOM archive or folder.
        max_name: Most characters of a file's name in an archive.
        max_unpacked_bytes: Most bytes of the DICOM files of an archive.
        max_ratio: How many times longer than the archive its DICOM files may be, and
            each volume that is made of them. A deflated CT series is 2 to 5 times
            longer, an MR with a blank background 22; uneven slices become more.
        max_pixel_ratio: How many times longer than the archive the pixels of its
            compressed images may be. Lossless ones are 2 to 4 times longer.
        free_ratio_bytes: So many bytes may come of an archive whatever the ratio.
        max_nesting: Deepest nesting of a DICOM file's sequences.
        max_elements: Most elements of an archive's CT, MR and registration files,
            those in sequences included. A slice has 100 to 300.
        max_items: Most items of sequences in them, fragments of pixels included.
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
    max_entries: int = 20_000
    max_name: int = 512
    max_unpacked_bytes: int = 2048 * _MIB
    max_ratio: int = 40
    max_pixel_ratio: int = 20
    free_ratio_bytes: int = 16 * _MIB
    max_nesting: int = 16
    max_elements: int = 1_000_000
    max_items: int = 50_000


DEFAULT_LIMITS = Limits()
"""The caps where a caller names none."""
