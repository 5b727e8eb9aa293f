"""The files of a result: label map, masks and picture, written and read back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from hanseg_segmentation.results.case_result import CaseResult
from hanseg_segmentation.results.mask_files import (
    COMPRESSION_LEVEL,
    MaskWriter,
    require_written,
)
from hanseg_segmentation.results.preview import write_preview
from hanseg_shared.documents import OrganResult
from hanseg_shared.errors import StoreError
from hanseg_shared.itk import to_image
from hanseg_shared.result_files import MASKS, PREVIEW, SEGMENTATION
from hanseg_shared.volume import Volume

WRITERS = 2
"""Masks written at a time."""


def write_results(folder: Path, result: CaseResult) -> list[Path]:
    """Write a case's result files, and read back what was written.

    Args:
        folder: Where; created if need be.
        result: The contoured case.

    Returns:
        ``segmentation.nii.gz``, ``masks/<Organ>.nii.gz`` for each organ that was
        found, and ``preview.png``.

    Raises:
        GridMismatchError: The label map is not on the CT's grid.
        StoreError: A file does not read back as what was written.
    """
    labels = result.labels
    labels.grid.require_same(result.images.grid, what="the segmentation")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [write_verified(folder / SEGMENTATION, labels)]
    paths += write_masks(folder / MASKS, labels, result.organs)
    preview = folder / PREVIEW
    write_preview(preview, result)
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
