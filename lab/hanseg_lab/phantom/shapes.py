"""Solid shapes in millimetres: the bricks of the simulated patient.

All coordinates are LPS mm of the template (x left, y back, z up). A shape answers
which points lie inside it; points come as three float32 arrays of one shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Coordinates = tuple[
    npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]
]
"""Template x, y and z of every point, in mm, as arrays of one shape."""

Inside = npt.NDArray[np.bool_]
Position = tuple[float, float, float]


class Shape(Protocol):
    """A solid: what is inside, and a box that surely holds it."""

    def contains(self, points: Coordinates) -> Inside:
        """Return which points are inside."""
        ...

    def bounds(self) -> tuple[Position, Position]:
        """Return the lowest and highest corner of a box around it, in mm."""
        ...


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid along the axes; `cut_front` keeps only what is in front of a plane.

    Attributes:
        centre: In mm.
        semi: Semi-axes in mm.
        y_max: Points with a larger y (further back) are not part of it.
        y_min: Points with a smaller y (further front) are not part of it.
    """

    centre: Position
    semi: Position
    y_max: float = np.inf
    y_min: float = -np.inf

    def contains(self, points: Coordinates) -> Inside:
        """Return which points are inside."""
        total = np.zeros(points[0].shape, np.float32)
        for p, c, s in zip(points, self.centre, self.semi, strict=True):
            total += ((p - np.float32(c)) * np.float32(1 / s)) ** 2
        inside: Inside = total <= 1
        if np.isfinite(self.y_max):
            inside &= points[1] <= self.y_max
        if np.isfinite(self.y_min):
            inside &= points[1] >= self.y_min
        return inside

    def bounds(self) -> tuple[Position, Position]:
        """Return the lowest and highest corner of a box around it, in mm."""
        low = np.subtract(self.centre, self.semi)
        high = np.add(self.centre, self.semi)
        return _position(low), _position(high)


@dataclass(frozen=True, slots=True)
class Tube:
    """A chain of balls: everything within a varying radius of a polyline.

    Attributes:
        nodes: Polyline in mm.
        radii: Radius at each node in mm, interpolated between.
        stretch: Factors by which the tube is longer along x, y and z than a round
            one; a plate is a tube with a large stretch along one axis.
    """

    nodes: tuple[Position, ...]
    radii: tuple[float, ...]
    stretch: Position = (1.0, 1.0, 1.0)

    def contains(self, points: Coordinates) -> Inside:
        """Return which points are inside."""
        inside = np.zeros(points[0].shape, bool)
        scale = 1 / np.array(self.stretch, np.float32)
        scaled = [p * s for p, s in zip(points, scale, strict=True)]
        nodes = np.array(self.nodes, np.float32) * scale
        for k in range(len(nodes) - 1):
            a, ab = nodes[k], nodes[k + 1] - nodes[k]
            rel = [p - c for p, c in zip(scaled, a, strict=True)]
            along = sum(r * c for r, c in zip(rel, ab, strict=True)) / float(ab @ ab)
            t = np.clip(along, 0, 1)
            square = sum((r - t * c) ** 2 for r, c in zip(rel, ab, strict=True))
            radius = self.radii[k] + t * (self.radii[k + 1] - self.radii[k])
            inside |= square <= radius**2
        return inside

    def bounds(self) -> tuple[Position, Position]:
        """Return the lowest and highest corner of a box around it, in mm."""
        reach = np.array(self.radii)[:, None] * np.array(self.stretch)
        low = (np.array(self.nodes) - reach).min(axis=0)
        high = (np.array(self.nodes) + reach).max(axis=0)
        return _position(low), _position(high)


@dataclass(frozen=True, slots=True)
class Column:
    """A stack of axial ellipses whose centre and semi-axes vary with z.

    Attributes:
        levels: Rows ``(z, x, y, semi_x, semi_y)`` in mm, by rising z.
        power: 2 for ellipses, more for squarer sections.
    """

    levels: tuple[tuple[float, float, float, float, float], ...]
    power: float = 2.0

    def contains(self, points: Coordinates) -> Inside:
        """Return which points are inside."""
        x, y, z = points
        table = np.array(self.levels)
        cx, cy, sx, sy = (
            np.interp(z, table[:, 0], table[:, i]).astype(np.float32)
            for i in range(1, 5)
        )
        ratio = (
            np.abs((x - cx) / sx) ** self.power + np.abs((y - cy) / sy) ** self.power
        )
        return (ratio <= 1) & (z >= table[0, 0]) & (z <= table[-1, 0])

    def bounds(self) -> tuple[Position, Position]:
        """Return the lowest and highest corner of a box around it, in mm."""
        z, x, y, sx, sy = np.array(self.levels).T
        low = ((x - sx).min(), (y - sy).min(), z.min())
        high = ((x + sx).max(), (y + sy).max(), z.max())
        return _position(np.array(low)), _position(np.array(high))


@dataclass(frozen=True, slots=True)
class Both:
    """A shape of the left side together with its mirror image."""

    left: Shape

    def contains(self, points: Coordinates) -> Inside:
        """Return which points are inside."""
        x, y, z = points
        return self.left.contains((np.abs(x), y, z))

    def bounds(self) -> tuple[Position, Position]:
        """Return the lowest and highest corner of a box around it, in mm."""
        low, high = self.left.bounds()
        return (-high[0], low[1], low[2]), high


@dataclass(frozen=True, slots=True)
class Mirror:
    """A shape given for the left side, on the right."""

    left: Shape

    def contains(self, points: Coordinates) -> Inside:
        """Return which points are inside."""
        x, y, z = points
        return self.left.contains((-x, y, z))

    def bounds(self) -> tuple[Position, Position]:
        """Return the lowest and highest corner of a box around it, in mm."""
        low, high = self.left.bounds()
        return (-high[0], low[1], low[2]), (-low[0], high[1], high[2])


def _position(values: npt.NDArray[np.float64]) -> Position:
    x, y, z = (float(v) for v in values)
    return x, y, z
