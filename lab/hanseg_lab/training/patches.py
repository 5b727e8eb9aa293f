"""Patches for training: where they are cut, and how they are varied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from hanseg_lab.phantom.patient import rotation_matrix
from hanseg_lab.phantom.simulate import scan_t1
from hanseg_lab.training.courses import courses_of_organs
from hanseg_lab.training.label_sets import (
    CLASSES,
    Bits,
    merge_sets,
    merge_sizes,
    mirror_sets,
)
from hanseg_lab.training.organ_places import places_of_organs, usual_spots
from hanseg_lab.training.sample import Sample
from hanseg_segmentation.inference.preprocess import CHANNELS, network_input
from hanseg_segmentation.packages.package import Channel, Normalisation
from hanseg_shared.grid import Vector

AIR_HU = -1024.0

VISIBLE_SHARE = 0.55
"""Least share of an organ's possible place, which is much larger than the organ, in a
patch that surely shows most of it."""

LEAST_LENGTH_MM = 30.0
"""Least length of a long organ's course in a patch that surely shows the organ."""

SHOWN_SHARE = 0.5
"""Least share of a patch that an MR shows which may be all that the network sees."""

OF_MR = ("mr", "field_of_view")
"""Channels that stay where a patch has no CT."""

METAL_ABOVE_HU = 700.0
"""Fillings are put into voxels above this."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Variation:
    """How much patches are varied.

    Attributes:
        rotation_degrees: Deviation of the angle about each axis.
        scale: Lowest and highest factor of size.
        unmoved_share: Share of patches that are neither turned nor scaled, and lie on
            the sample's own voxels if these are as large: interpolation blurs what a
            network then sees sharp in a patient (nnU-Net turns one patch in five).
        truncation_share: Share of patches cut off above or below, as a short scan.
        mr_share: Share of patches with MR, of cases that have one.
        ct_dropped_share: Share of the patches that the MR shows which have no CT.
        mr_gamma: Lowest and highest power the MR's signal is raised to: scanners'
            T1 contrasts differ more than simulated ones.
        misregistration_mm: Largest shift of the MR along each axis. Most shifts are far
            smaller: a third of this at most in 58 % of the patches.
        misrotation_degrees: Deviation of the angle about each axis that the MR is
            left turned by, as after a registration that only shifts.
        organ_share: Share of patches centred about an organ, not anywhere.
        mirror_share: Share of patches mirrored left to right, labels exchanged.
        flip_axes: Axes along which patches are flipped by chance, each label going
            with its voxels: for networks that are mirrored when they are run (nnU-Net).
        coarse_share: Share of patches with thicker slices or coarser pixels.
        noise_hu: Largest deviation of the noise that most patches get.
        metal_share: Share of patches with streaks, as from dental fillings.
    """

    rotation_degrees: float = 6.0
    scale: tuple[float, float] = (0.85, 1.18)
    unmoved_share: float = 0.0
    truncation_share: float = 0.3
    mr_share: float = 0.5
    ct_dropped_share: float = 0.0
    mr_gamma: tuple[float, float] = (0.5, 1.6)
    misregistration_mm: float = 4.0
    misrotation_degrees: float = 0.0
    organ_share: float = 0.8
    mirror_share: float = 0.5
    flip_axes: tuple[str, ...] = ()
    coarse_share: float = 0.4
    noise_hu: float = 25.0
    metal_share: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """One training patch.

    Attributes:
        channels: Network input, float32 ``(C, D, H, W)``.
        allowed: Label sets as bits, int32 ``(D, H, W)``.
        groups: Sets of labels scored as one, int32 ``(G,)``.
        sizes: Voxels of each label that are surely there, ``(labels,)``; 0 if unknown.
    """

    channels: torch.Tensor
    allowed: torch.Tensor
    groups: torch.Tensor
    sizes: torch.Tensor


def merge_sides(patch: Patch) -> Patch:
    """Return a patch whose sets are of channels in which sides are merged."""
    groups = np.unique(merge_sets(patch.groups.numpy()))
    return Patch(
        patch.channels,
        torch.from_numpy(merge_sets(patch.allowed.numpy())),
        torch.from_numpy(groups),
        torch.from_numpy(merge_sizes(patch.sizes.numpy())),
    )


class PatchCutter:
    """Cuts varied patches from samples, with its own random stream.

    Args:
        rng: The stream.
        shape: Voxels (z, y, x) of a patch.
        spacing_mm: Spacing (x, y, z) of a patch's voxels.
        sample_spacing_mm: Spacing (x, y, z) of a sample's voxels.
        variation: How much patches are varied.
        normalisation: How images become network input.
        channels: Which channels the network sees.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        shape: Shape,
        spacing_mm: Vector,
        sample_spacing_mm: Vector,
        variation: Variation,
        normalisation: Normalisation,
        channels: tuple[Channel, ...] = CHANNELS,
    ) -> None:
        self.rng = rng
        self.shape = shape
        self.sample_spacing_mm = np.array(sample_spacing_mm)
        self.patch_voxel_ml = float(np.prod(spacing_mm)) / 1000.0
        self.extent_mm = np.array(shape[::-1]) * spacing_mm
        self.variation = variation
        self.normalisation = normalisation
        self.channels = channels

    def cut(self, sample: Sample, *, about: int | None = None) -> Patch:
        """Return a random patch of a sample.

        Args:
            sample: Where from.
            about: The set of labels it is centred about; None leaves that to chance.
        """
        mirror = bool(self.rng.random() < self.variation.mirror_share)
        if about is not None and mirror:
            about = int(mirror_sets(np.array([about], np.int32))[0])
        field, voxel_ml = self._sampling_field(sample, mirror=mirror, about=about)
        sets = mirror_sets(sample.sets) if mirror else sample.sets
        groups = mirror_sets(sample.groups) if mirror else sample.groups
        ct = _sample(sample.ct_hu.astype(np.float32) - AIR_HU, field) + AIR_HU
        codes = _sample(sample.codes.astype(np.float32), field, mode="nearest")
        allowed = sets[codes.astype(np.int16)]
        mr, view = self._mr(sample, field)
        self._truncate(ct, allowed)
        hu = self._degrade(ct)
        imaged = np.array([sample.imaged], np.int32)
        sizes = expected_sizes(
            allowed,
            int(mirror_sets(imaged)[0] if mirror else imaged[0]),
            groups=groups,
            voxel_ml=voxel_ml,
        )
        channels = network_input(
            hu, mr, view, normalisation=self.normalisation, names=self.channels
        )
        if self._drops_ct(view):
            channels[[name not in OF_MR for name in self.channels]] = 0.0
        return Patch(
            torch.from_numpy(channels),
            torch.from_numpy(np.ascontiguousarray(allowed)),
            torch.from_numpy(groups),
            torch.from_numpy(sizes),
        )

    def _drops_ct(self, view: npt.NDArray[np.bool_] | None) -> bool:
        """Whether a patch has no CT; never one that the MR does not show either."""
        share = self.variation.ct_dropped_share
        if share == 0 or view is None or view.mean() < SHOWN_SHARE:
            return False
        return bool(self.rng.random() < share)

    def _centre(self, sample: Sample, about: int | None) -> npt.NDArray[np.float64]:
        """Return the patch's centre as voxel z, y, x: about an organ, or anywhere."""
        extent = (self.extent_mm / self.sample_spacing_mm)[::-1]
        if about is None and self.rng.random() < self.variation.organ_share:
            about = int(self.rng.choice(sample.groups)) if len(sample.groups) else None
        if about is not None:
            rows = np.flatnonzero((sample.sets & ~about) == 0)
            places = np.flatnonzero(np.isin(sample.codes.ravel()[::3], rows))
            if len(places):
                chosen = int(self.rng.choice(places)) * 3
                centre = np.array(np.unravel_index(chosen, sample.codes.shape), float)
                return centre + self.rng.uniform(-0.28 * extent, 0.28 * extent)
        low = np.minimum(extent / 3, np.array(sample.codes.shape) / 2)
        return self.rng.uniform(low, np.array(sample.codes.shape) - low)

    def _sampling_field(
        self, sample: Sample, *, mirror: bool, about: int | None
    ) -> tuple[torch.Tensor, float]:
        """Return each patch voxel's place in the sample, as `grid_sample` takes it.

        And how much of the patient a voxel of the patch is, in ml.
        """
        centre = self._centre(sample, about)
        if self.rng.random() < self.variation.unmoved_share:
            between = (np.array(self.shape) - 1) / 2 % 1
            centre = np.rint(centre - between) + between
            matrix, factor = np.eye(3), np.ones(3)
        else:
            angles = self.rng.normal(0, self.variation.rotation_degrees, 3)
            factor = self.rng.uniform(*self.variation.scale) * self.rng.uniform(
                0.95, 1.05, 3
            )
            matrix = rotation_matrix(angles) / factor
        if mirror:
            matrix = matrix @ np.diag((-1.0, 1.0, 1.0))
        if self.variation.flip_axes:
            chosen = np.array([axis in self.variation.flip_axes for axis in "xyz"])
            flipped = chosen & (self.rng.random(3) < 0.5)
            matrix = matrix @ np.diag(np.where(flipped, -1.0, 1.0))
        size = np.array(sample.codes.shape[::-1], float)
        theta = np.zeros((3, 4))
        theta[:, :3] = matrix * self.extent_mm / self._size_mm(sample)[:, None]
        theta[:, 3] = (2 * centre[::-1] + 1) / size - 1
        voxel_ml = self.patch_voxel_ml / float(np.prod(factor))
        field = functional.affine_grid(
            torch.from_numpy(theta[None]).float(),
            [1, 1, *self.shape],
            align_corners=False,
        )
        return field, voxel_ml

    def _mr(
        self, sample: Sample, field: torch.Tensor
    ) -> tuple[npt.NDArray[np.float32] | None, npt.NDArray[np.bool_] | None]:
        """Return an MR of limited field, slightly out of register, or none."""
        if sample.mr is None or self.rng.random() >= self.variation.mr_share:
            return None, None
        field = self._displace(field, self._size_mm(sample))
        signal = _sample(sample.mr.astype(np.float32), field)
        view = self._view(signal.shape)
        contrast = np.power(
            signal.clip(min=0), self.rng.uniform(*self.variation.mr_gamma)
        )
        scanned = self._thick_slices(contrast)
        if sample.field_of_view is None:
            scanned = scan_t1(scanned, self.rng)
        else:
            data = sample.field_of_view.astype(np.float32)
            view &= _sample(data, field, mode="nearest") > 0
        return np.where(view, scanned, 0).astype(np.float32), view

    def _displace(
        self, field: torch.Tensor, size_mm: npt.NDArray[np.float64]
    ) -> torch.Tensor:
        """Return the field as a registration may leave it: shifted and turned."""
        limit = self.variation.misregistration_mm * self.rng.random() ** 2
        shift = 2 * self.rng.uniform(-limit, limit, 3) / size_mm
        if self.variation.misrotation_degrees:
            angles = self.rng.normal(0, self.variation.misrotation_degrees, 3)
            turn = rotation_matrix(angles) * size_mm / size_mm[:, None]
            middle = field[0].mean(dim=(0, 1, 2))
            field = (field - middle) @ torch.from_numpy(turn.T).float() + middle
        return field + torch.from_numpy(shift).float()

    def _size_mm(self, sample: Sample) -> npt.NDArray[np.float64]:
        size: npt.NDArray[np.float64] = (
            np.array(sample.codes.shape[::-1], float) * self.sample_spacing_mm
        )
        return size

    def _view(self, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
        """Return a random box of slices, as an MR's field of view often is."""
        view = np.ones(shape, bool)
        if self.rng.random() < 0.5:
            edge = int(self.rng.integers(0, shape[0]))
            view[: edge if self.rng.random() < 0.5 else 0] = False
            view[shape[0] - int(self.rng.integers(0, shape[0] // 2)) :] = False
        return view

    def _truncate(
        self, ct: npt.NDArray[np.float32], allowed: npt.NDArray[np.int32]
    ) -> None:
        """Sometimes empty the patch above or below a slice, in place."""
        if self.rng.random() >= self.variation.truncation_share:
            return
        edge = int(self.rng.integers(4, len(ct) // 2 + 8))
        part = (
            slice(0, edge) if self.rng.random() < 0.5 else slice(len(ct) - edge, None)
        )
        ct[part] = AIR_HU
        allowed[part] = 1

    def _degrade(self, ct: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the CT with another resolution, calibration, noise and streaks."""
        hu = self._thick_slices(ct)
        air = hu < -990
        if self.rng.random() < self.variation.metal_share:
            hu = with_streaks(hu, self.rng)
        hu = hu * self.rng.uniform(0.94, 1.06) + self.rng.normal(0, 12)
        if self.rng.random() < 0.6:
            noise = self.rng.uniform(0, self.variation.noise_hu)
            hu = hu + noise * self.rng.standard_normal(hu.shape, np.float32)
        hu[air] = np.minimum(hu[air], -960)
        return hu.astype(np.float32)

    def _thick_slices(self, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the image, sometimes with thicker slices or coarser pixels."""
        if self.rng.random() >= self.variation.coarse_share:
            return image
        z, y, x = image.shape
        if self.rng.random() < 0.5:
            coarse = (max(4, int(z / self.rng.uniform(1.2, 2.2))), y, x)
        else:
            factor = self.rng.uniform(1.1, 1.6)
            coarse = (z, int(y / factor), int(x / factor))
        tensor = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        small = functional.interpolate(tensor, coarse, mode="area")
        return functional.interpolate(small, image.shape, mode="trilinear")[
            0, 0
        ].numpy()


def expected_sizes(
    allowed: Bits, imaged: int, *, groups: Bits, voxel_ml: float
) -> npt.NDArray[np.float32]:
    """Return how many voxels of each label a patch surely shows; 0 if unknown.

    Only for labels in `imaged` whose possible place lies in the patch almost whole;
    of a long organ, for which a good part of its course does, no side cut off; and
    for organs placed at a known sella, if all of their place does.

    Args:
        allowed: Label sets as bits.
        imaged: Set of the labels that the scan surely shows.
        groups: Label sets of contours, or of organs placed at a known sella.
        voxel_ml: How much of the patient a voxel is.
    """
    sizes = np.zeros(CLASSES, np.float32)
    courses = courses_of_organs()
    for label, place in places_of_organs().items():
        if not (imaged >> label) & 1:
            continue
        possible = ((allowed >> label) & 1).astype(bool)
        possible_ml = np.count_nonzero(possible) * voxel_ml
        if label in courses:
            course = courses[label]
            length_mm = 1000.0 * possible_ml / course.corridor_mm2
            if length_mm >= LEAST_LENGTH_MM and not _is_cut_off(possible, axes=(1, 2)):
                sizes[label] = course.share * possible_ml / voxel_ml
            continue
        share = min(1.0, possible_ml / place.box_ml)
        if share >= VISIBLE_SHARE:
            sizes[label] = share * place.mean_ml / voxel_ml
    for label, spot in usual_spots().items():
        if 1 << label not in groups:
            continue
        possible = ((allowed >> label) & 1).astype(bool)
        share = np.count_nonzero(possible) * voxel_ml / spot.volume_ml
        if share >= VISIBLE_SHARE and not _is_cut_off(possible, axes=(0, 1, 2)):
            sizes[label] = places_of_organs()[label].mean_ml / voxel_ml
    return sizes


def _is_cut_off(region: npt.NDArray[np.bool_], *, axes: tuple[int, ...]) -> bool:
    """Whether a region touches a patch's edge along one of some axes."""
    edges = (np.take(region, (0, -1), axis=axis) for axis in axes)
    return any(bool(edge.any()) for edge in edges)


def with_streaks(
    ct_hu: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return a CT as a metal filling leaves it: bright and dark rays in some slices.

    The filling is a voxel of bone, as teeth are; without any nothing changes.

    Args:
        ct_hu: In HU, indexed z, y, x.
        rng: Decides where, how strong, and along which rays.
    """
    bone = np.argwhere(ct_hu > METAL_ABOVE_HU)
    if not len(bone):
        return ct_hu
    at = bone[rng.integers(len(bone))]
    y, x = (np.arange(n) - c for n, c in zip(ct_hu.shape[1:], at[1:], strict=True))
    distance = np.hypot(y[:, None], x[None, :]) + 1.0
    angle = np.arctan2(y[:, None], x[None, :])
    rays = np.sin(rng.integers(3, 9) * angle + rng.uniform(0, 2 * np.pi))
    strength = rng.uniform(500, 2500) * np.sign(rays) * np.abs(rays) ** 4 / distance
    result = ct_hu.copy()
    reach = int(rng.integers(1, 3))
    slices = slice(max(0, at[0] - reach), at[0] + reach + 1)
    tissue = result[slices] > -500
    result[slices] += (strength * tissue).astype(np.float32)
    result[tuple(at)] = 3000.0
    return result


def _sample(
    image: npt.NDArray[np.float32], field: torch.Tensor, *, mode: str = "bilinear"
) -> npt.NDArray[np.float32]:
    """Return the image at the field's places; 0 outside the image."""
    tensor = torch.from_numpy(image)[None, None]
    return functional.grid_sample(tensor, field, mode=mode, align_corners=False)[
        0, 0
    ].numpy()
