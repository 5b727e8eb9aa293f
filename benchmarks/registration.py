"""How far registration ends from the truth, from many starts, and in what time.

Each start is the same MR with another header: turned by up to 25 degrees about a
random axis and moved by up to 500 mm along each. The truth moves with it, so that the
error is known. Cases: RIRE 001 (real; its gold standard is markers fixed to the bone)
and simulated patients, whole and as slabs.

    python benchmarks/registration.py --starts 40 --out results.json
    python benchmarks/registration.py --starts 5 --cases rire slab

RIRE needs its folder (``ct.nii.gz``, ``t1.nii.gz``, ``ct_T1.standard``), named by
``--rire``; without it the case is left out, saying so.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy.spatial.transform import Rotation

from hanseg_registration.head import ct_head
from hanseg_registration.motions import (
    Motion,
    apply,
    distances_mm,
    from_transform,
    inverse,
    translation,
)
from hanseg_registration.pipeline import register
from hanseg_registration.sampling import centred
from hanseg_shared.documents import MrVerdict
from hanseg_shared.evaluation.landmarks import brain_points, rigid_fit
from hanseg_shared.grid import Grid, Points
from hanseg_shared.io import read_ct, read_mr
from hanseg_shared.itk import matrix_rows
from hanseg_shared.phantom import Scope, make_case
from hanseg_shared.volume import Volume

LARGEST_TURN_DEG = 25.0
LARGEST_SHIFT_MM = 500.0
SUCCESS_MM = 2.0
"""A start whose end has a smaller mean error than this has succeeded."""

POINT_ROW = re.compile(r"^\s+\d+((?:\s+-?\d+\.\d+){6})\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A CT and an MR, where CT points truly lie in the MR, and where that matters."""

    name: str
    ct: Volume
    mr: Volume
    mr_from_ct: Motion
    region: Points


@dataclass(frozen=True, slots=True)
class Run:
    """One registration from one start."""

    case: str
    start: int
    turn_deg: float
    verdict: str
    error_mean_mm: float
    error_max_mm: float
    seconds: float


def rire(folder: Path) -> Case:
    """Return RIRE 001; the error is taken over the brain."""
    rows = POINT_ROW.findall((folder / "ct_T1.standard").read_text())
    pairs = np.array([row.split() for row in rows], dtype=np.float64)
    ct = read_ct(folder / "ct.nii.gz")
    return Case(
        "rire",
        ct,
        read_mr(folder / "t1.nii.gz"),
        rigid_fit(pairs[:, :3], pairs[:, 3:]),
        brain_points(ct),
    )


def simulated(name: str, seed: int, scope: Scope, *, slab: bool = False) -> Case:
    """Return a simulated patient; a slab is the middle third of the MR's slices."""
    case = make_case(seed, ct_spacing=(2.0, 2.0, 2.5), scope=scope)
    if case.mr is None or case.mr_from_ct is None:
        raise RuntimeError("the phantom has no MR")
    mr = middle_third(case.mr) if slab else case.mr
    head = ct_head(centred(case.ct)).points(2000)
    region = apply(translation(case.ct.grid.centre), head)
    return Case(name, case.ct, mr, case.mr_from_ct, region)


def middle_third(mr: Volume) -> Volume:
    """Return the middle third of a volume's slices."""
    x, y, z = mr.grid.size
    first, count = z // 3, z // 3
    part = np.ascontiguousarray(mr.array[first : first + count])
    return Volume(part, mr.grid.crop((0, 0, first), (x, y, count)))


def cases(names: list[str], rire_folder: Path) -> Iterator[Case]:
    """Make the cases that are asked for."""
    if "rire" in names:
        if rire_folder.is_dir():
            yield rire(rire_folder)
        else:
            print(f"rire is left out: there is no {rire_folder}", file=sys.stderr)
    if "head" in names:
        yield simulated("head", 11, Scope.HEAD)
    if "shoulders" in names:
        yield simulated("shoulders", 12, Scope.HEAD_AND_NECK)
    if "slab" in names:
        yield simulated("slab", 13, Scope.HEAD_AND_NECK, slab=True)


def random_motion(rng: np.random.Generator) -> Motion:
    """Return a turn about a random axis and a shift."""
    axis = rng.normal(size=3)
    angle = np.radians(rng.uniform(0, LARGEST_TURN_DEG))
    motion = translation(rng.uniform(-LARGEST_SHIFT_MM, LARGEST_SHIFT_MM, 3))
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()
    return motion @ turn


def moved(volume: Volume, motion: Motion) -> Volume:
    """Return the volume with a header that a rigid motion has moved."""
    grid = volume.grid
    x, y, z = apply(motion, grid.origin).tolist()
    u, _, vt = np.linalg.svd(motion[:3, :3] @ np.array(grid.direction))
    rows = matrix_rows(tuple((u @ vt).ravel().tolist()))
    return Volume(volume.array, Grid(grid.size, grid.spacing, (x, y, z), rows))


def run(case: Case, start: int) -> Run:
    """Register from one start; start 0 is the case's own header."""
    rng = np.random.default_rng((start, 2023))
    motion = random_motion(rng) if start else np.eye(4)
    began = time.process_time()
    found = register(case.ct, moved(case.mr, motion))
    seconds = time.process_time() - began
    back = inverse(motion) @ from_transform(found.transform)
    errors = distances_mm(back, case.mr_from_ct, case.region)
    turn = Rotation.from_matrix(motion[:3, :3]).magnitude()
    return Run(
        case=case.name,
        start=start,
        turn_deg=round(float(np.degrees(turn)), 2),
        verdict=found.report.verdict.value,
        error_mean_mm=round(float(errors.mean()), 3),
        error_max_mm=round(float(errors.max()), 3),
        seconds=round(seconds, 2),
    )


def print_row(runs: list[Run]) -> None:
    """Print one case's line of the table."""
    errors = np.array([r.error_mean_mm for r in runs])
    right = errors < SUCCESS_MM
    used = np.array([r.verdict == MrVerdict.USED for r in runs])
    print(
        f"{runs[0].case:10s} {len(runs):6d} {right.mean():8.0%} "
        f"{np.median(errors):10.2f} {errors.max():9.2f} "
        f"{int((used & ~right).sum()):11d} {int((~used & right).sum()):14d} "
        f"{np.median([r.seconds for r in runs]):8.1f}",
        flush=True,
    )


def default_rire() -> Path:
    """Return where the tests look for RIRE 001 too."""
    return Path(os.environ.get("HANSEG_REAL_DATA", "../shared/data"), "rire_001")


def main() -> None:
    """Run the benchmark, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--starts", type=int, default=40)
    every = ["rire", "head", "shoulders", "slab"]
    parser.add_argument("--cases", nargs="+", choices=every, default=every)
    parser.add_argument("--rire", type=Path, default=default_rire())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print(
        "case       starts  success  median mm  worst mm "
        "wrong, used right, unused    CPU s"
    )
    runs: list[Run] = []
    for case in cases(options.cases, options.rire):
        done = [run(case, start) for start in range(options.starts)]
        print_row(done)
        runs += done
    if options.out:
        options.out.write_text(json.dumps([asdict(r) for r in runs], indent=1))


if __name__ == "__main__":
    main()
