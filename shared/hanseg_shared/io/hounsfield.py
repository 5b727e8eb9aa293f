"""Whether values are Hounsfield units, judged by what lies inside the patient.

The range of values says little: scanners pad with -3024 or -2000, exports with 0, and
metal reaches anything. Air, fat and soft tissue say it: they are near -1000, -100 and
0 to 60 HU in every patient. Padding (see `hanseg_shared.io.filling`) says nothing,
unless it is air's own value.

Thresholds were set on 244 real CTs (docs/reference/images.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from hanseg_shared.errors import ImageContentError
from hanseg_shared.io.body import BODY_HU, body_in, padding_in
from hanseg_shared.io.filling import fill_values
from hanseg_shared.io.otsu import TwoClasses
from hanseg_shared.volume import Volume

AIR_HU = (-1100.0, -850.0)
"""Where air lies: the filling of the border, or the darkest of what is measured."""

AIR_BELOW_HU = -500.0
"""What is measured below this is air, with more or less of something else."""

AIR_PERCENTILE = 2.0
"""The darkest of the measured air, noise left out."""

FEWEST_AIR_VOXELS = 20
"""Fewer measured ones say nothing."""

SOFT_HU = (-40.0, 120.0)
"""Where soft tissue lies, contrast medium and noise included."""

FAT_HU = (-160.0, -40.0)
"""Where fat lies."""

SMALLEST_SOFT_SHARE = 0.1
"""Share of soft tissue in the body: at least 26 % in real CTs."""

RAW_HU = (900.0, 1200.0)
LARGEST_RAW_SHARE = 0.12
"""Share of the body where soft tissue and fat lie in HU + 1024: 0.4 to 4 %, bone, in
real CTs."""

LOWEST_TOP_HU = 700.0
LARGEST_TOP_SHARE = 0.01
"""Share of the body that has its highest value, where that is no more than this: 0.5 %
at most in real CTs, and bone that was cut off in a windowed one."""

BELOW_TOP_HU = 50
"""In a scan that was cut off, so many whole values below the highest are taken."""

SMALLEST_TAKEN_SHARE = 0.5
"""Share of these that must be there: a drawn CT without noise has few values, and one
of them is its highest."""

AIR_BELOW_TISSUE_HU = (700.0, 1300.0)
"""So far below soft tissue air lies, whatever was added to both."""

NEAREST_AIR, FARTHEST_AIR = 150.0, 1300.0
"""So far below the most frequent value a filling may be air, in what are no HU."""

PEAK_BIN_HU = 10.0
"""Width of the histogram's bins in which peaks are looked for."""

SIGNED_BITS = (12, 16, 32)
"""Whole numbers of so many bits wrap negative HU round."""

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tissues:
    """What values in a CT are like, read as HU.

    Attributes:
        air: The darkest of the measured air; None without any.
        fill: What the border is filled with.
        peak: The most frequent value of the body.
        soft_share: Share of the body that is soft tissue.
        raw_share: Share of the body where soft tissue lies in HU + 1024.
        top: The body's highest value.
        top_share: Share of the body that has it.
        below_top: Share of the `BELOW_TOP_HU` whole values below it that occur.
    """

    air: float | None
    fill: tuple[float, ...]
    peak: float
    soft_share: float
    raw_share: float
    top: float
    top_share: float
    below_top: float

    @classmethod
    def of(cls, small: Volume) -> Self:
        """Return what the values of a CT's sample are like."""
        values = np.nan_to_num(small.array.astype(np.float64), nan=np.inf)
        padding = padding_in(small)
        fill = fill_values(small.with_array(values))
        measured = np.isfinite(values) & ~padding & ~np.isin(values, fill)
        inside = body_in(small)
        dense = measured & (values > BODY_HU)
        body = values[dense if inside is None else dense & inside]
        air = values[measured & (values < AIR_BELOW_HU)]
        if not body.size:
            body = values[measured] if measured.any() else np.zeros(1)
        return cls(
            air=float(np.percentile(air, AIR_PERCENTILE))
            if air.size >= FEWEST_AIR_VOXELS
            else None,
            fill=fill,
            peak=_peak(body),
            soft_share=_share(body, *SOFT_HU),
            raw_share=_share(body, *RAW_HU),
            top=float(body.max()),
            top_share=float((body == body.max()).mean()),
            below_top=_taken_below(body, float(body.max())),
        )

    @property
    def holds_air(self) -> bool:
        """Whether air is where it is in HU."""
        if any(_lies_in(value, AIR_HU) for value in self.fill):
            return True
        if self.air is None:  # all air was filled
            return any(value < AIR_HU[0] for value in self.fill)
        return _lies_in(self.air, AIR_HU)

    @property
    def holds_tissue(self) -> bool:
        """Whether fat or soft tissue is the most frequent, and soft tissue is there."""
        usual = _lies_in(self.peak, (FAT_HU[0], SOFT_HU[1]))
        return usual and self.soft_share >= SMALLEST_SOFT_SHARE

    @property
    def is_cut_off(self) -> bool:
        """Whether bone of all densities above some value was given that value."""
        piled = self.top <= LOWEST_TOP_HU and self.top_share > LARGEST_TOP_SHARE
        return piled and self.below_top >= SMALLEST_TAKEN_SHARE


def require_hounsfield(small: Volume) -> None:
    """Refuse values whose air, fat and soft tissue are not where they are in HU.

    Args:
        small: A sample of the CT's values as they are, NaN for padding; see
            `hanseg_shared.io.coarse`.

    Raises:
        ImageContentError: They are no HU, with what was found and the remedy.
    """
    found = Tissues.of(small)
    sound = found.holds_air and found.holds_tissue
    if sound and found.raw_share <= LARGEST_RAW_SHARE and not found.is_cut_off:
        return
    raise ImageContentError(_explain_refusal(found, small))


def find_wrapping(small: Volume) -> str | None:
    """Return that negative HU were stored as unsigned numbers, None if not so."""
    values = small.array[np.isfinite(small.array)].astype(np.float64)
    top = _find_wrapping_power(values) if values.size else None
    if top is None:
        return None
    highest = values.max()
    return (
        f"the file sent as CT holds no Hounsfield units: values up to {highest:.0f}, "
        f"with air near {top - 1000:.0f}, so negative HU seem to be stored as unsigned "
        f"numbers; subtract {top:.0f} from the values above {top / 2 - 1:.0f}, or "
        "export the CT again as signed numbers"
    )


def _explain_refusal(found: Tissues, small: Volume) -> str:
    """Return what values look like that are no HU, and what to do."""
    why = find_wrapping(small)
    if why is not None:
        return why
    air, tissue = _air_and_tissue(small)
    where = f"air lies near {air:.0f} and soft tissue near {tissue:.0f}"
    expected = "(-1000 and 0 to 60 in Hounsfield units)"
    start = "the file sent as CT holds no Hounsfield units"
    if _is_raw(found, tissue):
        return (
            f"{start}: {where} {expected}, so it seems to be raw = HU + 1024; subtract "
            "1024 (apply the rescale intercept) and send it again"
        )
    if found.holds_air and found.is_cut_off:
        return (
            f"{start} above {found.top:g}: {found.top_share:.0%} of the patient has "
            "this value, so it seems to be exported through a window; export the CT "
            "again, not windowed"
        )
    if _lies_in(tissue, (-1250.0, -850.0)):
        return (
            f"{start}: {where} {expected}, so the rescale intercept seems to be applied"
            " twice; add 1024 and send it again"
        )
    scale = (tissue - air) / 1040.0
    if scale > 0 and not 0.5 < scale < 2.0:
        return (
            f"{start}: {where} {expected}, so the values seem to be scaled or "
            "windowed; export the CT again in Hounsfield units"
        )
    return (
        f"{start}: {where} {expected}; export the CT again with its rescale slope and "
        "intercept, not windowed"
    )


def _is_raw(found: Tissues, tissue: float) -> bool:
    return _lies_in(tissue, (850.0, 1250.0)) or found.raw_share > LARGEST_RAW_SHARE


def _air_and_tissue(small: Volume) -> tuple[float, float]:
    """Return where air and soft tissue lie in what are no HU.

    Where what is measured holds no air, a filling below the tissue is taken for it.
    """
    values = small.array.astype(np.float64)
    known = np.isfinite(values)
    padding = padding_in(small)
    measured = values[known & ~padding]
    if not measured.size:
        return _two_peaks(values[known] if known.any() else np.zeros(1))
    air, tissue = _two_peaks(measured)
    if _lies_in(tissue - air, AIR_BELOW_TISSUE_HU):
        return air, tissue
    usual = _peak(measured)
    filled = values[known & padding]
    as_air = (filled > usual - FARTHEST_AIR) & (filled < usual - NEAREST_AIR)
    return _two_peaks(np.concatenate([measured, filled[as_air]]))


def _find_wrapping_power(values: Values) -> float | None:
    """Return at which power of two negative values seem to have been wrapped."""
    if values.min() < 0:
        return None
    for bits in SIGNED_BITS:
        top = float(2**bits)
        near = _share(values, top + AIR_HU[0], top + AIR_HU[1])
        if values.max() < top and near > 0.02 and values.max() > top - 1000.0:
            return top
    return None


def _two_peaks(values: Values) -> tuple[float, float]:
    """Return the most frequent value of the darker and of the brighter part.

    What is brighter than nearly all, as metal, does not count.
    """
    low, high = np.percentile(values, (0.5, 97.0))
    clipped = values[(values >= low) & (values <= high)]
    if not clipped.size or low == high:
        return float(low), float(high)
    return TwoClasses.of(clipped, bins=256).peaks


def _peak(values: Values) -> float:
    """Return the most frequent value, to about 10."""
    low, high = np.percentile(values, (0.0, 99.0))
    edges = np.arange(low, max(high, low + 1.0) + 2 * PEAK_BIN_HU, PEAK_BIN_HU)
    if len(edges) > 1 << 16:
        return float(np.median(values))
    counts = np.histogram(values, edges)[0].astype(np.float64)
    smooth = ndimage.gaussian_filter1d(counts, 1.5)
    return float(edges[int(smooth.argmax())] + PEAK_BIN_HU / 2.0)


def _taken_below(values: Values, top: float) -> float:
    """Return which share of the whole values just below the highest occurs."""
    near = values[(values >= top - BELOW_TOP_HU) & (values <= top - 0.5)]
    return len(np.unique(np.floor(near))) / BELOW_TOP_HU


def _share(values: Values, low: float, high: float) -> float:
    return float(((values >= low) & (values <= high)).mean())


def _lies_in(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
