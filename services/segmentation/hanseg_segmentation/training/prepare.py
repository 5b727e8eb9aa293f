"""From cases to training samples: simulated patients, and real ones in part drawn.

Real cases teach by sets of labels (marginal losses, Shi et al. 2021,
doi 10.1016/j.media.2021.101979): what nobody drew may be background or any organ
that was not drawn; an outline larger than our organs may be any of their union.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from hanseg_segmentation.inference.preprocess import AIR_HU, model_grid, to_model_grid
from hanseg_segmentation.training.label_sets import (
    EVERYTHING,
    ONLY_BACKGROUND,
    Bits,
    bits_of,
)
from hanseg_segmentation.training.places import places_of_organs
from hanseg_segmentation.training.sample import Sample, encode
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.itk import from_image
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.phantom import make_case
from hanseg_shared.volume import Mask, Volume

OPENKBP_LABELS = {
    1: "Brainstem",
    2: "SpinalCord",
    3: "Parotid_R",
    4: "Parotid_L",
    7: "Bone_Mandible",
}
"""OpenKBP's labels that mean the same organ as ours."""

OPENKBP_ESOPHAGUS, OPENKBP_LARYNX = 5, 6

LARYNX = ("Glottis", "Larynx_SG", "Arytenoid")
"""Our organs inside OpenKBP's larynx."""

GULLET = ("Esophagus_S", "Cricopharyngeus")
"""Our organs at the upper end of OpenKBP's oesophagus."""

SURE_GULLET_MM, POSSIBLE_GULLET_MM = 18.0, 36.0
"""How far below its upper end OpenKBP's oesophagus is surely, and possibly, ours."""

SUBGLOTTIC_SHARE = 0.3
"""Lower share of OpenKBP's larynx that may lie below our glottis."""

TISSUE_HU = -300.0
"""Above this is tissue, not air."""

MARGIN_Z_MM = 28.0
"""How much of an organ's possible height may lie beyond the scan."""

SMALLEST_SLICE_ML = 5.0
"""A slice with less tissue a mm of height shows no whole patient (OpenKBP blanks the
parts of some slices that got no dose)."""


def phantom_sample(seed: int, *, spacing: Vector, width_mm: float = 260.0) -> Sample:
    """Return a simulated patient's sample, all 30 organs known."""
    case = make_case(seed, ct_spacing=spacing, ct_width_mm=width_mm, mr=False, t1=True)
    codes, sets = encode(np.left_shift(1, case.labels.array.astype(np.int32)))
    groups = np.array([1 << o.label for o in ORGANS], np.int32)
    assert case.t1 is not None
    return Sample(case.ct.array, case.t1.array.astype(np.float16), codes, sets, groups)


def openkbp_sample(ct_file: Path, *, spacing: Vector) -> Sample:
    """Return a real case's sample; ``<id>_oars.nii.gz`` lies beside ``<id>_ct``."""
    ct = from_image(sitk.ReadImage(str(ct_file)))
    oars_file = ct_file.with_name(ct_file.name.replace("_ct.", "_oars."))
    oars = from_image(sitk.ReadImage(str(oars_file)))
    grid = model_grid(ct.grid, spacing=spacing)
    image = to_model_grid(ct, grid, background=AIR_HU).array
    drawn = resample_labels(oars, grid, labels=tuple(range(1, 8)))
    allowed, groups = allowed_labels(drawn, grid)
    codes, sets = encode(allowed)
    imaged = imaged_labels(drawn, image, grid)
    return Sample(np.rint(image).astype(np.int16), None, codes, sets, groups, imaged)


def resample_labels(
    volume: Volume, grid: Grid, *, labels: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """Return a label map on another grid: the label with the largest share wins.

    Background is what the labels leave of a voxel, so that two organs that touch do
    not lose the voxels between them to it.
    """
    best = np.zeros(grid.shape, np.float32)
    background = np.ones(grid.shape, np.float32)
    result = np.zeros(grid.shape, np.uint8)
    for label in labels:
        mask = volume.array == label
        if not mask.any():
            continue
        share = to_model_grid(
            volume.with_array(mask.astype(np.uint8)), grid, background=0.0
        ).array
        wins = share > best
        result[wins] = label
        best[wins] = share[wins]
        background -= share
    result[background >= best] = 0
    return result


def allowed_labels(drawn: npt.NDArray[np.uint8], grid: Grid) -> tuple[Bits, Bits]:
    """Return what each voxel may be, and the groups of labels that were drawn.

    Args:
        drawn: OpenKBP's labels 0 to 7.
        grid: Where they lie.
    """
    present = set(np.unique(drawn).tolist())
    known = {organ(n).label for k, n in OPENKBP_LABELS.items() if k in present}
    if OPENKBP_LARYNX in present:
        known |= {organ(name).label for name in LARYNX}
    if OPENKBP_ESOPHAGUS in present:
        known.add(organ("Esophagus_S").label)
    unknown = EVERYTHING & ~sum(1 << label for label in known)
    allowed = np.full(drawn.shape, unknown, np.int32)
    _leave_out_the_impossible(allowed, drawn, grid)
    _open_beyond_cord(allowed, drawn)
    groups = []
    for value, name in OPENKBP_LABELS.items():
        if value in present:
            allowed[drawn == value] = bits_of([name])
            groups.append(bits_of([name]))
    if OPENKBP_LARYNX in present:
        _allow_larynx(allowed, drawn == OPENKBP_LARYNX)
        groups.append(bits_of(LARYNX))
    if OPENKBP_ESOPHAGUS in present:
        _allow_gullet(allowed, drawn == OPENKBP_ESOPHAGUS, grid.spacing[2])
        groups.append(bits_of(GULLET))
    return allowed, np.array(groups, np.int32)


def _allow_larynx(allowed: Bits, larynx: Mask) -> None:
    """Mark the larynx: sure in its upper core, possible in its rim and below."""
    levels = np.flatnonzero(larynx.any(axis=(1, 2)))
    cut = levels[0] + round(SUBGLOTTIC_SHARE * len(levels))
    core = ndimage.binary_erosion(larynx, ndimage.generate_binary_structure(3, 1))
    core[:cut] = False
    maybe = bits_of((*LARYNX, "Cricopharyngeus")) | ONLY_BACKGROUND
    allowed[larynx] = maybe
    allowed[core] = bits_of(LARYNX)


def _allow_gullet(allowed: Bits, oesophagus: Mask, step_mm: float) -> None:
    """Mark the oesophagus: ours at its upper end, background further down."""
    levels = np.flatnonzero(oesophagus.any(axis=(1, 2)))
    below_top = (levels[-1] - np.arange(len(oesophagus))) * step_mm
    sets = np.where(
        below_top <= SURE_GULLET_MM,
        bits_of(GULLET),
        np.where(
            below_top <= POSSIBLE_GULLET_MM,
            bits_of(GULLET) | ONLY_BACKGROUND,
            ONLY_BACKGROUND,
        ),
    ).astype(np.int32)
    allowed[oesophagus] = np.broadcast_to(sets[:, None, None], allowed.shape)[
        oesophagus
    ]


def _open_beyond_cord(allowed: Bits, drawn: npt.NDArray[np.uint8]) -> None:
    """Let slices beyond the drawn cord hold cord: drawing often stops early."""
    value = next(k for k, name in OPENKBP_LABELS.items() if name == "SpinalCord")
    levels = np.flatnonzero((drawn == value).any(axis=(1, 2)))
    if len(levels):
        allowed[: levels[0]] |= bits_of(["SpinalCord"])


def _leave_out_the_impossible(
    allowed: Bits, drawn: npt.NDArray[np.uint8], grid: Grid
) -> None:
    """Take organs out of the sets of voxels where no patient has them."""
    origin = _brain_stem(drawn, grid)
    if origin is None:
        return
    axes = [
        np.arange(n) * s + o - c
        for n, s, o, c in zip(grid.size, grid.spacing, grid.origin, origin, strict=True)
    ]
    for label, place in places_of_organs().items():
        x, y, z = (
            (axis >= low) & (axis <= high)
            for axis, low, high in zip(axes, place.low, place.high, strict=True)
        )
        outside = ~(z[:, None, None] & y[:, None] & x)
        allowed[outside] &= ~np.int32(1 << label)


def _brain_stem(
    drawn: npt.NDArray[np.uint8], grid: Grid
) -> npt.NDArray[np.float64] | None:
    """Return the brain stem's centroid, x midway between the parotids, if drawn."""
    values = {name: key for key, name in OPENKBP_LABELS.items()}
    places = {
        name: np.argwhere(drawn == values[name]).mean(axis=0)[::-1]
        for name in ("Brainstem", "Parotid_L", "Parotid_R")
        if (drawn == values[name]).any()
    }
    if len(places) < 3:
        return None
    index = places["Brainstem"].copy()
    index[0] = (places["Parotid_L"][0] + places["Parotid_R"][0]) / 2
    return grid.index_to_world(index)


def imaged_labels(
    drawn: npt.NDArray[np.uint8], ct_hu: npt.NDArray[np.float32], grid: Grid
) -> int:
    """Return the set of labels that the scan surely shows, drawn or not.

    These are the organs whose whole possible height lies within the slices that show
    the patient; none if the brain stem or a parotid was not drawn.
    """
    origin = _brain_stem(drawn, grid)
    tissue_ml = (ct_hu > TISSUE_HU).sum(axis=(1, 2)) * grid.voxel_ml / grid.spacing[2]
    levels = np.flatnonzero(tissue_ml > SMALLEST_SLICE_ML)
    if origin is None or not len(levels):
        return 0
    heights = grid.origin[2] + levels[[0, -1]] * grid.spacing[2] - origin[2]
    return sum(
        1 << label
        for label, place in places_of_organs().items()
        if heights[0] <= place.low[2] + MARGIN_Z_MM
        and place.high[2] - MARGIN_Z_MM <= heights[1]
    )
