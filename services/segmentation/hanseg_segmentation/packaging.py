"""The files of a result: label map, masks and picture, written and read back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.preview import Picture, write_preview
from hanseg_shared.documents import OrganResult, RegistrationReport
from hanseg_shared.errors import StoreError
from hanseg_shared.grid import Grid
from hanseg_shared.itk import grid_of, to_image
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from hanseg_segmentation.pipeline import Segmentation

SEGMENTATION_FILE = "segmentation.nii.gz"
MASKS_FOLDER = "masks"
PREVIEW_FILE = "preview.png"

COMPRESSION_LEVEL = 1
"""Masks are nearly all zeros: higher levels take longer and save next to nothing."""

STORED_TOLERANCE = 0.01
"""Largest displacement of a stored grid's corner, as a share of a voxel. NIfTI-1 keeps
geometry as float32, and the rotation of its qform as a quaternion."""

WRITERS = 2
"""Masks written at a time."""


def write_results(
    folder: Path,
    *,
    ct: Volume,
    segmentation: Segmentation,
    registration: RegistrationReport,
    registered_mr: Volume | None = None,
    field_of_view: Volume | None = None,
) -> list[Path]:
    """Write a case's result files, and read back what was written.

    Args:
        folder: Where; created if need be.
        ct: The planning CT.
        segmentation: Its organs; the label map must be on the CT's grid.
        registration: The verdict on the MR, for the picture.
        registered_mr: The MR on the CT's grid, if it was used.
        field_of_view: Where that MR has data.

    Returns:
        ``segmentation.nii.gz``, ``masks/<Organ>.nii.gz`` for each organ that was
        found, and ``preview.png``.

    Raises:
        GridMismatchError: The label map is not on the CT's grid.
        StoreError: A file does not read back as what was written.
    """
    labels = segmentation.labels
    labels.grid.require_same(ct.grid, what="the segmentation")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_write_labels(folder / SEGMENTATION_FILE, labels)]
    paths += write_masks(folder / MASKS_FOLDER, labels, segmentation.organs)
    preview = folder / PREVIEW_FILE
    picture = Picture(
        ct=ct,
        labels=labels,
        organs=segmentation.organs,
        model=segmentation.model,
        registration=registration,
        mr=registered_mr,
        field_of_view=field_of_view,
    )
    write_preview(preview, picture)
    return [*paths, preview]


def write_masks(
    folder: Path, labels: Volume, organs: tuple[OrganResult, ...]
) -> list[Path]:
    """Write a 0 and 1 mask of each organ that was found, and read it back.

    Raises:
        StoreError: A mask does not read back as what was written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    image = to_image(labels)
    counts = np.bincount(labels.array.ravel(), minlength=256)
    found = [organ for organ in organs if counts[organ.label]]

    def write(organ: OrganResult) -> Path:
        path = folder / f"{organ.name}.nii.gz"
        sitk.WriteImage(image == organ.label, path, True, COMPRESSION_LEVEL)
        stored = _read_back(path, labels.grid)
        count = int(np.count_nonzero(stored == 1))
        if count != counts[organ.label] or count != np.count_nonzero(stored):
            raise StoreError(
                f"{path} reads back with {count} voxels, but {counts[organ.label]} were"
                " written; the disk cannot be trusted"
            )
        return path

    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        return list(pool.map(write, found))


def _write_labels(path: Path, labels: Volume) -> Path:
    sitk.WriteImage(to_image(labels), path, True, COMPRESSION_LEVEL)
    if not np.array_equal(_read_back(path, labels.grid), labels.array):
        raise StoreError(
            f"{path} reads back with other labels than were written; the disk cannot"
            " be trusted"
        )
    return path


def _read_back(
    path: Path, grid: Grid
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Return a stored image's voxels.

    Raises:
        StoreError: It is no uint8 image, or not on the grid.
    """
    image = sitk.ReadImage(path)
    if image.GetPixelID() != sitk.sitkUInt8:
        raise StoreError(f"{path} reads back as {image.GetPixelIDTypeAsString()}")
    stored = grid_of(image)
    if stored.size != grid.size:
        raise StoreError(f"{path} reads back on {stored!r}, not {grid!r}")
    off = float(np.abs(stored.corners() - grid.corners()).max())
    if off > STORED_TOLERANCE * min(grid.spacing):
        raise StoreError(
            f"{path} reads back {off:.3g} mm from where it was written: NIfTI cannot"
            f" hold {grid!r}"
        )
    return sitk.GetArrayFromImage(image)
