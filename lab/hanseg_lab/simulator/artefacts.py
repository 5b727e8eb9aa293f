"""What an MR scanner does to a signal: coils, metal, ghosts, noise and cut borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hanseg_lab.simulator.head_anatomy import HeadAnatomy
from hanseg_shared.grid import Grid
from hanseg_shared.itk import resample
from hanseg_shared.volume import Volume

Floats = npt.NDArray[np.float32]

GHOST_SHARE = 0.4
"""Share of the scans in which the patient moved or swallowed."""

BORDER_SHARE = 0.3
"""Share of the scans whose borders hold zeros instead of air."""

METAL_VOID_MM = (3.0, 8.0)
"""How far from metal the signal is gone."""

PILE_UP_MM = 3.0
"""Width of the bright rim around such a void."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The artefacts of one scan.

    Attributes:
        noise: Standard deviation of both channels' noise; fat is 1.
        bias: Coefficients of the coils' field, see `coil_field`.
        ghost: Height of the ghost relative to the patient; 0 without.
        ghost_shift: Share of the field of view by which it is shifted.
        ghost_axis: Axis of the array along which it is: the phase encoding, 1 or 2.
        void_mm: How far from metal the signal is gone.
        border: Share of rows or columns at each side that the scanner fills with 0.
        border_axis: Axis of the array at whose ends they lie, 1 or 2.
        empty_slices: Slices at each end that it fills with 0.
        units: The stored value of average fat.
    """

    noise: float
    bias: tuple[float, ...]
    ghost: float
    ghost_shift: float
    ghost_axis: int
    void_mm: float
    border: float
    border_axis: int
    empty_slices: int
    units: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Faults:
        """Return random faults of one scan."""
        ghost = float(rng.uniform(0.02, 0.08)) if rng.random() < GHOST_SHARE else 0.0
        shift = float(rng.choice((0.5, 0.5, 0.25, 0.33))) + float(rng.normal(0, 0.01))
        axis = int(rng.integers(1, 3))
        void_mm = float(rng.uniform(*METAL_VOID_MM))
        bias = tuple(float(v) for v in rng.normal(0, 0.13, 7))
        cut = rng.random() < BORDER_SHARE
        return cls(
            noise=float(rng.uniform(0.01, 0.04)),
            bias=bias,
            ghost=ghost,
            ghost_shift=shift,
            ghost_axis=axis,
            void_mm=void_mm,
            border=float(rng.uniform(0.02, 0.1)) if cut else 0.0,
            border_axis=int(rng.integers(1, 3)),
            empty_slices=int(rng.integers(0, 3)) if cut else 0,
            units=float(rng.uniform(300, 1500)),
        )


def lose_signal_at_metal(signal: Floats, distance_mm: Floats, void_mm: float) -> Floats:
    """Return a signal with a void around metal and the bright rim about it.

    The scanner's misplacing of what surrounds metal is not simulated: the truth
    stays the truth.
    """
    outside = np.clip((distance_mm - void_mm) / 2.0, 0, 1)
    rim = np.exp(-(((distance_mm - void_mm - PILE_UP_MM) / (PILE_UP_MM / 2)) ** 2))
    lost: Floats = (signal * outside * (1 + 0.7 * rim)).astype(np.float32)
    return lost


def coil_field(shape: tuple[int, ...], coefficients: tuple[float, ...]) -> Floats:
    """Return the coils' sensitivity: a smooth factor that falls off to the ends."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    terms = (x, y, z, x * x, y * y, z * z, x * y)
    exponent = np.zeros(shape, np.float32)
    for weight, term in zip(coefficients, terms, strict=True):
        exponent += np.float32(weight) * term
    return np.exp(exponent, out=exponent)


def scan(
    signal: Floats, faults: Faults, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return the image a scanner stores for a signal, indexed z, y, x, int16."""
    image = signal * coil_field(signal.shape, faults.bias)
    if faults.ghost > 0:
        shift = round(faults.ghost_shift * image.shape[faults.ghost_axis])
        flicker = rng.uniform(-1, 1, (image.shape[0], 1, 1)).astype(np.float32)
        ghost = np.roll(image, shift, faults.ghost_axis) * flicker
        image += np.float32(faults.ghost) * ghost
    image += rng.standard_normal(image.shape, np.float32) * np.float32(faults.noise)
    other = rng.standard_normal(image.shape, np.float32) * np.float32(faults.noise)
    np.hypot(image, other, out=image)  # Rician, doi:10.1002/mrm.1910340618
    image *= np.float32(faults.units)
    stored = np.rint(np.clip(image, 0, 32_000)).astype(np.int16)
    _fill_borders(stored, faults)
    return stored


def _fill_borders(stored: npt.NDArray[np.int16], faults: Faults) -> None:
    """Write zeros, in place, where the scanner has no data."""
    rows = np.moveaxis(stored, faults.border_axis, 0)
    for part, width in (
        (rows, round(faults.border * len(rows))),
        (stored, min(faults.empty_slices, len(stored) // 10)),
    ):
        part[:width] = 0
        part[len(part) - width :] = 0


def metal_distance(anatomy: HeadAnatomy, grid: Grid) -> Floats | None:
    """Return the distance, in mm, from metal on a finer grid; None without metal."""
    if not np.isfinite(anatomy.metal_distance).all():
        return None
    near = np.minimum(anatomy.metal_distance, 60.0).astype(np.float32)
    return resample(Volume(near, anatomy.grid), grid, background=60.0).array
