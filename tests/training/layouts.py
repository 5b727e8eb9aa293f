"""Phantoms written in the layouts of data sets, and ways to damage them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from hanseg_lab.phantom.folder import write_han_seg_case
from hanseg_lab.phantom.phantom_case import PhantomCase, make_case
from hanseg_lab.training.datasets.openkbp import EDGE
from hanseg_shared.io.read import read_ct, read_labels
from hanseg_shared.io.write import write_volume
from hanseg_shared.organs import organ
from hanseg_shared.volume import Volume

SPACING = (6.0, 6.0, 6.0)


def phantom(seed: int, *, mr: bool = False) -> PhantomCase:
    return make_case(seed, ct_spacing=SPACING, mr=mr, mr_spacing=SPACING)


def write_han_seg(folder: Path, *, seeds: tuple[int, ...] = (1, 2)) -> Path:
    for seed in seeds:
        write_han_seg_case(phantom(seed, mr=seed == 1), folder)
    return folder


def write_plain(folder: Path, *, seeds: tuple[int, ...] = (1, 2)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        case = phantom(seed)
        write_volume(case.ct, folder / f"{case.name}_ct.nii.gz")
        write_volume(case.labels, folder / f"{case.name}_seg.nii.gz")
    return folder


OPENKBP_ORGANS = {
    "Brainstem": "Brainstem",
    "LeftParotid": "Parotid_L",
    "RightParotid": "Parotid_R",
    "Mandible": "Bone_Mandible",
}


def write_openkbp(folder: Path, case: PhantomCase) -> Path:
    """Write a patient as OpenKBP has it: axes y, x, and z from head to foot."""
    patient = folder / "pt_1"
    patient.mkdir(parents=True)
    stored = np.where(case.ct.array > -900, case.ct.array.astype(int) + 1024, 0)
    _write_sparse(patient / "ct.csv", stored, with_values=True)
    for name, ours in OPENKBP_ORGANS.items():
        mask = case.labels.array == organ(ours).label
        _write_sparse(patient / f"{name}.csv", mask, with_values=False)
    _write_sparse(patient / "possible_dose_mask.csv", stored > 0, with_values=False)
    (patient / "voxel_dimensions.csv").write_text("6.0\n6.0\n6.0\n")
    return folder


def _write_sparse(path: Path, array: np.ndarray, *, with_values: bool) -> None:
    whole = np.zeros((EDGE,) * 3, array.dtype)
    z, y, x = array.shape
    whole[:z, :y, :x] = array
    flat = whole[::-1].transpose(1, 2, 0).ravel()
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["", "data"])
        for index in np.flatnonzero(flat):
            writer.writerow([index, float(flat[index]) if with_values else ""])


def mask_of(folder: Path, case: str, name: str) -> Path:
    return folder / "set_1" / case / f"{case}_OAR_{name}.seg.nrrd"


def ct_of(folder: Path, case: str) -> Path:
    return folder / "set_1" / case / f"{case}_IMG_CT.nrrd"


def change_mask(path: Path, change) -> None:
    """Rewrite a mask as `change` returns it."""
    write_volume(change(read_labels(path)), path)


def copy_case(folder: Path, source: str, target: str, *, ct: Volume) -> None:
    """Add a case with another's masks and any CT."""
    (folder / "set_1" / target).mkdir()
    for path in (folder / "set_1" / source).glob("*_OAR_*"):
        new = mask_of(folder, target, "X").parent / path.name.replace(source, target)
        new.write_bytes(path.read_bytes())
    write_volume(ct, ct_of(folder, target))
    table = folder / "set_1" / "OAR_data.csv"
    row = next(x for x in table.read_text().splitlines() if x.startswith(source))
    with table.open("a") as file:
        file.write(row.replace(source, target) + "\n")


def ct_volume(folder: Path, case: str) -> Volume:
    return read_ct(ct_of(folder, case))


def set_table(folder: Path, case: str, column: str, value: str) -> None:
    """Change one cell of the table of organs."""
    table = folder / "set_1" / "OAR_data.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    row = next(each for each in rows if each[0] == case)
    row[rows[0].index(column)] = value
    with table.open("w", newline="") as file:
        csv.writer(file, delimiter=";", lineterminator="\n").writerows(rows)
