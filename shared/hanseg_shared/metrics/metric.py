"""The metrics: names, units, which way is better, and how each is read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hanseg_shared.metrics import measures
from hanseg_shared.metrics.comparison import Comparison


class Metric(StrEnum):
    """What is measured on a pair; the value is its name in every table."""

    DSC = "DSC"
    """Dice similarity coefficient."""

    HD95 = "HD95"
    """Robust Hausdorff distance, 95th percentile."""

    HD100 = "HD100"
    """Hausdorff distance."""

    SURFACE_DSC = "surface_DSC"
    """Surface Dice at the organ's tolerance."""

    ASSD = "ASSD"
    """Average symmetric surface distance."""

    ADDED_PATH_LENGTH = "added_path_length"
    """Contour that a corrector would have to draw."""

    VOLUME = "volume"
    """The prediction's volume."""

    REFERENCE_VOLUME = "reference_volume"
    """The reference's volume."""

    VOLUME_DIFFERENCE = "volume_difference"
    """Prediction's minus reference's volume."""

    CENTRE_DISTANCE = "centre_distance"
    """Between the centres of mass."""


@dataclass(frozen=True, slots=True)
class Definition:
    """How a metric is to be read.

    Attributes:
        unit: Unit of the values in tables; empty for a share from 0 to 1.
        better: 1 if more is better, -1 if less is, 0 if neither.
        rule: The definition, in a sentence, with its source.
    """

    unit: str
    better: int
    rule: str


DEFINITIONS: dict[Metric, Definition] = {
    Metric.DSC: Definition("", 1, "2 |A and B| / (|A| + |B|), in voxels"),
    Metric.HD95: Definition(
        "mm",
        -1,
        "larger of the two directed distances that 95 % of the surface's area does "
        "not exceed; surfels and areas as google-deepmind/surface-distance 0.1",
    ),
    Metric.HD100: Definition("mm", -1, "as HD95, at 100 % of the area: the largest"),
    Metric.SURFACE_DSC: Definition(
        "",
        1,
        "share of both surfaces' area within the organ's tolerance of the other "
        "surface (Nikolov et al., doi:10.2196/26151)",
    ),
    Metric.ASSD: Definition(
        "mm", -1, "mean distance over both surfaces' area together, area-weighted"
    ),
    Metric.ADDED_PATH_LENGTH: Definition(
        "mm",
        -1,
        "pixels of the reference's contours, slice by slice, that are none of the "
        "prediction's, times the pixel's edge (Vaassen et al., "
        "doi:10.1016/j.phro.2019.12.001; no tolerance)",
    ),
    Metric.VOLUME: Definition("ml", 0, "the prediction's voxels times their volume"),
    Metric.REFERENCE_VOLUME: Definition(
        "ml", 0, "the reference's voxels times their volume"
    ),
    Metric.VOLUME_DIFFERENCE: Definition("ml", 0, "prediction minus reference"),
    Metric.CENTRE_DISTANCE: Definition(
        "mm", -1, "distance between the centres of mass"
    ),
}


def measure(comparison: Comparison, *, tolerance_mm: float) -> dict[Metric, float]:
    """Return every metric of a pair, in the unit of its definition.

    Args:
        comparison: The pair.
        tolerance_mm: The organ's tolerance for the surface Dice.
    """
    distances = comparison.distances
    return {
        Metric.DSC: measures.dice(comparison),
        Metric.HD95: measures.hausdorff(distances, 95),
        Metric.HD100: measures.hausdorff(distances, 100),
        Metric.SURFACE_DSC: measures.surface_dice(distances, tolerance_mm),
        Metric.ASSD: measures.average_symmetric_distance(distances),
        Metric.ADDED_PATH_LENGTH: comparison.added_path_mm,
        Metric.VOLUME: measures.volume_ml(comparison),
        Metric.REFERENCE_VOLUME: measures.reference_volume_ml(comparison),
        Metric.VOLUME_DIFFERENCE: measures.volume_difference_ml(comparison),
        Metric.CENTRE_DISTANCE: comparison.centre_distance_mm,
    }
