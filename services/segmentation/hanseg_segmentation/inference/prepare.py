"""A case's images as a network sees them, cropped to what is not air."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.back_to_grid import TO_THE_FACES, WayBack
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.inference.nnunet_frame import place_in, worth_above
from hanseg_segmentation.inference.nnunet_input import image_input
from hanseg_segmentation.inference.preprocess import (
    AIR_HU,
    model_grid,
    mr_to_model_grid,
    network_input,
    normalise_ct,
    to_model_grid,
)
from hanseg_segmentation.inference.tile_input import Source, WholeInput
from hanseg_segmentation.inference.tiling import Worth, span_of
from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask

TISSUE_HU = -400.0
"""Voxels of the model's grid above this are not air; lung and foam count as air."""

BOX_MARGIN = 4
"""Voxels of the model's grid kept around everything that is not air."""

LEAST_STEP_HU = 1.0
"""What is above a model's lowest HU by this is not what it takes for air."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedCase:
    """A case as the network sees it.

    Attributes:
        source: Normalised network input, in the network's axes.
        worth: What is not air; None if every tile is run.
        grid: Where the network's voxels are.
        output: The grid of the label map: the CT's.
        way: How voxels of `output` are looked up among the network's.
        centred: Whether a small volume is padded on both sides.
    """

    source: Source
    worth: Worth | None
    grid: Grid
    output: Grid
    way: WayBack
    centred: bool = False

    def on_own_grid(self) -> PreparedCase:
        """Return the same case, to be labelled on the network's own grid."""
        return replace(self, output=self.grid, way=WayBack(np.eye(4)))


def prepare(images: CaseImages, model: LoadedModel) -> PreparedCase:
    """Return a case as a model sees it.

    Raises:
        ImageContentError: The CT shows nothing but air.
        ModelError: The model cannot do without an image that is missing.
    """
    if model.package.frame == "image":
        return _prepare_as_nnunet(images, model)
    return _prepare_on_model_grid(images, model.package)


def _prepare_on_model_grid(images: CaseImages, package: ModelPackage) -> PreparedCase:
    grid = model_grid(images.grid, spacing=package.spacing_mm)
    ct_hu = to_model_grid(images.ct, grid, background=AIR_HU).array
    box = _box(ct_hu > TISSUE_HU)
    z, y, x = box
    grid = grid.crop((x.start, y.start, z.start), (_length(x), _length(y), _length(z)))
    ct_hu = ct_hu[box]
    mr_values = mask = None
    if images.mr is not None and images.field_of_view is not None:
        mr, seen = mr_to_model_grid(images.mr, images.field_of_view, grid)
        mr_values, mask = mr.array, seen.array
    channels = network_input(
        ct_hu,
        mr_values,
        mask,
        normalisation=package.normalisation,
        names=package.channels,
    )
    return PreparedCase(
        WholeInput(channels, _air(package)),
        Worth(ct_hu > TISSUE_HU, (1, 1, 1)),
        grid,
        images.grid,
        WayBack.between(images.grid, grid),
    )


def _prepare_as_nnunet(images: CaseImages, model: LoadedModel) -> PreparedCase:
    package = model.package
    frame = place_in(images, package)
    worth = None
    if not model.is_exact and "ct" in package.channels:
        tissue = max(TISSUE_HU, package.normalisation.ct.low_hu + LEAST_STEP_HU)
        worth = worth_above(frame, images.ct, tissue)
    return PreparedCase(
        image_input(frame, images, package),
        worth,
        frame.grid(images.grid),
        images.grid,
        WayBack(frame.network_from_image, TO_THE_FACES, frame.separate_axis_back),
        centred=True,
    )


def _air(package: ModelPackage) -> tuple[float, ...]:
    """Return what air is in each channel: its normalised HU in the CT, 0 elsewhere."""
    air = normalise_ct(np.array([[[AIR_HU]]]), package.normalisation.ct).item()
    return tuple(float(air) if name == "ct" else 0.0 for name in package.channels)


def _box(mask: Mask) -> tuple[slice, slice, slice]:
    """Return the part of the array around everything in the mask, with a margin."""
    if not mask.any():
        raise ImageContentError(
            f"the CT shows nothing denser than {TISSUE_HU:.0f} HU: it is all air"
        )
    spans = (
        span_of(np.moveaxis(mask, axis, 0), 1, size)
        for axis, size in enumerate(mask.shape)
    )
    z, y, x = (
        slice(max(0, first - BOX_MARGIN), min(size, last + BOX_MARGIN))
        for (first, last), size in zip(spans, mask.shape, strict=True)
    )
    return z, y, x


def _length(span: slice) -> int:
    return int(span.stop - span.start)
