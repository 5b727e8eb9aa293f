"""From images to network input: the model's grid, and normalised channels.

Training and inference both come through here, so that a network sees the same
thing in both. Arrays are indexed z, y, x; the network's input is
``(C, z, y, x)`` float32 with the channels CT, MR, field of view, or those that the
model's package names.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float32
from scipy import sparse

from hanseg_segmentation.packages.package import (
    Channel,
    CtNormalisation,
    MrNormalisation,
    Normalisation,
    ZScore,
)
from hanseg_shared.errors import GridMismatchError, ModelError
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.itk import resample
from hanseg_shared.volume import Mask, Volume, Voxels

FloatVoxels = Float32[np.ndarray, "z y x"]
NetworkInput = Float32[np.ndarray, "channel z y x"]

AIR_HU = -1024.0
"""What lies outside the CT's own voxels."""

CHANNELS: tuple[Channel, ...] = ("ct", "mr", "field_of_view")
"""What most networks see, in this order."""

WINDOWS_HU: dict[Channel, tuple[float, float]] = {
    "bone_window": (-1000.0, 2000.0),
    "soft_tissue_window": (-160.0, 350.0),
    "brain_window": (-5.0, 65.0),
    "stroke_window": (15.0, 45.0),
}
"""HU that become 0 and 1 in channels that show a part of the CT's range."""

SMALLEST_DEVIATION = 1e-6
"""MR without contrast is divided by this, not by zero."""


def model_grid(ct: Grid, *, spacing: Vector) -> Grid:
    """Return the LPS-aligned grid of `spacing` (x, y, z) mm that covers the CT.

    It covers every voxel centre, whatever the CT's orientation, and shares its
    centre with the CT.
    """
    return Grid.axis_aligned(ct.corners(), spacing=spacing)


def to_model_grid(volume: Volume, grid: Grid, *, background: float) -> Volume:
    """Sample an image on the model's grid, without aliasing where that is coarser.

    The image is first shrunk along its own axes with a tent as wide as the coarser
    of both spacings, then sampled linearly. Where the image's axes are the
    patient's, the second step hits the first one's voxel centres and changes nothing.

    Args:
        volume: An image of any orientation and data type.
        grid: Where to sample; usually from `model_grid`.
        background: The value where the image has no voxels.

    Returns:
        A float32 volume on `grid`.
    """
    return resample(_shrink(volume, grid), grid, background=background)


def mr_to_model_grid(
    mr: Volume, field_of_view: Volume, grid: Grid
) -> tuple[Volume, Volume]:
    """Sample the MR and its field of view on the model's grid.

    Only values inside the field of view enter the averages, so that what was put
    outside it does not leak over the border.

    Args:
        mr: The MR on the CT's grid.
        field_of_view: Not 0 where `mr` holds data; on the same grid.
        grid: Where to sample.

    Returns:
        The MR as float32, 0 outside the field of view; and the field of view as a
        mask, where at least half of a voxel's weight has data.
    """
    mr.grid.require_same(field_of_view.grid, what="the field of view")
    inside = field_of_view.with_array(field_of_view.array != 0)
    share = to_model_grid(inside, grid, background=0.0).array
    weighted = resample(_shrink(mr, grid, where=inside.array), grid).array
    mask = share >= 0.5
    values = np.divide(weighted, share, out=np.zeros_like(weighted), where=mask)
    return Volume(values, grid), Volume(mask, grid)


def mask_to_model_grid(mask: Volume, whole: Grid, grid: Grid) -> FloatVoxels:
    """Return which share of each voxel of the model's grid a mask fills.

    It is what `to_model_grid` gives of the whole image, at the cost of the part.

    Args:
        mask: Any part of an image on `whole`, outside of which the mask is empty.
        whole: The image's grid.
        grid: Where to sample.

    Raises:
        GridMismatchError: The part lies on no voxels of `whole`.
    """
    start = whole.offset_of(mask.grid)
    if start is None:
        raise GridMismatchError(
            f"a mask is not on the grid: {whole.difference_of_part(mask.grid)}"
        )
    if not _lies_within(start, mask.grid, whole):
        raise GridMismatchError(f"a mask on {mask.grid!r} is no part of {whole!r}")
    spacing, counts, tents = _tents(whole, grid)
    x, y, z = (
        tent[:, i : i + n]
        for tent, i, n in zip(tents, start, mask.grid.size, strict=True)
    )
    planes = np.stack([(x @ (y @ p.astype(np.float32)).T).T for p in mask.array])
    planes = (z @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:])
    shares: FloatVoxels = resample(
        Volume(planes, _centre_grid(whole, counts, spacing)), grid
    ).array
    return shares


def network_input(
    ct_hu: Voxels,
    mr: Voxels | None,
    field_of_view: Mask | None,
    *,
    normalisation: Normalisation,
    names: tuple[Channel, ...] = CHANNELS,
) -> NetworkInput:
    """Return normalised channels of images that share the model's grid already.

    Without MR, or where it has no data, the MR channel is 0 (the mean) and so is
    the field of view's.

    Args:
        ct_hu: The CT in HU.
        mr: The MR in its own units, or None.
        field_of_view: Where the MR has data; None together with `mr`.
        normalisation: The model's.
        names: Which channels, in their order.
    """
    channels = np.zeros((len(names), *ct_hu.shape), dtype=np.float32)
    for channel, name in zip(channels, names, strict=True):
        if name == "ct":
            channel[...] = normalise_ct(ct_hu, normalisation.ct)
        elif name in WINDOWS_HU:
            channel[...] = window(ct_hu, *WINDOWS_HU[name])
        elif mr is not None and field_of_view is not None:
            channel[...] = (
                field_of_view
                if name == "field_of_view"
                else _normalise_mr_channel(mr, field_of_view, ct_hu, normalisation)
            )
    return channels


def _normalise_mr_channel(
    mr: Voxels, field_of_view: Mask, ct_hu: Voxels, normalisation: Normalisation
) -> FloatVoxels:
    if isinstance(normalisation.mr, ZScore):
        raise ModelError(
            "this version z-scores MR over tissue only; see mr in model.json"
        )
    return normalise_mr(mr, field_of_view, tissue=ct_hu, normalisation=normalisation.mr)


def window(ct_hu: Voxels, low_hu: float, high_hu: float) -> FloatVoxels:
    """Return HU as a share of the way from `low_hu` to `high_hu`, 0 to 1."""
    share: FloatVoxels = (ct_hu.astype(np.float32) - np.float32(low_hu)) / np.float32(
        high_hu - low_hu
    )
    return share.clip(0.0, 1.0)


def normalise_ct(ct_hu: Voxels, normalisation: CtNormalisation) -> FloatVoxels:
    """Return HU clipped and scaled to mean 0 and deviation 1 of the training data."""
    clipped = np.clip(
        ct_hu.astype(np.float32), normalisation.low_hu, normalisation.high_hu
    )
    scaled: FloatVoxels = (clipped - np.float32(normalisation.mean_hu)) / np.float32(
        normalisation.std_hu
    )
    return scaled


def normalise_mr(
    mr: Voxels, field_of_view: Mask, *, tissue: Voxels, normalisation: MrNormalisation
) -> FloatVoxels:
    """Return MR values as z-scores over the tissue in the field of view.

    Air does not count, so that the amount of air around the head does not change
    what tissue looks like.

    Args:
        mr: The MR in its own units.
        field_of_view: Where it has data.
        tissue: The CT in HU, which separates tissue from air.
        normalisation: The model's.

    Returns:
        Clipped z-scores; 0 outside the field of view.
    """
    inside = np.asarray(field_of_view, dtype=bool)
    result = np.zeros(mr.shape, dtype=np.float32)
    if not inside.any():
        return result
    chosen = inside & (tissue > normalisation.tissue_above_hu)
    sample = mr[chosen if chosen.any() else inside].astype(np.float64)
    deviation = max(float(sample.std()), SMALLEST_DEVIATION)
    scores = (mr[inside] - sample.mean()) / deviation
    result[inside] = np.clip(scores, -normalisation.clip_sd, normalisation.clip_sd)
    return result


def _shrink(volume: Volume, grid: Grid, *, where: Mask | None = None) -> Volume:
    """Return the volume as float32, its finer axes shrunk to the grid's spacing.

    Outside `where` it counts as 0. Slices are converted one by one, since the whole
    volume as float32 would be the largest array of a job.
    """
    spacing, counts, (x, y, z) = _tents(volume.grid, grid)
    planes = np.empty((volume.grid.size[2], counts[1], counts[0]), dtype=np.float32)
    for number, plane in enumerate(volume.array):
        values = plane.astype(np.float32)
        if where is not None:
            values[~where[number]] = 0.0
        planes[number] = (x @ (y @ values).T).T
    planes = (z @ planes.reshape(len(planes), -1)).reshape(-1, *planes.shape[1:])
    return Volume(planes, _centre_grid(volume.grid, counts, spacing))


def _lies_within(start: tuple[int, int, int], part: Grid, whole: Grid) -> bool:
    return all(
        i >= 0 and i + n <= m
        for i, n, m in zip(start, part.size, whole.size, strict=True)
    )


def _tents(
    own: Grid, target: Grid
) -> tuple[list[float], list[int], list[sparse.csr_array]]:
    """Return spacing, counts and weights (x, y, z) that shrink one grid to another."""
    spacing = _spacing_along(own, target)
    axes = list(zip(own.size, own.spacing, spacing, strict=True))
    counts = [_count(n, fine, coarse) for n, fine, coarse in axes]
    tents = [
        _tent(n, fine, count, coarse)
        for (n, fine, coarse), count in zip(axes, counts, strict=True)
    ]
    return spacing, counts, tents


def _spacing_along(own: Grid, target: Grid) -> list[float]:
    """Return, for each own axis, the coarser of its and the target's spacing there."""
    axes = np.abs(np.linalg.inv(np.array(target.direction)) @ np.array(own.direction))
    return [
        max(fine, target.spacing[int(axis.argmax())])
        for fine, axis in zip(own.spacing, axes.T, strict=True)
    ]


def _count(size: int, fine: float, coarse: float) -> int:
    """Return how many voxels of `coarse` mm cover `size` centres `fine` mm apart."""
    return size if coarse <= fine else math.ceil((size - 1) * fine / coarse - 1e-6) + 1


def _tent(size: int, fine: float, count: int, coarse: float) -> sparse.csr_array:
    """Return weights ``(count, size)`` that shrink an axis about its centre.

    Away from the ends they are tilted a little, so that the samples under the tent
    have their centre of gravity exactly at its tip: nothing is displaced. Where there
    is nothing to shrink, they change nothing. A row holds a few weights; keeping only
    those is faster than a threaded product with the zeros, above all on a busy machine.
    """
    if coarse <= fine:
        return sparse.eye_array(size, dtype=np.float32, format="csr")
    wanted = (np.arange(count) - (count - 1) / 2) * coarse
    given = (np.arange(size) - (size - 1) / 2) * fine
    distance = given - wanted[:, None]
    weights = np.maximum(0.0, 1.0 - np.abs(distance) / coarse)
    whole = np.abs(wanted) + coarse <= (size - 1) / 2 * fine
    first, second = ((weights * distance**power).sum(axis=1) for power in (1, 2))
    tilt = np.divide(first, second, out=np.zeros(count), where=whole & (second > 0))
    weights *= 1.0 - tilt[:, None] * distance
    weights /= weights.sum(axis=1, keepdims=True)
    return sparse.csr_array(weights.astype(np.float32))


def _centre_grid(own: Grid, counts: list[int], spacing: list[float]) -> Grid:
    """Return the grid of other counts and spacings with the same centre and axes."""
    x, y, z = counts
    sx, sy, sz = spacing
    half = (np.array(counts) - 1) / 2 * np.array(spacing)
    ox, oy, oz = (float(v) for v in own.centre - np.array(own.direction) @ half)
    return Grid((x, y, z), (sx, sy, sz), (ox, oy, oz), own.direction)
