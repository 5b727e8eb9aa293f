"""Where the patient's body is in a CT: without couch, head rest, mask and padding.

Registration, the check of the HU and segmentation all ask here, so that they agree.

The body is looked for among a regular sample of the voxels, about 4 mm apart, on the
image's own axes; the result is accurate to about that, which the margin covers:

1. What is denser than `BODY_HU` is dense. Padding is not, whatever its value.
2. Sheets are taken away: what no ball of `SHEET_MM` fits into. That parts the hollow
   shells of couch and head rest, and a thermoplastic mask, from the patient.
3. The largest piece that is left is the patient, and so is any other as thick as a
   limb: a head that blank slices part from the chest, an arm.
4. Cavities are filled slice by slice (sinuses, lungs), and what no ball of
   `THINNEST_PART_MM` fits into is taken away: solid boards that touch the patient.

Faces of the image cut the body without rounding it off, so that shoulders and chest
reach as far as they are shown.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.io.coarse import sample, sample_steps
from hanseg_shared.io.filling import fill_values
from hanseg_shared.volume import Mask, Volume, Voxels

Box = tuple[slice, ...]

BODY_HU = -300.0
"""Above it a CT voxel is patient, couch or mask rather than air."""

BLANK_HU = -1024
"""What lies outside the body once it is blanked, as in the images of training."""

SHEET_MM = 10.0
"""Thinner things are sheets: shells of a couch or head rest, masks, cables."""

THINNEST_PART_MM = 25.0
"""Thinner things (boards, cushions) are not the patient, nor is a nose's tip: the
margin keeps that."""

LIMB_MM = 30.0
"""A piece besides the largest is the patient's too if a ball of this fits into it."""

NARROW_MM = 120.0
"""What is thin but no wider than this in its slice is no board: a nose, an ear, a part
of the spine where the rest of the slice was blanked."""

SMALLEST_PIECE_ML = 100.0
"""So large must such a piece be."""

SMALLEST_BODY_ML = 300.0
"""Less than this cannot be a head."""

MARGIN_MM = 10.0
"""What is kept around the body: the skin, and what step 4 rounds off of lips, ears and
chin. What couch and head rest have within it stays."""


def find_body(ct: Volume) -> Mask | None:
    """Return the body in a CT with `MARGIN_MM` around it; None if none is found.

    Args:
        ct: A CT in HU, of any orientation; NaN counts as padding.

    Returns:
        A mask on the CT's grid, cavities included. None where no piece of it is as
        large as a head: then nothing can be said about what is outside.
    """
    every = sample_steps(ct.grid)
    small = sample(ct)
    body = body_in(small)
    if body is None:
        return None
    reach = MARGIN_MM + max(small.grid.spacing) / 2.0
    around = fill_slices(voxels_near(body, reach, small.grid), small.grid)
    if around.all():
        return np.ones(ct.grid.shape, dtype=bool)
    nearest = [
        np.minimum((np.arange(n) + step // 2) // step, m - 1)
        for n, m, step in zip(ct.grid.shape, around.shape, every, strict=True)
    ]
    return np.asarray(around[np.ix_(*nearest)])


def blank_outside(ct: Volume, body: Mask) -> Volume:
    """Return a CT that is `BLANK_HU` wherever the body is not.

    Args:
        ct: The CT in HU.
        body: From `find_body`.
    """
    return ct.with_array(np.where(body, ct.array, ct.array.dtype.type(BLANK_HU)))


def body_in(small: Volume) -> Mask | None:
    """Return the body, without margin, in a CT of coarse voxels; None if none is found.

    Args:
        small: From `sample`, or any CT in HU of about 4 mm; NaN counts as padding.
    """
    padding = padding_in(small)
    dense = (np.nan_to_num(small.array, nan=BLANK_HU) > BODY_HU) & ~padding
    body = body_among(dense, small.grid)
    if body is None:
        return None
    return body | _remnants(dense & ~body, body, padding, small.grid)


def padding_in(small: Volume) -> Mask:
    """Return where a CT of coarse voxels was filled, whatever with."""
    known = np.isfinite(small.array)
    filled: Mask = ~known
    finite = small.with_array(np.where(known, small.array, BLANK_HU))
    for value in fill_values(finite):
        filled |= _find_filled_blocks(small.array == value)
    return filled


def body_among(dense: Mask, grid: Grid) -> Mask | None:
    """Return the body among all that is denser than air; None if none is found.

    Args:
        dense: Voxels denser than air.
        grid: Where they are.
    """
    pieces = _without_sheets(dense, grid)
    filled = fill_slices(pieces, grid)
    thick = thick_parts(filled, grid)
    body = thick | _narrow_parts(filled & ~thick, grid)
    if body.sum() * grid.voxel_ml < SMALLEST_BODY_ML:
        return None
    return body


def thick_parts(filled: Mask, grid: Grid) -> Mask:
    """Return the largest part into which a ball of `THINNEST_PART_MM` fits.

    Other parts as thick as a limb are kept with it.

    Args:
        filled: A mask without cavities.
        grid: Where its voxels are.
    """
    depth = _depth(filled, grid)
    core, count = ndimage.label(depth > THINNEST_PART_MM / 2.0)
    if count == 0:
        return np.zeros_like(filled)
    kept = _patient_pieces(core, count, depth, grid)
    return voxels_near(kept, THINNEST_PART_MM / 2.0, grid) & filled


def voxels_near(mask: Mask, distance_mm: float, grid: Grid) -> Mask:
    """Return the voxels within a distance of a mask."""
    return np.asarray(_depth(~mask, grid) <= distance_mm)


def _without_sheets(dense: Mask, grid: Grid) -> Mask:
    """Return the patient's pieces among what is no sheet."""
    depth = _depth(dense, grid)
    core, count = ndimage.label(depth > SHEET_MM / 2.0)
    if count == 0:
        return np.zeros_like(dense)
    kept = _patient_pieces(core, count, depth, grid)
    return voxels_near(kept, SHEET_MM / 2.0 + max(grid.spacing), grid) & dense


def _patient_pieces(pieces: Voxels, count: int, depth: Voxels, grid: Grid) -> Mask:
    """Return the largest piece, and others that are the patient's too."""
    sizes = np.bincount(pieces.ravel(), minlength=count + 1).astype(np.float64)
    sizes[0] = 0.0
    largest = int(sizes.argmax())
    boxes = ndimage.find_objects(pieces)
    kept = np.zeros(count + 1, dtype=bool)
    for number, box in enumerate(boxes, start=1):
        if sizes[number] * grid.voxel_ml >= SMALLEST_PIECE_ML:
            kept[number] = depth[box][pieces[box] == number].max() > LIMB_MM / 2.0
        kept[number] |= _is_narrow(box, grid) and _is_over(
            box, boxes[largest - 1], grid
        )
    kept[largest] = True
    return np.asarray(kept[pieces])


def _depth(mask: Mask, grid: Grid) -> Voxels:
    """Return how far each voxel of a mask is from the nearest outside it, in mm.

    The image's faces count for nothing: a mask goes on behind them.
    """
    if mask.all():
        return np.full(mask.shape, np.inf)
    depth: Voxels = ndimage.distance_transform_edt(mask, sampling=grid.spacing[::-1])
    return depth


def _remnants(rest: Mask, body: Mask, padding: Mask, grid: Grid) -> Mask:
    """Return what an earlier blanking left of the patient beside the body.

    It is narrow, lies above, below or within the body along the patient, and padding
    surrounds it, not the noise of air: contours around which all else was blanked.
    """
    pieces, count = ndimage.label(rest, np.ones((3, 3, 3), dtype=bool))
    whole = ndimage.find_objects(body.astype(np.uint8))[0]
    kept = np.zeros(count + 1, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        if _is_narrow(box, grid) and _is_over(box, whole, grid):
            wider = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in box)
            piece = pieces[wider] == number
            around = ndimage.binary_dilation(piece) & ~piece
            kept[number] = padding[wider][around].mean() > 0.5
    return np.asarray(kept[pieces])


def _narrow_parts(mask: Mask, grid: Grid) -> Mask:
    """Return the parts of each slice that are no wider than `NARROW_MM`."""
    across = np.ones((3, 3, 3), dtype=bool)
    axis = _axis_across_slices(grid)
    np.moveaxis(across, axis, 0)[[0, 2]] = False
    parts, _ = ndimage.label(mask, across)
    boxes = ndimage.find_objects(parts)
    narrow = [False, *(_is_narrow(box, grid) for box in boxes)]
    return np.asarray(np.array(narrow)[parts])


def _is_narrow(box: Box, grid: Grid) -> bool:
    """Whether a box is no wider than `NARROW_MM` across the patient."""
    sides = zip(box, grid.spacing[::-1], strict=True)
    widths = [(side.stop - side.start) * mm for side, mm in sides]
    del widths[_axis_across_slices(grid)]
    return max(widths) <= NARROW_MM


def _is_over(box: Box, other: Box, grid: Grid) -> bool:
    """Whether a box's middle lies above, below or within another along the patient."""
    over = [
        b.start <= (a.start + a.stop) // 2 < b.stop
        for a, b in zip(box, other, strict=True)
    ]
    del over[_axis_across_slices(grid)]
    return all(over)


def fill_slices(mask: Mask, grid: Grid) -> Mask:
    """Return a mask with the cavities of each slice across the patient filled."""
    axis = _axis_across_slices(grid)
    slices = np.moveaxis(mask, axis, 0)
    filled = np.stack([ndimage.binary_fill_holes(each) for each in slices])
    return np.moveaxis(filled, 0, axis)


def _axis_across_slices(grid: Grid) -> int:
    """Return the array's axis (z y x) that is nearest to the patient's long axis."""
    return 2 - int(np.abs(np.array(grid.direction)[2]).argmax())


def _find_filled_blocks(equal: Mask) -> Mask:
    """Return voxels of a value most of whose neighbours have it too."""
    share = ndimage.uniform_filter(equal.astype(np.float32), 3, mode="nearest")
    return np.asarray(equal & (share > 0.5))
