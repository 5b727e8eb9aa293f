"""Cases on disk in HaN-Seg's own folder layout."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from hanseg_lab.phantom.phantom_case import PhantomCase
from hanseg_shared.itk import to_image
from hanseg_shared.organs import ORGANS, Evidence
from hanseg_shared.volume import Volume

SET_FOLDER = "set_1"
"""The folder of HaN-Seg's public cases."""

TABLE = "OAR_data.csv"
"""Which organs each case has; separated by semicolons, 1.0 or 0.0."""

DECLARATION = "dataset.json"
"""Says that the cases are simulated, so that no training takes them for real ones."""


def choose_undrawn(seed: int, *, share: float) -> frozenset[str]:
    """Return the organs that are left undrawn in a case; always the same for a seed.

    Args:
        seed: Which patient.
        share: Probability of each organ to be left out, 0 to 1.
    """
    rng = np.random.default_rng((seed, 2))
    return frozenset(each.name for each in ORGANS if rng.random() < share)


def write_han_seg_case(
    case: PhantomCase, folder: Path, *, undrawn: frozenset[str] = frozenset()
) -> Path:
    """Write a case as HaN-Seg has it, and add it to the table of organs.

    Beside it, `DECLARATION` says that these are no patients.

    Files are ``set_1/<case>/<case>_IMG_CT.nrrd``, ``_IMG_MR_T1.nrrd`` and one
    ``_OAR_<organ>.seg.nrrd`` (uint8, on the CT's grid) for each organ that has voxels.

    Args:
        case: What to write.
        folder: The data set's folder; created if need be.
        undrawn: Organs that are there but get no mask, as in some of HaN-Seg's cases.

    Returns:
        The case's own folder.
    """
    target = folder / SET_FOLDER / case.name
    target.mkdir(parents=True, exist_ok=True)
    _write(case.ct, target / f"{case.name}_IMG_CT.nrrd")
    if case.mr is not None:
        rounded = case.mr.with_array(np.rint(case.mr.array).astype(np.uint16))
        _write(rounded, target / f"{case.name}_IMG_MR_T1.nrrd")
    present = set(np.unique(case.labels.array).tolist())
    drawn = {o for o in ORGANS if o.label in present and o.name not in undrawn}
    for each in ORGANS:
        if each in drawn:
            mask = case.labels.with_array(case.labels.array == each.label)
            _write(mask, target / f"{case.name}_OAR_{each.name}.seg.nrrd")
    _update_table(folder / SET_FOLDER / TABLE, case.name, {o.label for o in drawn})
    _declare(folder / DECLARATION)
    return target


def _write(volume: Volume, path: Path) -> None:
    sitk.WriteImage(to_image(volume), str(path), useCompression=True)


def _update_table(path: Path, name: str, drawn: set[int]) -> None:
    """Add or replace the case's row; rows stay sorted by name."""
    header = ["", *(each.name for each in ORGANS)]
    rows: dict[str, list[str]] = {}
    if path.exists():
        with path.open(newline="") as file:
            rows = {row[0]: row for row in list(csv.reader(file, delimiter=";"))[1:]}
    rows[name] = [name, *("1.0" if o.label in drawn else "0.0" for o in ORGANS)]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerows([header, *(rows[key] for key in sorted(rows))])


def _declare(path: Path) -> None:
    content = {
        "name": "phantoms",
        "description": "simulated patients",
        "licence": "MIT",
        "weights_licence": "MIT",
        "evidence": Evidence.PHANTOM.value,
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
