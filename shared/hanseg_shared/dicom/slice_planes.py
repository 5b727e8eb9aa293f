"""Where the pixels of a stack of slices are, evenly spaced or not, in mm LPS."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hanseg_shared.grid import Grid, Points
from hanseg_shared.io.dicom.source import SeriesSource


@dataclass(frozen=True, slots=True, eq=False)
class SlicePlanes:
    """Parallel slices of one size, each of which may lie anywhere along the stack.

    Attributes:
        positions: Of the centre of each slice's first pixel, shape ``(n, 3)``.
        axes: Columns are unit vectors: along a row of pixels, down a column, and
            along the stack, in which the slices ascend.
        spacing: Distance of pixels along a row and down a column.
        columns: Pixels along a row.
        rows: Pixels down a column.
    """

    positions: Points
    axes: Points
    spacing: tuple[float, float]
    columns: int
    rows: int

    @classmethod
    def from_grid(cls, grid: Grid) -> SlicePlanes:
        """Return the slices of a volume along z."""
        columns, rows, count = grid.size
        index = np.zeros((count, 3))
        index[:, 2] = np.arange(count)
        x, y, _ = grid.spacing
        axes = np.array(grid.direction)
        return cls(grid.index_to_world(index), axes, (x, y), columns, rows)

    @classmethod
    def from_series(cls, series: SeriesSource) -> SlicePlanes:
        """Return the slices of a DICOM series, as they are."""
        positions = np.array([each.position for each in series.slices])
        x, y, _ = series.spacing
        axes = np.array(series.direction)
        return cls(positions, axes, (x, y), series.columns, series.rows)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows, columns."""
        return len(self.positions), self.rows, self.columns

    @property
    def depths_mm(self) -> Points:
        """Where the slices are along the stack, ascending, shape ``(n,)``."""
        return np.asarray(self.positions @ self.axes[:, 2])

    @property
    def voxel_ml(self) -> float:
        """Volume that a pixel stands for, in ml, by the slices' mean distance."""
        depths = self.depths_mm
        gap = (depths[-1] - depths[0]) / max(len(depths) - 1, 1) if len(depths) else 0
        return float(self.spacing[0] * self.spacing[1] * (gap or 1.0)) / 1000.0

    def nearest(self, depths_mm: Points) -> tuple[np.ndarray, Points]:
        """Return the slice nearest to each depth, and its distance from it in mm."""
        known = self.depths_mm
        after = np.clip(np.searchsorted(known, depths_mm), 1, max(len(known) - 1, 1))
        if len(known) == 1:
            after = np.zeros(len(depths_mm), dtype=np.intp)
        before = np.maximum(after - 1, 0)
        nearer = np.abs(depths_mm - known[before]) <= np.abs(depths_mm - known[after])
        index = np.where(nearer, before, after)
        return index, np.abs(depths_mm - known[index])

    def pixels(self, points: Points, index: np.ndarray) -> Points:
        """Return where points are in pixels (column, row) of the slices given.

        Args:
            points: In mm LPS, shape ``(n, 3)``.
            index: The slice of each, shape ``(n,)``.
        """
        offset = points - self.positions[index]
        return np.asarray(offset @ self.axes[:, :2] / self.spacing)
