"""The T1 signal of a patient, from the HU and the anatomy of their CT.

Fat is bright, white matter brighter than grey, muscle lies in between, fluid and
cortical bone are dark, marrow is brightish, air gives nothing. Calibrated by eye and
by the medians of RIRE patient 001, whose true registration is known: relative to fat
brain 0.58, muscle 0.41, thick cortical bone 0.19 (of which 0.03 is noise).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_lab.simulator.head_anatomy import BODY_HU, HeadAnatomy
from hanseg_shared.grid import Grid
from hanseg_shared.itk import resample
from hanseg_shared.volume import Volume

Floats = npt.NDArray[np.float32]

FAT_HU, WATER_HU = -95.0, 35.0
"""Between them a voxel's share of fat falls from 1 to 0 (glands lie in between)."""

BONE_HU = (150.0, 400.0)
"""Between them a voxel's share of bone grows from 0 to 1."""

CORTICAL_HU = (300.0, 1400.0)
"""Between them the share of marrow inside a bone falls from 1 to 0."""

AIR_TO_TISSUE_HU = (-650.0, -80.0)
"""Between them a voxel at a surface holds more and more tissue."""

CSF_BELOW_BRAIN_HU = (7.0, 18.0)
"""So far below the brain's median, fluid begins and is complete."""

CORD_DEPTH_MM = 3.0
"""So deep in the spinal canal fluid ends and cord begins."""

FOLD_MM = 9.0
"""Half the distance between the brain's furrows."""


@dataclass(frozen=True, slots=True)
class Signals:
    """One patient's T1 signals at one scanner; fat of the average one is 1."""

    fat: float
    muscle: float
    skin: float
    white_matter: float
    grey_matter: float
    fluid: float
    marrow: float
    cortical_bone: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Signals:
        """Return random signals, in the order that makes an image T1-weighted."""
        white = rng.uniform(0.48, 0.7)
        return cls(
            fat=rng.uniform(0.85, 1.15),
            muscle=rng.uniform(0.3, 0.48),
            skin=rng.uniform(0.3, 0.6),
            white_matter=white,
            grey_matter=white * rng.uniform(0.74, 0.9),
            fluid=rng.uniform(0.1, 0.28),
            marrow=rng.uniform(0.5, 0.9),
            cortical_bone=rng.uniform(0.06, 0.18),
        )


def t1_signal(
    hu: Volume, anatomy: HeadAnatomy, signals: Signals, rng: np.random.Generator
) -> Volume:
    """Return the noiseless T1 signal on the grid of a finely sampled CT.

    Args:
        hu: The CT in HU, float32, on cubes of 1 to 2 mm.
        anatomy: The same patient's anatomy.
        signals: What each tissue gives.
        rng: Source of randomness of the textures.
    """
    smooth = ndimage.gaussian_filter(hu.array, 0.6)
    coarse, medium, fine = (texture(hu.grid, mm, rng) for mm in (9.0, 3.0, 0.0))
    tissue = _soft_tissue(hu.array, smooth, signals, 0.12 * coarse + 0.07 * medium)
    _lay_brain(tissue, smooth, anatomy, hu.grid, signals, rng)
    _lay_canal(tissue, smooth, anatomy, hu.grid, signals)
    tissue *= 1 + 0.05 * fine + 0.04 * medium
    spongy = 1 + 0.15 * medium + 0.1 * coarse
    signal = _with_bone(tissue, smooth, spongy, signals, hu.grid)
    signal *= _rise(hu.array, *AIR_TO_TISSUE_HU)
    patient = ndimage.binary_dilation(anatomy.body).astype(np.float32)
    signal *= _rise(_at(patient, anatomy, hu.grid), 0.3, 0.6)
    return Volume(np.maximum(signal, 0, out=signal), hu.grid)


def _soft_tissue(
    hu: Floats, smooth: Floats, signals: Signals, variation: Floats
) -> Floats:
    """Return the signal of muscle, glands and fat, with skin and mucosa at air.

    A voxel half of air and half of muscle has the HU of fat; so there is less fat
    beside air.
    """
    beside_air = ndimage.minimum_filter(hu, 3) < 2 * BODY_HU
    fat = _fall(smooth, FAT_HU, WATER_HU)
    fat[beside_air] *= np.float32(0.35)
    muscle = signals.muscle * (1 + variation)
    tissue = muscle + fat * (signals.fat * (1 + variation / 2) - muscle)
    tissue[beside_air & (smooth > FAT_HU)] = signals.skin
    return tissue


def _with_bone(
    tissue: Floats, hu: Floats, variation: Floats, signals: Signals, grid: Grid
) -> Floats:
    """Return the signal with bone: dark where it is dense, marrow deeper inside."""
    bone = _rise(hu, *BONE_HU)
    deep = _rise(ndimage.gaussian_filter(bone, 2.0 / grid.spacing[0]), 0.6, 0.8)
    spongy = deep * _fall(hu, *CORTICAL_HU)
    marrow = signals.marrow * variation - signals.cortical_bone
    hard = signals.cortical_bone + spongy * marrow
    return tissue + np.maximum(bone, spongy) * (hard - tissue)


def texture(grid: Grid, scale_mm: float, rng: np.random.Generator) -> Floats:
    """Return noise of deviation 1 on a grid, smooth over a scale; white at 0 mm.

    It is a cubic B-spline with random coefficients, laid axis by axis.
    """
    if scale_mm <= 0:
        return rng.standard_normal(grid.shape, np.float32)
    bases = [
        _basis(n, s / scale_mm) for n, s in zip(grid.size, grid.spacing, strict=True)
    ]
    drawn = rng.standard_normal([b.shape[1] for b in bases[::-1]], np.float32)
    for basis in bases:  # the last axis is laid, and the next one becomes the last
        drawn = np.moveaxis(drawn @ basis.T, -1, 0)
    return np.ascontiguousarray(drawn) / np.float32(drawn.std())


def _basis(count: int, step: float) -> Floats:
    """Return the cubic B-spline's weights, ``(points, coefficients)``."""
    at = np.arange(count)[:, None] * step
    distance = np.abs(at - np.arange(-1, int(at[-1, 0]) + 3))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)


def _lay_brain(
    tissue: Floats,
    hu: Floats,
    anatomy: HeadAnatomy,
    grid: Grid,
    signals: Signals,
    rng: np.random.Generator,
) -> None:
    """Paint the brain in place: furrowed grey matter, white matter and fluid."""
    folds, wander = texture(grid, FOLD_MM, rng), texture(grid, 22.0, rng)
    depth = _at(anatomy.brain_depth, anatomy, grid)
    inside = depth > 0
    if not inside.any():
        return
    blurred = ndimage.gaussian_filter(hu, 2.0 / grid.spacing[0])
    middle = blurred[depth > depth.max() / 2]
    below = np.float32(np.median(middle)) - blurred
    cortex = _fall(depth + 3 * wander, 14.0, 22.0)
    grey = np.maximum(_fall(np.abs(folds), 0.5, 0.75) * cortex, _fall(depth, 3, 5))
    grey = np.maximum(grey, 0.6 * _rise(wander, 1.2, 1.6))
    furrow = _fall(np.abs(folds), 0.08, 0.2) * cortex
    shell = _fall(depth + 1.5 * folds, 1.5, 3.5)
    fluid = np.maximum(_rise(below, *CSF_BELOW_BRAIN_HU), np.maximum(furrow, shell))
    brain = signals.white_matter + grey * (signals.grey_matter - signals.white_matter)
    brain += 0.9 * fluid * (signals.fluid - brain)
    tissue[inside] = brain[inside]


def _lay_canal(
    tissue: Floats, hu: Floats, anatomy: HeadAnatomy, grid: Grid, signals: Signals
) -> None:
    """Paint the spinal cord in its fluid, in place."""
    depth = _at(anatomy.canal_depth, anatomy, grid)
    cord = _rise(depth, CORD_DEPTH_MM, CORD_DEPTH_MM + 2)
    canal = signals.fluid + cord * (0.9 * signals.white_matter - signals.fluid)
    inside = (depth > 0) & (hu > FAT_HU / 2)
    tissue[inside] = canal[inside]


def _at(values: Floats, anatomy: HeadAnatomy, grid: Grid) -> Floats:
    """Return coarse values on a finer grid."""
    return resample(Volume(values, anatomy.grid), grid).array


def _rise(values: Floats, low: float, high: float) -> Floats:
    """Return 0 below `low`, 1 above `high` and a line in between."""
    scaled: Floats = (values - np.float32(low)) / np.float32(high - low)
    return np.clip(scaled, 0, 1, out=scaled)


def _fall(values: Floats, low: float, high: float) -> Floats:
    """Return 1 below `low`, 0 above `high` and a line in between."""
    return 1 - _rise(values, low, high)
