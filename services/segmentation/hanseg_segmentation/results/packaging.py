"""The files of a result: label map, masks and picture, written and read back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.results.mask_files import (
    COMPRESSION_LEVEL,
    MaskWriter,
    require_written,
)
from hanseg_segmentation.results.preview import Picture, write_preview
from hanseg_shared.documents import OrganResult, RegistrationReport
from hanseg_shared.errors import StoreError
from hanseg_shared.itk import to_image
from hanseg_shared.result_files import MASKS, PREVIEW, SEGMENTATION
from hanseg_shared.volume import Volume

if TYPE_CHECKING:
    from hanseg_segmentation.pipeline import Segmentation


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
    paths = [write_verified(folder / SEGMENTATION, labels)]
    paths += write_masks(folder / MASKS, labels, segmentation.organs)
    preview = folder / PREVIEW
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
    writer = MaskWriter.of(labels)
    found = [organ for organ in organs if writer.present[organ.label]]

    def write(organ: OrganResult) -> Path:
        return writer.write(folder / f"{organ.name}.nii.gz", organ.label)

    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        return list(pool.map(write, found))


def write_verified(path: Path, volume: Volume) -> Path:
    """Write a uint8 volume, and compare the file's grid and every voxel with it.

    Raises:
        StoreError: It cannot be written, or a voxel reads back with another value.
        GridMismatchError: The file cannot hold the volume's grid.
    """
    try:
        sitk.WriteImage(to_image(volume), path, True, COMPRESSION_LEVEL)
    except RuntimeError as error:
        raise StoreError(f"{path.name} could not be written: {error}") from error
    require_written(path, volume.grid, volume.array)
    return path
