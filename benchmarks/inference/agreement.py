"""How equal label maps are: voxel by voxel, and organ by organ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hanseg_segmentation.packages.package import ModelPackage
from hanseg_shared.io import read_labels
from hanseg_shared.organs import organ

Labels = npt.NDArray[np.uint8]

OPENKBP = {
    "Brainstem": 1,
    "SpinalCord": 2,
    "Parotid_R": 3,
    "Parotid_L": 4,
    "Esophagus_S": 5,
    "Larynx_SG": 6,
    "Bone_Mandible": 7,
}
"""OpenKBP's labels of a model that was taught them. Its oesophagus and larynx reach
further than the organs of those names: such a model knows its teacher's."""


def read_own(path: Path) -> Labels:
    """Return a label map of organ labels."""
    labels: Labels = read_labels(path).array
    return labels


def read_nnunet(path: Path, package: ModelPackage) -> Labels:
    """Return nnU-Net's label map as organ labels."""
    channels = read_own(path)
    table = package.label_of_channel(int(max(package.labels.values())) + 1)
    labels: Labels = table[channels]
    return labels


def same_share(ours: Labels, theirs: Labels) -> dict[str, float]:
    """Return on which share of all voxels, and of the foreground, labels are equal.

    The foreground is what either calls an organ.

    Raises:
        ValueError: Neither calls anything an organ, so that nothing was compared.
    """
    foreground = (ours != 0) | (theirs != 0)
    if not foreground.any():
        raise ValueError("both label maps are empty: their agreement says nothing")
    same = ours == theirs
    return {
        "same": float(same.mean()),
        "same_foreground": float(same[foreground].mean()),
        "foreground": float(foreground.mean()),
    }


def dice_of_organs(
    first: Labels, second: Labels, numbers: Mapping[str, tuple[int, int]]
) -> dict[str, float]:
    """Return each organ's Dice; organs that are in neither are left out.

    Args:
        first: A label map.
        second: Another of the same grid.
        numbers: Each organ's label in both.
    """
    high = 256
    pairs = first.astype(np.int64) * high + second
    counts = np.bincount(pairs.ravel(), minlength=high * high).reshape(high, high)
    found = {}
    for name, (a, b) in numbers.items():
        total = int(counts[a].sum() + counts[:, b].sum())
        if total:
            found[name] = 2 * int(counts[a, b]) / total
    return found


def own_numbers(package: ModelPackage) -> dict[str, tuple[int, int]]:
    """Return each organ's label, twice."""
    return {name: (organ(name).label,) * 2 for name in package.labels}


def drawn_numbers(package: ModelPackage, drawn: Labels) -> dict[str, tuple[int, int]]:
    """Return the organ's label and OpenKBP's, of what the clinic drew in a case."""
    there = set(np.unique(drawn).tolist())
    return {
        name: (organ(name).label, label)
        for name, label in OPENKBP.items()
        if name in package.labels and label in there
    }


def compare_patient(
    exact: Labels,
    fast: Labels,
    rapid: Labels,
    nnunet: Labels,
    drawn: Labels,
    *,
    unchecked: Labels,
    package: ModelPackage,
    voxel_ml: float,
) -> dict[str, float]:
    """Return all Dice of one patient, named ``WHAT ORGAN``.

    Label maps are as they are delivered; `unchecked` is exact mode's before the checks,
    which nnU-Net's is compared with voxel by voxel.

    WHAT is ``fast`` or ``rapid``, against exact; ``ml``, the organ's volume in exact
    mode; and ``exact drawn``, ``fast drawn``, ``rapid drawn``, ``nnunet drawn``,
    against the clinic's contour.
    """
    own, clinical = own_numbers(package), drawn_numbers(package, drawn)
    ways = {"exact": exact, "fast": fast, "rapid": rapid, "nnunet": nnunet}
    found = {
        f"{way} {name}": value
        for way in ("fast", "rapid")
        for name, value in dice_of_organs(ways[way], exact, own).items()
    }
    for name, (label, _) in own.items():
        if f"fast {name}" in found or f"rapid {name}" in found:
            found[f"ml {name}"] = int((exact == label).sum()) * voxel_ml
    for way, labels in ways.items():
        for name, value in dice_of_organs(labels, drawn, clinical).items():
            found[f"{way} drawn {name}"] = value
    return {name: round(value, 5) for name, value in found.items()} | {
        f"nnunet {key}": round(value, 6)
        for key, value in same_share(unchecked, nnunet).items()
    }
