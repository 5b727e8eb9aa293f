"""How far a surface may be off, per organ, to count as right in the surface Dice."""

from __future__ import annotations

from collections.abc import Mapping

from hanseg_shared.organs import ORGANS

DEFAULT_TOLERANCE_MM = 2.0
"""Of organs without one of their own; the challenge's organisers use 2 mm for all
(gasperpodobnik/surface-distance)."""

OBSERVER_TOLERANCES_MM: Mapping[str, float] = {
    "Bone_Mandible": 1.01,
    "Brainstem": 2.50,
    "OpticNrv_L": 2.50,
    "OpticNrv_R": 2.50,
    "Parotid_L": 2.85,
    "Parotid_R": 2.85,
}
"""95th percentile of the distances between observers (Nikolov et al. 2021,
doi:10.2196/26151), for the organs whose outlines agree with HaN-Seg's."""


def default_tolerances() -> dict[str, float]:
    """Return the tolerance in mm of each of the 30 organs."""
    own = OBSERVER_TOLERANCES_MM
    return {each.name: own.get(each.name, DEFAULT_TOLERANCE_MM) for each in ORGANS}
