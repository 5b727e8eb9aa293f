"""Where a network that works as nnU-Net does has its voxels in an image.

nnU-Net (Isensee et al. 2021, doi 10.1038/s41592-020-01008-z) works on the image's own
axes, cropped to what is not 0. Images are oriented along the nearest axes of the
patient first, by flips and permutations, so that left is left however a scanner stored
it: towards the sides that the model's ``orientation`` names. Arrays are in the
network's order of axes, which is (z, y, x) unless the model's ``transpose`` says
otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.tiling import Shape, Worth
from hanseg_segmentation.packages.package import LPS, PATIENT_AXES, ModelPackage
from hanseg_shared.errors import ImageContentError
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.volume import Volume, Voxels

Matrix = npt.NDArray[np.float64]
Slices = tuple[slice, slice, slice]
Flips = tuple[bool, bool, bool]
T = TypeVar("T")

BLOCK = 4
"""Edge, in voxels of the image, of the blocks that are air or not."""


@dataclass(frozen=True, slots=True)
class ImageFrame:
    """Where the network's voxels lie in an image.

    Attributes:
        axes: Axis of the image's array (z, y, x) = (0, 1, 2) along each network axis.
        flipped: Whether the network's axis runs against the image's.
        box: What the crop leaves of the oriented image.
        shape: Number of the network's voxels along its axes.
        spacing_mm: Of the oriented image, along the network's axes.
        model_spacing_mm: Of the model, along the network's axes.
        image_shape: Of the oriented image, before the crop.
        separate_above: Where images are resampled slice by slice; see `ModelPackage`.
        separate_above_back: The same for logits.
    """

    axes: Shape
    flipped: Flips
    box: Slices
    shape: Shape
    spacing_mm: Vector
    model_spacing_mm: Vector
    image_shape: Shape
    separate_above: float | None
    separate_above_back: float | None

    @property
    def cropped_shape(self) -> Shape:
        """Number of voxels that the crop leaves of the oriented image."""
        z, y, x = (part.stop - part.start for part in self.box)
        return z, y, x

    @property
    def separate_axis(self) -> int | None:
        """The network's axis along which images are not interpolated, if any."""
        return separate_axis(
            self.spacing_mm, self.model_spacing_mm, above=self.separate_above
        )

    @property
    def separate_axis_back(self) -> int | None:
        """The network's axis along which logits are not interpolated, if any."""
        return separate_axis(
            self.model_spacing_mm, self.spacing_mm, above=self.separate_above_back
        )

    def orient(self, array: Voxels) -> Voxels:
        """Return a view of an image's array, oriented and cropped."""
        return _orient(array, self.axes, self.flipped)[self.box]

    @property
    def network_from_image(self) -> Matrix:
        """Homogeneous matrix from image indices (x, y, z) to the network's.

        The network's are in the reverse of its order of axes, so that they are
        (x, y, z) where nothing is transposed. Voxels' faces, not their centres, meet
        at the borders of the crop, as in scikit-image's ``resize``.
        """
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1.0
        for axis in range(3):
            scale = self.shape[axis] / self.cropped_shape[axis]
            first = self.box[axis].start
            row, column = 2 - axis, 2 - self.axes[axis]
            if self.flipped[axis]:
                matrix[row, column] = -scale
                first = first - (self.image_shape[axis] - 1)
            else:
                matrix[row, column] = scale
            matrix[row, 3] = (0.5 - first) * scale - 0.5
        return matrix

    def grid(self, image: Grid) -> Grid:
        """Return where the network's voxels are; not always right-handed."""
        matrix = image.world_from_index @ np.linalg.inv(self.network_from_image)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        direction = matrix[:3, :3] / spacing
        z, y, x = self.shape
        rows = tuple(tuple(float(value) for value in row) for row in direction)
        return Grid((x, y, z), _three(spacing), _three(matrix[:3, 3]), rows)  # type: ignore[arg-type]


def place_in(images: CaseImages, package: ModelPackage) -> ImageFrame:
    """Return where a network's voxels lie in a case's images.

    Args:
        images: Of any orientation; what is 0 in all those that the network sees is
            cropped away.
        package: The model.

    Raises:
        ImageContentError: All images hold nothing but 0.
    """
    grid = images.grid
    own_axes, flips = _choose_axes(grid, package.orientation)
    axes = _three_of(own_axes[axis] for axis in package.transpose)
    flipped = _three_of(flips[axis] for axis in package.transpose)
    seen = [images.of_channel(name) for name in package.channels]
    arrays = [each.array for each in seen if each is not None] or [images.ct.array]
    oriented = [_orient(array, axes, flipped) for array in arrays]
    box = _nonzero_box(oriented)
    spacing = _three(np.array([grid.spacing[2 - axis] for axis in axes]))
    model = _three(np.array([package.spacing_mm[2 - a] for a in package.transpose]))
    shape = _three_of(
        max(1, round(s / m * (part.stop - part.start)))
        for s, m, part in zip(spacing, model, box, strict=True)
    )
    return ImageFrame(
        axes,
        flipped,
        box,
        shape,
        spacing,
        model,
        _three_of(oriented[0].shape),
        package.separate_above,
        package.separate_above_back,
    )


def worth_above(frame: ImageFrame, ct: Volume, hu: float) -> Worth:
    """Return where a CT has voxels above some HU, on the network's grid.

    Blocks next to such a voxel count as well, since a spline reaches two voxels far.
    """
    voxels = frame.orient(ct.array)
    counts = [-(-edge // BLOCK) for edge in voxels.shape]
    blocks = np.zeros(counts, dtype=bool)
    for number in range(len(voxels)):
        plane = np.zeros((counts[1] * BLOCK, counts[2] * BLOCK), dtype=bool)
        plane[: voxels.shape[1], : voxels.shape[2]] = voxels[number] > hu
        tiles = plane.reshape(counts[1], BLOCK, counts[2], BLOCK)
        blocks[number // BLOCK] |= tiles.any(axis=(1, 3))
    around = ndimage.binary_dilation(blocks, np.ones((3, 3, 3), dtype=bool))
    z, y, x = (
        BLOCK * new / old
        for new, old in zip(frame.shape, frame.cropped_shape, strict=True)
    )
    return Worth(around, (z, y, x))


def separate_axis(current: Vector, new: Vector, *, above: float | None) -> int | None:
    """Return the axis that nnU-Net does not interpolate along; None if there is none.

    It is the axis of the largest spacing of the first of both whose spacings are
    further apart than `above`, None for never; two such axes are none.
    """
    if above is None:
        return None
    for spacing in (current, new):
        if max(spacing) / min(spacing) > above:
            largest = [axis for axis in range(3) if max(spacing) / spacing[axis] == 1]
            return largest[0] if len(largest) == 1 else None
    return None


def _choose_axes(grid: Grid, orientation: str) -> tuple[Shape, Flips]:
    """Return which of the image's axes become z, y and x, and which are flipped.

    Args:
        grid: The image's.
        orientation: Towards which sides x, y and z are to run, such as ``RAS``.
    """
    nearest = _nearest_axes(grid)
    axes, flips = [0, 0, 0], [False, False, False]
    for number, side in enumerate(orientation):
        own, against = nearest[PATIENT_AXES[side]]
        axes[2 - number] = 2 - own
        flips[2 - number] = against != (side not in LPS)
    return _three_of(axes), _three_of(flips)


def _nearest_axes(grid: Grid) -> dict[str, tuple[int, bool]]:
    """Return the image's axis nearest to each of the patient's, and if it runs against.

    The pair that agrees best is chosen first, as ITK's ``DICOMOrient`` and nibabel's
    ``io_orientation`` do.
    """
    direction = np.array(grid.direction)
    left = np.abs(direction)
    found = {}
    for _ in range(3):
        patient, own = np.unravel_index(int(left.argmax()), left.shape)
        found["xyz"[patient]] = (int(own), bool(direction[patient, own] < 0))
        left[patient, :] = left[:, own] = -1.0
    return found


def _orient(array: Voxels, axes: Shape, flipped: Flips) -> Voxels:
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flipped)
    oriented: Voxels = array.transpose(axes)[steps]
    return oriented


def _nonzero_box(images: Sequence[Voxels]) -> Slices:
    """Return the box around everything that is not 0 in every image."""
    box = []
    for axis, size in enumerate(images[0].shape):
        first = _first_nonzero(images, axis, range(size))
        if first is None:
            raise ImageContentError("the CT holds nothing but 0: it shows nothing")
        last = _first_nonzero(images, axis, range(size - 1, -1, -1))
        box.append(slice(first, first + 1 if last is None else last + 1))
    z, y, x = box
    return z, y, x


def _first_nonzero(images: Sequence[Voxels], axis: int, numbers: range) -> int | None:
    for number in numbers:
        index = (slice(None),) * axis + (number,)
        if any(image[index].any() for image in images):
            return number
    return None


def _three(values: npt.NDArray[np.float64]) -> Vector:
    x, y, z = (float(value) for value in values)
    return x, y, z


def _three_of(values: Iterable[T]) -> tuple[T, T, T]:
    one, two, three = values
    return one, two, three
