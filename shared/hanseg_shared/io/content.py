"""Whether an image's values are what its role says: Hounsfield units, MR, labels.

The rules were set on 244 real CTs (HaN planning CTs, a head CT, RIRE) and real T1
MRs, these also with the padding that treatment planning systems write, and keep
wide of both: they find files sent by mistake, not poor images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.body import body_in
from hanseg_shared.io.coarse import Sampler
from hanseg_shared.io.hounsfield import find_wrapping, require_hounsfield

LOWEST_HU, HIGHEST_HU = -32768, 32767
"""What a CT may hold: padding below -1024 and metal above 3071 included."""

AIR_BELOW_HU = -500
MIN_AIR_SHARE = 0.001
"""Every head and neck holds air (outside, or at least in sinuses and airway): 53 to
89 % of the voxels of real CTs are below -500 HU."""

SOFT_TISSUE_HU = (-200, 300)
MIN_SOFT_TISSUE_SHARE = 0.005
"""9 to 39 % of the voxels of real CTs are soft tissue."""

_RAW_SOFT_TISSUE = (900, 1200)
_RAW_SOFT_TISSUE_SHARE = 0.4
"""Share of non-zero values near 1024 from which an image looks like HU + 1024."""

_CT_LIKE_AIR_SHARE = 0.02
_CT_LIKE_FAT_SHARE = 0.005
_CT_LIKE_NEGATIVE_SHARE = 0.015
"""An MR looks like a CT when it has air (-800 and less; 51 to 89 % in real CTs), fat
(-200 to -20; 1.3 to 17 %) and negative values besides the most frequent one, which may
be padding (3.6 to 30 %). An MR padded with -1024 has 0.0 % of the last two."""

MIN_MR_VALUES = 8
"""An MR with fewer different values is a mask or a label map."""

_BIN_START, _BIN_WIDTH, _BINS = -1152, 16, 288
_SAMPLES = 1 << 24
"""About how many voxels of a larger image are counted into the histogram."""

_CHUNK = 1 << 22

Values = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Intensities:
    """How an image's values are distributed.

    Attributes:
        lowest: Smallest finite value.
        highest: Largest finite value.
        not_finite: Number of NaN and infinite values.
        infinite: Number of infinite ones among them.
        counts: Histogram of a regular sample of the voxels: 288 bins of 16 from
            -1152 on; the outermost hold what lies beyond them.
        distinct: Number of different values met, counted up to `MIN_MR_VALUES`.
    """

    lowest: float
    highest: float
    not_finite: int
    counts: npt.NDArray[np.int64]
    distinct: int
    infinite: int = 0

    def share(self, low: float, high: float) -> float:
        """Return the share of voxels in ``[low, high)``, to a bin of 16."""
        first, last = _bin(low), _bin(high)
        return float(self.counts[first:last].sum() / max(1, self.counts.sum()))


def measure(pieces: Iterable[Values], *, voxels: int) -> Intensities:
    """Return how the values of an image of `voxels` voxels are distributed.

    Args:
        pieces: All values, in any order, in pieces of any length.
        voxels: How many there are; decides how densely the histogram samples.
    """
    step = max(1, voxels // _SAMPLES)
    lowest, highest, not_finite, infinite = np.inf, -np.inf, 0, 0
    counts = np.zeros(_BINS, dtype=np.int64)
    distinct: set[float] = set()
    for piece in pieces:
        finite = _finite(piece)
        if finite.size < piece.size:
            not_finite += piece.size - finite.size
            infinite += int(np.isinf(piece).sum())
        if finite.size:
            lowest = min(lowest, float(finite.min()))
            highest = max(highest, float(finite.max()))
            counts += _histogram(finite[::step])
            if len(distinct) < MIN_MR_VALUES:
                distinct.update(np.unique(finite[::97]).tolist())
    return Intensities(
        lowest,
        highest,
        not_finite,
        counts,
        min(len(distinct), MIN_MR_VALUES),
        infinite,
    )


def pieces_of(array: Values) -> Iterator[Values]:
    """Yield an array's values in one-dimensional pieces."""
    flat = array.reshape(-1)
    for start in range(0, flat.size, _CHUNK):
        yield flat[start : start + _CHUNK]


def require_ct(found: Intensities, sampler: Sampler) -> None:
    """Refuse values that are no Hounsfield units.

    NaN is padding where no patient is; see `require_nan_outside`.

    Args:
        found: How all values are distributed.
        sampler: What was sampled of them.

    Raises:
        ImageContentError: They are not, with what they look like instead.
    """
    if found.infinite or (found.not_finite and found.lowest > found.highest):
        raise _not_finite(found)
    if found.lowest == found.highest:
        raise ImageContentError(f"every voxel is {found.lowest:g}; a CT is needed")
    if found.share(-np.inf, AIR_BELOW_HU) < MIN_AIR_SHARE:
        raise ImageContentError(_why_no_hu(found, sampler))
    if found.lowest < LOWEST_HU or found.highest > HIGHEST_HU:
        raise ImageContentError(
            f"values from {found.lowest:g} to {found.highest:g} are no Hounsfield "
            "units; export the CT again with its rescale slope and intercept"
        )
    soft = found.share(*SOFT_TISSUE_HU)
    if soft < MIN_SOFT_TISSUE_SHARE:
        raise ImageContentError(
            f"only {soft:.2%} of the voxels are soft tissue ({SOFT_TISSUE_HU[0]} to "
            f"{SOFT_TISSUE_HU[1]} HU); send the planning CT, in Hounsfield units"
        )
    require_hounsfield(sampler.sample)
    if found.not_finite:
        require_nan_outside(found, sampler)


def require_nan_outside(found: Intensities, sampler: Sampler) -> None:
    """Refuse a CT with NaN in the patient; outside it is padding.

    Voxels less than a sample's voxel below the skin may be blanked with it.

    Raises:
        ImageContentError: There is NaN inside, or no body is found that it could be
            outside of.
    """
    small = sampler.sample
    body = body_in(small)
    if body is None or (sampler.nan & ndimage.binary_erosion(body)).any():
        raise _not_finite(found)


def require_mr(found: Intensities) -> None:
    """Refuse values that no MR has.

    Raises:
        ImageContentError: They are constant, a mask's, or a CT's.
    """
    if found.not_finite:
        raise _not_finite(found)
    if found.lowest == found.highest:
        raise ImageContentError(f"every voxel is {found.lowest:g}; an MR is needed")
    if found.distinct < MIN_MR_VALUES:
        raise ImageContentError(
            f"the MR holds only {found.distinct} different values: it looks like a "
            "mask or a label map; send the T1 MR"
        )
    if looks_like_ct(found):
        raise ImageContentError(
            f"the file sent as MR looks like a CT (values from {found.lowest:g} to "
            f"{found.highest:g}, with air and fat in Hounsfield units); send the T1 MR"
        )


def looks_like_ct(found: Intensities) -> bool:
    """Whether values are a CT's in Hounsfield units; an MR padded with -1024 is not."""
    negative = found.counts[: _bin(-20)]
    besides_padding = negative.sum() - negative.max()
    return (
        found.share(-np.inf, -800) >= _CT_LIKE_AIR_SHARE
        and found.share(-200, -20) >= _CT_LIKE_FAT_SHARE
        and besides_padding >= _CT_LIKE_NEGATIVE_SHARE * found.counts.sum()
    )


def _not_finite(found: Intensities) -> ImageContentError:
    return ImageContentError(
        f"{found.not_finite} voxels are NaN or infinite, some of them in the patient; "
        "export the image again"
    )


def _why_no_hu(found: Intensities, sampler: Sampler) -> str:
    span = f"its values run from {found.lowest:g} to {found.highest:g}"
    if found.lowest >= 0 and found.highest <= 255:
        return (
            f"the file sent as CT holds no Hounsfield units: {span}, as in an 8-bit "
            "picture or an MR; export the planning CT as NIfTI, NRRD or MHA in HU"
        )
    if found.lowest >= 0 and _raw_share(found) >= _RAW_SOFT_TISSUE_SHARE:
        return (
            f"the file sent as CT holds no Hounsfield units: {span} and tissue lies "
            "near 1024, so it seems to be raw = HU + 1024; subtract 1024 (apply the "
            "rescale intercept) and send it again"
        )
    why = find_wrapping(sampler.sample)
    if why is not None:
        return why
    if found.lowest >= 0:
        return (
            f"the file sent as CT looks like an MR: {span}, without air at -1000 HU; "
            "send the planning CT in Hounsfield units"
        )
    return (
        f"the file sent as CT holds no air ({span}; air is -1000 HU); send the "
        "planning CT, not windowed, in Hounsfield units"
    )


def _raw_share(found: Intensities) -> float:
    tissue = found.share(200, np.inf)
    return found.share(*_RAW_SOFT_TISSUE) / tissue if tissue else 0.0


def _finite(piece: Values) -> Values:
    if not np.issubdtype(piece.dtype, np.floating):
        return piece
    mask = np.isfinite(piece)
    return piece if mask.all() else piece[mask]


def _histogram(values: Values) -> npt.NDArray[np.int64]:
    top = _BIN_START + _BINS * _BIN_WIDTH - 1
    clipped: npt.NDArray[np.float64] = np.clip(
        values.astype(np.float64), _BIN_START, top
    )
    indices = (clipped - _BIN_START).astype(np.int32) // _BIN_WIDTH
    return np.bincount(indices, minlength=_BINS)


def _bin(value: float) -> int:
    """Return the first bin that lies wholly at or above `value`."""
    if value == np.inf:
        return _BINS
    if value == -np.inf:
        return 0
    return int(min(_BINS, max(0, -((_BIN_START - value) // _BIN_WIDTH))))
