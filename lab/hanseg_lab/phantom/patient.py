"""One simulated patient: how this one differs from the template, and their tissues."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.phantom.shapes import Coordinates, Inside, Shape
from hanseg_lab.phantom.template import STRUCTURES, frame
from hanseg_lab.phantom.template.structure import Group, Structure
from hanseg_lab.phantom.tissue import Tissue
from hanseg_shared.organs import organ
from hanseg_shared.volume import LabelMap

COARSE_STEP = 4
"""Step, in voxels, at which bounding boxes of shapes are compared with positions."""

WARP_RANGE_MM = 240.0
"""Half the edge of the cube, about the brain stem, in which the smooth warp lives."""


@dataclass(frozen=True, slots=True, eq=False)
class Painted:
    """Tissues and organs of a patient, sampled at a block of points.

    Attributes:
        tissue: `Tissue` numbers, indexed z, y, x.
        labels: Organ labels 0 to 30, indexed z, y, x.
    """

    tissue: npt.NDArray[np.uint8]
    labels: LabelMap


@dataclass(frozen=True, slots=True, eq=False)
class Warp:
    """A smooth displacement on a coarse lattice.

    Attributes:
        lattice: Displacements in mm, shape (3, n, n, n), axes x, y, z.
    """

    lattice: npt.NDArray[np.float32]

    def displacement(self, points: Coordinates) -> list[npt.NDArray[np.float32]]:
        """Return the displacement in mm along x, y and z at every point."""
        n = self.lattice.shape[1]
        index = [(p + WARP_RANGE_MM) * ((n - 1) / (2 * WARP_RANGE_MM)) for p in points]
        return [
            ndimage.map_coordinates(axis, index, order=1, mode="nearest")
            for axis in self.lattice
        ]

    @classmethod
    def random(cls, rng: np.random.Generator, *, amplitude_mm: float) -> Warp:
        """Return a random warp of displacements with about that standard deviation."""
        field = rng.standard_normal((3, 25, 25, 25))
        smooth = np.stack([ndimage.gaussian_filter(f, 1.6, mode="wrap") for f in field])
        scaled = smooth * (amplitude_mm / smooth.std())
        return cls(np.clip(scaled, -10, 10).astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """How one patient differs from the template.

    Positions are relative to the patient's own brain stem, in mm LPS.

    Attributes:
        rotation: Head pose, 3 x 3; template = rotation^T patient.
        scale: Size along x, y and z; 1 is the template's.
        neck_length: Length of the neck, 1 is the template's.
        flexion: Bend of the neck to the front: mm at 100 mm below the brain stem.
        asymmetry: Drift of the mid-line to the left per mm downward.
        warp: Small smooth differences.
        structures: The bricks, already varied.
    """

    rotation: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    neck_length: float
    flexion: float
    asymmetry: float
    warp: Warp
    structures: tuple[Structure, ...]

    @classmethod
    def random(cls, rng: np.random.Generator) -> Patient:
        """Return a random patient."""
        degrees = rng.normal(0, (6.5, 2.5, 2.5))
        size = rng.normal(1, 0.035)
        return cls(
            rotation=rotation_matrix(np.clip(degrees, -16, 16)),
            scale=size * np.clip(rng.normal(1, (0.035, 0.035, 0.035)), 0.9, 1.1),
            neck_length=float(np.clip(rng.normal(1, 0.09), 0.8, 1.25)),
            flexion=float(rng.normal(0, 6)),
            asymmetry=float(rng.normal(0, 0.02)),
            warp=Warp.random(rng, amplitude_mm=2.5),
            structures=_vary_structures(rng),
        )

    def to_template(self, points: Coordinates) -> Coordinates:
        """Return the template position of points relative to the brain stem."""
        scaled = [
            sum(self.rotation[j, i] * points[j] for j in range(3)) / self.scale[i]
            for i in range(3)
        ]
        x, y, z = scaled
        below = np.maximum(-40.0 - z, 0.0)
        lower = np.minimum(below, 110.0)
        z = z + below * (1 - 1 / self.neck_length)
        y = y + self.flexion * (lower / 100.0) ** 2
        x = x - self.asymmetry * below
        coordinates = tuple(np.asarray(c, np.float32) for c in (x, y, z))
        moved = self.warp.displacement((coordinates[0], coordinates[1], coordinates[2]))
        a, b, c = (p + d for p, d in zip(coordinates, moved, strict=True))
        return a, b, c

    def paint(self, points: Coordinates) -> Painted:
        """Return tissues and organs at points given relative to the brain stem."""
        canvas = _Canvas.blank(self.to_template(points))
        canvas.lay_body()
        canvas.lay_head()
        for structure in self.structures:
            canvas.lay(structure)
        return Painted(canvas.tissue, canvas.labels)


def rotation_matrix(degrees: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return ``Rz Ry Rx`` of the angles about x, y and z in degrees."""
    a, b, c = np.deg2rad(degrees)
    rx = [[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]
    ry = [[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]
    rz = [[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]
    return np.array(rz) @ np.array(ry) @ np.array(rx)


@dataclass(frozen=True, slots=True)
class _Moved:
    """A shape, scaled about its middle and shifted."""

    shape: Shape
    middle: tuple[float, float, float]
    scale: tuple[float, float, float]
    shift: tuple[float, float, float]

    def contains(self, points: Coordinates) -> Inside:
        x, y, z = (
            (p - np.float32(m + d)) * np.float32(1 / s) + np.float32(m)
            for p, m, s, d in zip(
                points, self.middle, self.scale, self.shift, strict=True
            )
        )
        return self.shape.contains((x, y, z))

    def bounds(self) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
        low, high = (
            [
                (v - m) * s + m + d
                for v, m, s, d in zip(
                    corner, self.middle, self.scale, self.shift, strict=True
                )
            ]
            for corner in self.shape.bounds()
        )
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


GROUP_SHIFT_SD_MM: dict[Group, tuple[float, float, float]] = {
    Group.FRAME: (0.0, 0.0, 0.0),
    Group.JAW: (0.8, 3.5, 3.5),
    Group.LARYNX: (1.0, 2.5, 9.0),
    Group.EYES: (0.0, 2.0, 2.0),
    Group.FREE: (0.0, 0.0, 0.0),
}
"""How far a group moves as one, in mm; larynx height varies most (OpenKBP: 18 mm)."""


def _vary_structures(rng: np.random.Generator) -> tuple[Structure, ...]:
    """Return the template's structures, each group and each organ moved a little."""
    shifts = {g: rng.normal(0, 1, 3) * sd for g, sd in GROUP_SHIFT_SD_MM.items()}
    own: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]] = {}
    toothless = rng.random() < 0.2
    result = []
    for structure in STRUCTURES:
        if toothless and structure.tissue is Tissue.TOOTH:
            continue
        key = structure.organ or ""
        if key and key not in own:
            loose = structure.group is Group.FREE
            own[key] = (
                rng.normal(0, 2.5 if loose else 0.5, 3),
                np.clip(rng.normal(1, 0.1 if loose else 0.04, 3), 0.75, 1.3),
            )
        shift, scale = own.get(key, (np.zeros(3), np.ones(3)))
        result.append(_move(structure, shifts[structure.group] + shift, scale))
    return tuple(result)


def _move(
    structure: Structure,
    shift: npt.NDArray[np.float64],
    scale: npt.NDArray[np.float64],
) -> Structure:
    low, high = structure.shape.bounds()
    mx, my, mz = ((a + b) / 2 for a, b in zip(low, high, strict=True))
    sx, sy, sz = (float(v) for v in scale)
    dx, dy, dz = (float(v) for v in shift)
    moved = _Moved(structure.shape, (mx, my, mz), (sx, sy, sz), (dx, dy, dz))
    return replace(structure, shape=moved)


@dataclass(slots=True, eq=False)
class _Canvas:
    """The canvas of a patient: tissue and label of every point."""

    points: Coordinates
    coarse: Coordinates
    tissue: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    body: Inside

    @classmethod
    def blank(cls, points: Coordinates) -> _Canvas:
        shape = points[0].shape
        picks = [
            np.unique(np.append(np.arange(0, n, COARSE_STEP), n - 1)) for n in shape
        ]
        a, b, c = (p[np.ix_(*picks)] for p in points)
        zeros = np.zeros(shape, np.uint8)
        return cls(points, (a, b, c), zeros, zeros.copy(), np.zeros(shape, bool))

    def lay_body(self) -> None:
        """Fill the body with fat under a skin."""
        inside = frame.BODY.contains(self.points)
        inside |= frame.NOSE.contains(self.points)
        inside |= frame.EAR.contains(self.points)
        self.body = inside
        self.tissue[inside] = Tissue.FAT
        skin = inside & ~ndimage.binary_erosion(inside)
        self.tissue[skin] = Tissue.SKIN

    def lay_head(self) -> None:
        """Lay the brain case: bone around the brain, open to the face below."""
        x, y, z = self.points
        head = z > -60
        floor = cranial_floor(x, y)
        cavity = frame.CRANIAL_CAVITY.contains(self.points) & (z > floor)
        fossa = frame.POSTERIOR_FOSSA.contains(self.points) & (y > -12)
        case = frame.SKULL.contains(self.points) & (z > floor - 5)
        occiput = frame.OCCIPUT.contains(self.points) & (y > -14)
        brain = (cavity | fossa) & head
        bone = (case | occiput) & head & ~brain & self.body
        self.tissue[bone] = Tissue.BONE
        self.tissue[brain & self.body] = Tissue.BRAIN

    def lay(self, structure: Structure) -> None:
        """Lay one structure over what is there."""
        window = self._window(structure)
        if window is None:
            return
        a, b, c = (p[window] for p in self.points)
        inside = structure.shape.contains((a, b, c))
        if structure.inside_body:
            inside &= self.body[window]
        if structure.tissue is not None:
            self.tissue[window][inside] = structure.tissue
        if structure.organ is not None:
            label = organ(structure.organ).label if structure.organ else 0
            self.labels[window][inside] = label

    def _window(self, structure: Structure) -> tuple[slice, slice, slice] | None:
        """Return the block of points that can lie in the structure, None if none."""
        low, high = structure.shape.bounds()
        near = np.ones(self.coarse[0].shape, bool)
        for p, a, b in zip(self.coarse, low, high, strict=True):
            margin = 2.5 * COARSE_STEP * self._step()
            near &= (p >= a - margin) & (p <= b + margin)
        if not near.any():
            return None
        slices = []
        for axis, n in enumerate(self.points[0].shape):
            others = tuple(i for i in range(3) if i != axis)
            hits = np.flatnonzero(near.any(axis=others))
            start = max(0, (hits[0] - 1) * COARSE_STEP)
            slices.append(slice(start, min(n, (hits[-1] + 1) * COARSE_STEP + 1)))
        return slices[0], slices[1], slices[2]

    def _step(self) -> float:
        """Return the largest distance along an axis of neighbouring points, in mm."""
        steps = [0.0]
        for axis, n in enumerate(self.points[0].shape):
            if n > 1:
                pair = [m // 2 for m in self.points[0].shape]
                pair[axis] = n // 2 - 1
                here, next_ = tuple(pair), list(pair)
                next_[axis] += 1
                steps += [abs(float(p[tuple(next_)] - p[here])) for p in self.points]
        return max(steps)


def cranial_floor(
    x: npt.NDArray[np.float32], y: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Return the height in mm below which the anterior brain case ends.

    The anterior fossa lies above the orbits, the middle fossa beside the sella, the
    posterior fossa holds the cerebellum.
    """
    side = np.clip((np.abs(x) - 16) / 8, 0, 1)
    middle = 20 - 28 * side
    forward = np.clip((-42 - y) / 8, 0, 1)
    backward = np.clip((y + 16) / 8, 0, 1)
    floor = middle + forward * (42 + 0.0 * x - middle)
    return np.asarray(floor + backward * (-30 - floor), np.float32)
