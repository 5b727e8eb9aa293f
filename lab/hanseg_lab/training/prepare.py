"""From cases to training samples: of simulated patients, and of contoured ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from hanseg_lab.phantom import make_case
from hanseg_lab.phantom.surroundings import Surroundings
from hanseg_lab.training.allowed import (
    allowed_labels,
    imaged_labels,
    shown_levels,
)
from hanseg_lab.training.datasets.dataset import (
    Contour,
    DatasetCase,
    contours_of,
)
from hanseg_lab.training.datasets.registered_mr import RegisteredMr
from hanseg_lab.training.sample import Sample, encode
from hanseg_lab.training.sampled_contours import SampledContour
from hanseg_segmentation.inference.preprocess import (
    AIR_HU,
    FloatVoxels,
    mask_to_model_grid,
    model_grid,
    mr_to_model_grid,
    to_model_grid,
)
from hanseg_shared.grid import Grid, Vector
from hanseg_shared.io.body import blank_outside, find_body
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import Mask, Volume

BRIGHT_PERCENTILE = 99.0
"""Real MR is scaled so that this percentile in its field of view is 1."""


SURROUNDED_SHARE = 0.5
"""Share of the simulated patients with head rest, mask or a circle that cuts them."""


def phantom_sample(seed: int, *, spacing: Vector, width_mm: float = 260.0) -> Sample:
    """Return a simulated patient's sample, all 30 organs known."""
    case = make_case(
        seed,
        ct_spacing=spacing,
        ct_width_mm=width_mm,
        mr=False,
        t1=True,
        surroundings=surroundings_of(seed),
    )
    codes, sets = encode(np.left_shift(1, case.labels.array.astype(np.int32)))
    groups = np.array([1 << o.label for o in ORGANS], np.int32)
    assert case.t1 is not None
    return Sample(case.ct.array, case.t1.array.astype(np.float16), codes, sets, groups)


def surroundings_of(seed: int) -> Surroundings | None:
    """Return what lies around a simulated patient of training; always the same."""
    rng = np.random.default_rng((seed, 1))
    if rng.random() >= SURROUNDED_SHARE:
        return None
    return Surroundings.random(rng)


def case_sample(
    case: DatasetCase, *, spacing: Vector, registered: RegisteredMr | None = None
) -> Sample:
    """Return a real case's sample.

    Args:
        case: The case; see `datasets.find`.
        spacing: Spacing (x, y, z) of the sample's grid in mm.
        registered: Its MR on the CT's grid; None trains it as CT alone.

    Raises:
        InputError: A file cannot be used, or does not lie on the CT's grid.
    """
    ct = case.read_ct()
    body = find_body(ct)
    ct = ct if body is None else blank_outside(ct, body)  # as inference does
    grid = model_grid(ct.grid, spacing=spacing)
    image = to_model_grid(ct, grid, background=AIR_HU).array
    contours = resample_contours(contours_of(case), ct.grid, grid)
    shown = shown_levels(image, grid)
    allowed, groups = allowed_labels(contours, grid, shown=shown, sella=case.sella)
    codes, sets = encode(allowed)
    mr, view = (None, None) if registered is None else _scale_mr(registered, ct, grid)
    return Sample(
        np.rint(image).astype(np.int16),
        mr,
        codes,
        sets,
        groups,
        imaged_labels(contours, shown, grid),
        view,
    )


def resample_contours(
    contours: Sequence[Contour], whole: Grid, grid: Grid
) -> tuple[SampledContour, ...]:
    """Return contours on another grid: the label with the largest share wins a voxel.

    Background is what the labels leave of a voxel, so that two organs that touch do
    not lose the voxels between them to it. A voxel of which two labels have more than
    half each is in both contours. Labels without organs are left
    out.

    Args:
        contours: Masks on `whole`, each cropped to its voxels.
        whole: The CT's grid.
        grid: The sample's grid.
    """
    ours = [each for each in contours if each.label.organs]
    best, background = np.zeros(grid.shape, np.float32), np.ones(grid.shape, np.float32)
    winner = np.full(grid.shape, -1, np.int16)
    twice: list[Mask] = []
    for number, contour in enumerate(ours):
        share = mask_to_model_grid(contour.mask, whole, grid)
        wins = share > best
        winner[wins], best[wins] = number, share[wins]
        background -= share
        twice.append(share > 0.5)
    winner[background >= best] = -1
    return tuple(
        SampledContour(contour.label, (winner == number) | twice[number])
        for number, contour in enumerate(ours)
    )


def _scale_mr(
    registered: RegisteredMr, ct: Volume, grid: Grid
) -> tuple[npt.NDArray[np.float16], Mask]:
    """Return a registered MR, scaled so that half precision holds it, and its field."""
    ct.grid.require_same(registered.mr.grid, what="the registered MR")
    mr, view = mr_to_model_grid(registered.mr, registered.field_of_view, grid)
    inside: FloatVoxels = mr.array[view.array]
    bright = float(np.percentile(inside, BRIGHT_PERCENTILE)) if inside.size else 0.0
    scaled = mr.array / bright if bright > 0 else mr.array
    return scaled.astype(np.float16), view.array
