"""How much a CT says about an MR: normalised mutual information of class pairs.

The voxels of both images are put into a few classes: the CT's by tissue, since HU have
a meaning, the MR's by equal steps of brightness. Mutual information then assumes
nothing about how the classes of the one correspond to those of the other (Maes et al.,
doi:10.1109/42.563664; normalised as by Studholme et al.,
doi:10.1016/S0031-3203(98)00091-0).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CT_EDGES_HU = (-600.0, -200.0, -40.0, 15.0, 45.0, 90.0, 200.0, 500.0)
"""Limits between CT classes: air, its edge, fat, water, brain, muscle … dense bone."""

CT_CLASSES = len(CT_EDGES_HU) + 1

MR_CLASSES = 12
"""Steps between an MR's dark and bright end."""

Classes = npt.NDArray[np.uint8]


def ct_classes(intensity_hu: npt.NDArray[np.floating]) -> Classes:
    """Return the tissue class, 0 .. `CT_CLASSES` - 1, of each CT value."""
    return np.digitize(intensity_hu, CT_EDGES_HU).astype(np.uint8)


def mr_classes(
    intensity: npt.NDArray[np.floating], *, low: float, high: float
) -> Classes:
    """Return the brightness class, 0 .. `MR_CLASSES` - 1, of each MR value."""
    scaled = (intensity - low) * (MR_CLASSES / max(high - low, 1e-12))
    return np.clip(scaled, 0, MR_CLASSES - 1).astype(np.uint8)


def joint_counts(ct: Classes, mr: Classes) -> npt.NDArray[np.float64]:
    """Count class pairs over the last axis.

    Args:
        ct: CT classes, shape ``(..., n)``; `CT_CLASSES` itself means "no data".
        mr: MR classes, shape ``(n,)`` or that of `ct`.

    Returns:
        Counts of shape ``(..., CT_CLASSES, MR_CLASSES)``.
    """
    lead = ct.shape[:-1]
    cells = (CT_CLASSES + 1) * MR_CLASSES
    rows = int(np.prod(lead, dtype=np.int64))
    code = ct.astype(np.int32) * MR_CLASSES + mr
    code += (np.arange(rows, dtype=np.int32) * cells).reshape(*lead, 1)
    counts = np.bincount(code.ravel(), minlength=rows * cells)
    counts = counts.reshape(*lead, CT_CLASSES + 1, MR_CLASSES)
    return counts[..., :CT_CLASSES, :].astype(np.float64)


def normalised_mutual_information(
    counts: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return (H(CT) + H(MR)) / H(CT, MR) of joint counts; 1 where nothing is shared.

    Args:
        counts: Shape ``(..., CT_CLASSES, MR_CLASSES)``.

    Returns:
        Values 1 .. 2, shape ``(...)``; 1 where there are no counts.
    """
    total = np.maximum(counts.sum(axis=(-2, -1)), 1.0)[..., None, None]
    joint = counts / total
    ct = _entropy(joint.sum(axis=-1)).sum(axis=-1)
    mr = _entropy(joint.sum(axis=-2)).sum(axis=-1)
    both = _entropy(joint).sum(axis=(-2, -1))
    return np.where(both > 1e-9, (ct + mr) / np.maximum(both, 1e-9), 1.0)


def _entropy(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -share * np.log(np.maximum(share, 1e-300))
