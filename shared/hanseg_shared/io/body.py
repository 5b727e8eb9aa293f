"""Where the patient's body is in a CT: without couch, head rest, mask and padding.

The check of the HU and segmentation ask here for the body, registration for its thick
parts, so that they agree.

The body is looked for among a regular sample of the voxels, about 4 mm apart, on the
image's own axes:

1. What is denser than `BODY_HU` is dense. Padding is not, whatever its value.
2. Sheets are taken away: what no ball of `SHEET_MM` fits into. That parts the hollow
   shells of couch and head rest, and a thermoplastic mask, from the patient.
3. The largest piece that is left is the patient, and so is any other as thick as a
   limb: a head that blank slices part from the chest, an arm.
4. Cavities are filled slice by slice (sinuses, lungs), and what no ball of
   `THINNEST_PART_MM` fits into is taken away: solid boards that touch the patient.

Faces of the image cut the body without rounding it off, so that shoulders and chest
reach as far as they are shown. Before anything is blanked, the outline is found again
among voxels of about 2 mm (see `hanseg_shared.io.skin`).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from hanseg_shared.grid import Grid
from hanseg_shared.io.coarse import sample
from hanseg_shared.io.filling import fill_values
from hanseg_shared.io.morphology import (
    axis_across_slices,
    depth_in,
    fill_slices,
    voxels_near,
)
from hanseg_shared.io.skin import without_shells
from hanseg_shared.volume import Mask, Volume, Voxels

Box = tuple[slice, ...]

BODY_HU = -300.0
"""Above it a CT voxel is patient, couch or mask rather than air."""

BLANK_HU = -1024
"""What lies outside the body once it is blanked, as in the images of training."""

SHEET_MM = 10.0
"""Thinner things are sheets: shells of a couch or head rest, masks, cables."""

THINNEST_PART_MM = 25.0
"""Thinner things (boards, cushions) are not the patient; noses and ears come back with
the outline."""

LIMB_MM = 30.0
"""A piece besides the largest is the patient's too if a ball of this fits into it."""

NARROW_MM = 120.0
"""What is thin but no wider than this in its slice is no board: a nose, an ear, a part
of the spine where the rest of the slice was blanked."""

SMALLEST_PIECE_ML = 100.0
"""So large must such a piece be."""

SMALLEST_BODY_ML = 300.0
"""Less than this cannot be a head."""

FINE_MM = 2.0
"""Distance, about, of the voxels among which the outline is found."""

MOST_FINE = 1 << 23
"""More of these are not looked at."""

BOX_MARGIN_MM = 40.0
"""What is looked at around the rough body."""


def find_body(ct: Volume) -> Mask | None:
    """Return the body in a CT with a margin of few mm around it; None if none is found.

    Args:
        ct: A CT in HU, of any orientation; NaN counts as padding.

    Returns:
        A mask on the CT's grid, cavities included. None where no piece of it is as
        large as a head: then nothing can be said about what is outside.
    """
    small = sample(ct)
    rough = body_in(small)
    if rough is None:
        return None
    fine = sample(ct, apart_mm=FINE_MM, most=MOST_FINE)
    known = _nearest(rough, small.grid, fine.grid)
    body = np.zeros(fine.grid.shape, dtype=bool)
    box = _box_around(known, fine.grid)
    near = Volume(fine.array[box], _boxed(fine.grid, box))
    body[box] = without_shells(
        _dense(near, padding_in(fine)[box]), known[box], near.grid
    )
    return _nearest(body, fine.grid, ct.grid)


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
    dense = _dense(small, padding)
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
    depth = depth_in(filled, grid)
    core, count = ndimage.label(depth > THINNEST_PART_MM / 2.0)
    if count == 0:
        return np.zeros_like(filled)
    kept = _patient_pieces(core, count, depth, grid)
    return voxels_near(kept, THINNEST_PART_MM / 2.0, grid) & filled


def _without_sheets(dense: Mask, grid: Grid) -> Mask:
    """Return the patient's pieces among what is no sheet."""
    depth = depth_in(dense, grid)
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


def _dense(image: Volume, padding: Mask) -> Mask:
    """Return what is denser than air and was not filled."""
    return np.asarray((np.nan_to_num(image.array, nan=BLANK_HU) > BODY_HU) & ~padding)


def _nearest(mask: Mask, sampled: Grid, grid: Grid) -> Mask:
    """Return a mask of a sample on another one, or on the image, of the same axes."""
    index = [
        np.minimum(np.rint(np.arange(n) * mm / coarse).astype(int), m - 1)
        for n, m, mm, coarse in zip(
            grid.shape,
            sampled.shape,
            grid.spacing[::-1],
            sampled.spacing[::-1],
            strict=True,
        )
    ]
    return np.asarray(mask[np.ix_(*index)])


def _box_around(mask: Mask, grid: Grid) -> Box:
    """Return the box of a mask that is not empty, `BOX_MARGIN_MM` wider."""
    wider = [int(np.ceil(BOX_MARGIN_MM / mm)) for mm in grid.spacing[::-1]]
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, side.start - more), side.stop + more)
        for side, more in zip(box, wider, strict=True)
    )


def _boxed(grid: Grid, box: Box) -> Grid:
    """Return the grid of what lies in a box."""
    first = grid.index_to_world([side.start for side in box[::-1]])
    shape = [
        min(side.stop, n) - side.start for side, n in zip(box, grid.shape, strict=True)
    ]
    x, y, z = (float(v) for v in first)
    return Grid((shape[2], shape[1], shape[0]), grid.spacing, (x, y, z), grid.direction)


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
    axis = axis_across_slices(grid)
    np.moveaxis(across, axis, 0)[[0, 2]] = False
    parts, _ = ndimage.label(mask, across)
    boxes = ndimage.find_objects(parts)
    narrow = [False, *(_is_narrow(box, grid) for box in boxes)]
    return np.asarray(np.array(narrow)[parts])


def _is_narrow(box: Box, grid: Grid) -> bool:
    """Whether a box is no wider than `NARROW_MM` across the patient."""
    sides = zip(box, grid.spacing[::-1], strict=True)
    widths = [(side.stop - side.start) * mm for side, mm in sides]
    del widths[axis_across_slices(grid)]
    return max(widths) <= NARROW_MM


def _is_over(box: Box, other: Box, grid: Grid) -> bool:
    """Whether a box's middle lies above, below or within another along the patient."""
    over = [
        b.start <= (a.start + a.stop) // 2 < b.stop
        for a, b in zip(box, other, strict=True)
    ]
    del over[axis_across_slices(grid)]
    return all(over)


def _find_filled_blocks(equal: Mask) -> Mask:
    """Return voxels of a value most of whose neighbours have it too."""
    share = ndimage.uniform_filter(equal.astype(np.float32), 3, mode="nearest")
    return np.asarray(equal & (share > 0.5))
