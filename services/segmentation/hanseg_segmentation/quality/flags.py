"""What a check may say about an organ's contour, in words that stay the same."""

from __future__ import annotations

from enum import StrEnum


class Flag(StrEnum):
    """One finding. Those in `DOUBTS` make an organ `low_confidence`."""

    LEFT_RIGHT_SWAPPED = "left_right_swapped"
    """It lies on the other side of its counterpart, or of the middle."""

    UNEXPECTED_POSITION = "unexpected_position"
    """It lies further from its expected place than patients differ."""

    SMALL_VOLUME = "small_volume"
    """It is smaller than is plausible for the whole organ."""

    LARGE_VOLUME = "large_volume"
    """It is larger than is plausible."""

    ASYMMETRIC = "asymmetric"
    """It and its counterpart differ in volume more than patients' sides do."""

    LOW_PROBABILITY = "low_probability"
    """The model itself was not sure of it."""

    DISAGREEMENT = "folds_disagree"
    """The model's folds, or its mirrored passes, contradict each other about it."""

    FRAGMENTED = "fragmented"
    """More than half as much was removed from it as was kept."""

    SPLIT = "split_in_pieces"
    """It consists of more large pieces than the organ does."""

    BETWEEN_VOXELS = "between_voxels"
    """The model saw it, but it is so small that no voxel of the CT lies inside."""

    COARSE = "first_stage_only"
    """The model's finer second stage did not find it, or had no time; this is the
    first stage's outline."""

    TRUNCATED = "truncated_at_scan_edge"
    """It reaches the edge of the CT, which may cut it."""


DOUBTS = frozenset(set(Flag) - {Flag.TRUNCATED})
"""A truncated organ is right as far as it goes; the others are findings against it."""


def pieces_removed(volume_ml: float) -> str:
    """Return the flag that says how much was removed as stray, in ml."""
    return f"pieces_removed_{volume_ml:.3g}_ml"


def holes(volume_ml: float) -> str:
    """Return the flag that says how much lies in holes inside the organ, in ml."""
    return f"holes_{volume_ml:.3g}_ml"
