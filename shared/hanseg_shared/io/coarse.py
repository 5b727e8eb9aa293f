"""A regular sample of an image's voxels, about 4 mm apart, on the image's own axes.

It holds what a patient's body and the values in it are found by, and is small whatever
the image's size: it can be taken from a file that is only streamed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hanseg_shared.grid import Grid
from hanseg_shared.volume import Mask, Volume

SAMPLE_MM = 4.0
"""Distance, about, of a sample's voxels."""

MOST_SAMPLES = 1 << 20
"""More voxels than this are not looked at, however large the image."""

FEWEST_ALONG = 16
"""An image's smaller sides are sampled so often, however fine its voxels."""

Flat = npt.NDArray[np.generic]
Steps = tuple[int, int, int]


def sample_steps(
    grid: Grid, *, apart_mm: float = SAMPLE_MM, most: int = MOST_SAMPLES
) -> Steps:
    """Return every how many voxels along z, y and x a sample is taken.

    Args:
        grid: The image's.
        apart_mm: How far apart they are, about.
        most: More are not taken.
    """
    z, y, x = (
        max(1, min(round(apart_mm / spacing), n // FEWEST_ALONG))
        for spacing, n in zip(grid.spacing[::-1], grid.shape, strict=True)
    )
    while np.prod(_counts(grid, (z, y, x))) > most:
        z, y, x = z + 1, y + 1, x + 1
    return z, y, x


def sample_grid(grid: Grid, steps: Steps) -> Grid:
    """Return where the voxels of a sample lie."""
    z, y, x = steps
    nz, ny, nx = _counts(grid, steps)
    dx, dy, dz = grid.spacing
    return Grid((nx, ny, nz), (dx * x, dy * y, dz * z), grid.origin, grid.direction)


def sample(
    image: Volume, *, apart_mm: float = SAMPLE_MM, most: int = MOST_SAMPLES
) -> Volume:
    """Return every so many voxels of an image; a view. See `sample_steps`."""
    z, y, x = steps = sample_steps(image.grid, apart_mm=apart_mm, most=most)
    return Volume(image.array[::z, ::y, ::x], sample_grid(image.grid, steps))


class Sampler:
    """Takes a sample from an image whose voxels go by in pieces.

    Attributes:
        nan: Which voxels of the sample have NaN in the block that they stand for,
            indexed z, y, x.
    """

    def __init__(self, grid: Grid) -> None:
        """Prepare for an image on `grid`."""
        self._grid, self._steps = grid, sample_steps(grid)
        counts = _counts(grid, self._steps)
        self._values = np.full(counts, np.nan, dtype=np.float32)
        self.nan: Mask = np.zeros(counts, dtype=bool)
        z, y, x = (
            np.arange(n, dtype=np.int64) * step
            for n, step in zip(counts, self._steps, strict=True)
        )
        _, ny, nx = grid.shape
        self._wanted = ((z[:, None, None] * ny + y[:, None]) * nx + x).reshape(-1)

    def watch(self, pieces: Iterator[Flat]) -> Iterator[Flat]:
        """Pass pieces on, all values in stored order, and keep what is sampled."""
        values, start = self._values.reshape(-1), 0
        for piece in pieces:
            end = start + piece.size
            first, last = np.searchsorted(self._wanted, (start, end))
            values[first:last] = piece[self._wanted[first:last] - start]
            if np.issubdtype(piece.dtype, np.floating):
                self._note_nan(np.flatnonzero(np.isnan(piece)) + start)
            start = end
            yield piece

    @property
    def sample(self) -> Volume:
        """What was sampled, float32."""
        return Volume(self._values, sample_grid(self._grid, self._steps))

    def _note_nan(self, index: npt.NDArray[np.intp]) -> None:
        if index.size:
            at = np.unravel_index(index, self._grid.shape)
            blocks = [i // step for i, step in zip(at, self._steps, strict=True)]
            self.nan[tuple(blocks)] = True


def _counts(grid: Grid, steps: Steps) -> tuple[int, int, int]:
    nz, ny, nx = grid.shape
    return -(-nz // steps[0]), -(-ny // steps[1]), -(-nx // steps[2])
