"""Images of a painted patient: CT in HU with its artefacts, T1 MR with its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.phantom.patient import Painted
from hanseg_lab.phantom.tissue import Tissue, hu_table, t1_table, texture_table
from hanseg_shared.grid import Grid, Vector

Floats = npt.NDArray[np.float32]

ARTEFACT_SHARE = 0.4
"""Share of the patients with teeth whose fillings throw streaks over the slices."""

MASK_SHARE = 0.4
"""Share of the patients who wear a thermoplastic mask over the face."""

CT_RANGE_HU = (-1024, 3071)
"""What 12-bit scanners store."""


def simulate_ct(
    painted: Painted, grid: Grid, rng: np.random.Generator
) -> npt.NDArray[np.int16]:
    """Return the CT of a painted patient in HU, on the grid it was painted on."""
    table = hu_table(rng)
    hu = table[painted.tissue] + _texture(painted, texture_table(), grid.spacing, rng)
    if rng.random() < MASK_SHARE:
        _wear_mask(hu, painted, rng)
    hu = ndimage.gaussian_filter(hu, rng.uniform(0.25, 0.6))
    if rng.random() < ARTEFACT_SHARE:
        hu += _dental_streaks(painted, grid, rng)
    noise_hu = rng.uniform(6, 24) / np.sqrt(max(1.0, grid.voxel_ml * 1000 / 8))
    hu += rng.standard_normal(hu.shape, np.float32) * np.float32(noise_hu)
    rounded: npt.NDArray[np.int16] = np.clip(np.rint(hu), *CT_RANGE_HU).astype(np.int16)
    return rounded


def simulate_t1(painted: Painted, spacing: Vector, rng: np.random.Generator) -> Floats:
    """Return the noiseless T1 signal of a painted patient; muscle is about 0.35."""
    table = t1_table(rng)
    texture = 0.05 * _smooth_noise(painted.tissue.shape, 6.0 / np.array(spacing), rng)
    signal = table[painted.tissue] * (1 + texture)
    sigma = 0.35 if min(spacing) > 1 else 0.7
    blurred: Floats = ndimage.gaussian_filter(signal, sigma)
    return blurred


def scan_t1(signal: Floats, rng: np.random.Generator) -> Floats:
    """Return the signal as a scanner gives it: coil bias, Rician noise, own units."""
    biased = signal * bias_field(signal.shape, rng)
    sd = rng.uniform(0.01, 0.04)
    real = biased + rng.standard_normal(signal.shape, np.float32) * np.float32(sd)
    imaginary = rng.standard_normal(signal.shape, np.float32) * np.float32(sd)
    units = np.float32(rng.uniform(300, 1500))
    return np.hypot(real, imaginary) * units


def bias_field(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Return a smooth factor about 1 that varies by up to about a third."""
    axes = [np.linspace(-1, 1, n, dtype=np.float32) for n in shape]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    a = rng.normal(0, 0.12, 6).astype(np.float32)
    field = a[0] * x + a[1] * y + a[2] * z + a[3] * x * x + a[4] * y * y + a[5] * z * z
    result: Floats = np.exp(field)
    return result


def _smooth_noise(
    shape: tuple[int, ...], sigma: npt.ArrayLike, rng: np.random.Generator
) -> Floats:
    """Return noise of deviation 1, smooth over `sigma` voxels (x, y, z)."""
    step = np.maximum(np.asarray(sigma, float)[::-1], 1.0)
    coarse = [int(np.ceil(n / s)) + 2 for n, s in zip(shape, step, strict=True)]
    noise = rng.standard_normal(coarse, np.float32)
    index = np.meshgrid(
        *[
            np.arange(n, dtype=np.float32) / np.float32(s)
            for n, s in zip(shape, step, strict=True)
        ],
        indexing="ij",
    )
    result: Floats = ndimage.map_coordinates(noise, index, order=1)
    return result * np.float32(1.5)


def _texture(
    painted: Painted, table: Floats, spacing: Vector, rng: np.random.Generator
) -> Floats:
    return table[painted.tissue] * _smooth_noise(
        painted.tissue.shape, 4.0 / np.array(spacing), rng
    )


def _wear_mask(hu: Floats, painted: Painted, rng: np.random.Generator) -> None:
    """Put a thin sheet of plastic on the front of head and neck, in place."""
    body = painted.tissue != Tissue.AIR
    sheet = ndimage.binary_dilation(body) & ~body
    sheet[:, int(hu.shape[1] * 0.6) :] = False
    hu[sheet] = rng.uniform(-800, -300)


def _dental_streaks(painted: Painted, grid: Grid, rng: np.random.Generator) -> Floats:
    """Return streaks in HU that run in-plane from some of the teeth."""
    streaks = np.zeros(painted.tissue.shape, np.float32)
    teeth = np.argwhere(painted.tissue == Tissue.TOOTH)
    if not len(teeth):
        return streaks
    _, height, width = painted.tissue.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    reach = max(1, round(4 / grid.spacing[2]))
    for z0, y0, x0 in rng.permutation(teeth)[: rng.integers(1, 5)]:
        dy, dx = (y - y0) * grid.spacing[1], (x - x0) * grid.spacing[0]
        distance = np.hypot(dx, dy) + 3
        angle = np.arctan2(dy, dx)
        waves = sum(
            np.cos(k * angle + rng.uniform(0, 6.28)) for k in rng.integers(4, 22, 3)
        )
        sheet = rng.uniform(1500, 6000) * waves / distance
        sheet[distance < 5] = 2500
        low, high = max(0, z0 - reach + 1), z0 + reach
        streaks[low:high] += np.clip(sheet, -900, 2500)
    return streaks
