"""Structure sets: organs read back by plastimatch and by our reader; speed, memory.

A simulated patient's 30 organs are written as an RTSTRUCT in each pose and voxel size,
and read back as masks. Speed and memory are those of 512 x 512 x 200 voxels of 0.5 x
0.5 x 1.66 mm with ragged borders, more contours and points than a network draws, in a
process of its own, less the label map.

    python -m benchmarks.rtstruct [--poses HFS,HFP] [--no-speed]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pydicom
from benchmarks.figure import Figure, table
from tests.dicom.cases import DIRECTIONS, dicom_case, series_source, write_series
from tests.dicom.tools import dice, masks_by_plastimatch

from hanseg_lab.phantom.patient import Patient
from hanseg_shared.dicom.contour_masks import draw_on_grid
from hanseg_shared.dicom.linter import lint
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.rtstruct_reader import read_structure_set
from hanseg_shared.dicom.templates import default_template, shipped_template
from hanseg_shared.grid import Grid, Matrix, Vector
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import Mask, Volume

RESULTS = Path(__file__).resolve().parent / "results" / "rtstruct.json"

SPACINGS: tuple[Vector, ...] = ((0.5, 0.5, 1.0), (0.9766, 0.9766, 2.0), (1.2, 1.2, 3.0))
"""Voxels of planning CTs, mm."""

LOW, HIGH = (-110.0, -130.0, -225.0), (110.0, 60.0, 108.0)
"""Where the organs are, in mm LPS from the brain stem."""

SIZE = (512, 512, 200)

_A = np.radians(7.0)
OBLIQUE: Matrix = (
    (1.0, 0.0, 0.0),
    (0.0, float(np.cos(_A)), float(-np.sin(_A))),
    (0.0, float(np.sin(_A)), float(np.cos(_A))),
)
POSES: dict[str, Matrix] = {**DIRECTIONS, "HFS 7 degrees oblique": OBLIQUE}


@dataclass(frozen=True, slots=True)
class Row:
    """How well the organs came back in one pose and voxel size.

    Attributes:
        pose: Patient Position, and whether it is oblique.
        spacing: Voxels in mm.
        organs: How many were written.
        plastimatch: The lowest Dice that plastimatch's masks have.
        reader: The lowest Dice that our reader's masks have.
        worst: The organ that has it.
        slices: Slices on which an organ is there on one side only, by plastimatch.
        area: The smallest and largest ratio of the polygons' area to the mask's.
    """

    pose: str
    spacing: Vector
    organs: int
    plastimatch: float
    reader: float
    worst: str
    slices: int
    area: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Speed:
    """What writing one structure set of 512 x 512 x 200 voxels costs.

    `cpu_seconds` is processor time: what a machine that does other work cannot hide.
    """

    seconds: float
    cpu_seconds: float
    lint_seconds: float
    peak_mib: float
    structures: int
    contours: int
    points: int
    megabytes: float
    errors: int


def paint(spacing: Vector) -> np.ndarray:
    """Return a simulated patient's label map around the organs, slab by slab."""
    patient = Patient.random(np.random.default_rng(1))
    x, y, z = (
        np.arange(low, high, step, dtype=np.float32)
        for low, high, step in zip(LOW, HIGH, spacing, strict=True)
    )
    slabs = []
    for first in range(0, len(z), 16):
        k, j, i = np.meshgrid(z[first : first + 16], y, x, indexing="ij")
        slabs.append(patient.paint((i, j, k)).labels)
    return np.concatenate(slabs)


def rows(poses: list[str]) -> Iterator[Row]:
    """Yield the rows of the table of accuracy."""
    for spacing in SPACINGS:
        labels = paint(spacing)
        for pose in poses:
            with tempfile.TemporaryDirectory() as folder:
                yield measure(labels, spacing, pose, Path(folder))


def measure(labels: np.ndarray, spacing: Vector, pose: str, folder: Path) -> Row:
    """Write the organs and read them back."""
    depth, height, width = labels.shape
    grid = Grid((width, height, depth), spacing, (-110.123, -90.5, 301.7), POSES[pose])
    series = series_source(grid, patient_position=pose.split()[0])
    case = dicom_case(series)
    ct, file = write_series(folder / "ct", case), folder / "rtstruct.dcm"
    write_rtstruct(
        file,
        Volume(labels, grid),
        case=case,
        template=shipped_template("hanseg"),
        organs=(),
        model=None,
    )
    theirs = masks_by_plastimatch(file, ct, folder / "masks")
    found, slices, areas = {}, 0, []
    for roi in read_structure_set(file).rois:
        wanted = labels == next(o.label for o in ORGANS if o.name == roi.name)
        ours = whole(draw_on_grid(roi, grid)[0], grid)
        found[roi.name] = (dice(wanted, theirs[roi.name]), dice(wanted, ours))
        there = [m.any(axis=(1, 2)) for m in (wanted, theirs[roi.name])]
        slices += int(np.count_nonzero(there[0] != there[1]))
        areas.append(area_of(roi.points, roi.counts, grid) / wanted.sum())
    worst = min(found, key=lambda name: min(found[name]))
    lowest = [min(each) for each in zip(*found.values(), strict=True)]
    area = (min(areas), max(areas))
    return Row(pose, spacing, len(found), lowest[0], lowest[1], worst, slices, area)


def whole(part: Volume | None, grid: Grid) -> Mask:
    """Return a mask on the whole grid."""
    mask = np.zeros(grid.shape, dtype=np.bool_)
    if part is not None:
        start = grid.offset_of(part.grid)
        if start is None:
            raise SystemExit("our reader's mask is not on the grid")
        x, y, z = (slice(a, a + n) for a, n in zip(start, part.grid.size, strict=True))
        mask[z, y, x] = part.array
    return mask


def area_of(points: np.ndarray, counts: np.ndarray, grid: Grid) -> float:
    """Return the area of all contours in pixels."""
    flat = grid.world_to_index(points)[:, :2]
    total = 0.0
    for part in np.split(flat, np.cumsum(counts)[:-1]):
        x, y = part.T
        total += abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))) / 2
    return total


def big_labels() -> Volume:
    """Return the patient in 512 x 512 x 200 voxels, with ragged borders."""
    spacing = (0.5, 0.5, 1.66)
    part = ragged(paint(spacing)[: SIZE[2]])
    labels = np.zeros(SIZE[::-1], dtype=np.uint8)
    depth, height, width = part.shape
    top, left = (SIZE[1] - height) // 2, (SIZE[0] - width) // 2
    labels[:depth, top : top + height, left : left + width] = part
    return Volume(labels, Grid(SIZE, spacing, (-250.0, -250.0, -400.0)))


def ragged(labels: np.ndarray) -> np.ndarray:
    """Return labels with voxels moved by up to one, so that borders are ragged."""
    rng = np.random.default_rng(2)
    depth, height, width = labels.shape
    k, j, i = np.ogrid[:depth, :height, :width]
    row = (j + rng.integers(-1, 2, labels.shape, dtype=np.int16)).clip(0, height - 1)
    column = (i + rng.integers(-1, 2, labels.shape, dtype=np.int16)).clip(0, width - 1)
    return labels[k, row, column]


def peak_mib() -> float:
    """Return this process's largest resident size since it was last forgotten."""
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024.0


def time_writing(path: str, file: str) -> Speed:
    """Write a label map's structure set; called in a process of its own."""
    volume = Volume(np.load(path), big_grid(path))
    case = dicom_case(volume.grid)
    volume.array.max()  # all of it is in memory
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mib()
    start, cpu_start = time.perf_counter(), time.process_time()
    written = write_rtstruct(
        Path(file),
        volume,
        case=case,
        template=default_template(),
        organs=(),
        model=None,
    )
    seconds = time.perf_counter() - start
    cpu_seconds = time.process_time() - cpu_start
    above = peak_mib() - before
    start = time.perf_counter()
    faults = lint(pydicom.dcmread(file), source=case.source)
    lint_seconds = time.perf_counter() - start
    return Speed(
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        lint_seconds=lint_seconds,
        peak_mib=above,
        structures=len(written.structures),
        contours=sum(each.contours for each in written.structures),
        points=sum(each.points for each in written.structures),
        megabytes=Path(file).stat().st_size / 1e6,
        errors=len(faults) + dciodvfy_errors(Path(file)),
    )


def big_grid(path: str) -> Grid:
    """Return the grid that lies beside an array's file."""
    stated = json.loads(Path(path).with_suffix(".json").read_text("utf-8"))
    return Grid(SIZE, tuple(stated["spacing"]), tuple(stated["origin"]))


def dciodvfy_errors(file: Path) -> int:
    """Return how many errors dciodvfy sees."""
    program = Path(sys.executable).parent / "dciodvfy"
    done = subprocess.run([program, file], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return sum(line.startswith(b"Error") for line in lines)


def speed() -> Speed:
    """Return the best of three, each in a process of its own."""
    volume = big_labels()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npy"
        np.save(path, volume.array)
        grid = {"spacing": volume.grid.spacing, "origin": volume.grid.origin}
        path.with_suffix(".json").write_text(json.dumps(grid), "utf-8")
        tries = []
        for _ in range(3):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                file = str(Path(folder) / "rtstruct.dcm")
                tries.append(pool.apply(time_writing, (str(path), file)))
    return min(tries, key=lambda each: each.seconds)


def figures(found: list[Row], cost: Speed | None) -> list[Figure]:
    """Return the lines of the table."""
    lines = []
    for row in found:
        voxels = " x ".join(f"{each:g}" for each in row.spacing)
        lines.append(
            Figure.of(
                f"{row.pose}, {voxels} mm: {row.organs} organs, lowest Dice",
                f"{row.plastimatch:.5f} plastimatch, {row.reader:.5f} our reader "
                f"({row.worst}); {row.slices} slices differ; area "
                f"{row.area[0]:.3f} to {row.area[1]:.3f} of the mask's",
                ">= 0.999, every slice",
                min(row.plastimatch, row.reader) >= 0.999 and not row.slices,
            )
        )
    if cost is not None:
        what = f"{cost.structures} structures, {cost.contours} contours"
        lines += [
            Figure.of(
                f"seconds to write {what}, {cost.points} points",
                f"{cost.seconds:.2f} s ({cost.cpu_seconds:.2f} s of one processor), "
                f"{cost.megabytes:.1f} MB",
                "<= 5",
                cost.seconds <= 5,
            ),
            Figure.of(
                "memory above the label map",
                f"{cost.peak_mib:.0f} MiB",
                "<= 300 MB",
                cost.peak_mib <= 286,
            ),
            Figure.of("seconds to lint it", f"{cost.lint_seconds:.2f} s", "", True),
            Figure.of(
                "errors by dciodvfy and by the linter",
                str(cost.errors),
                "none",
                not cost.errors,
            ),
        ]
    return lines


def main() -> None:
    """Run the benchmark, print its table and write its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--poses", default=",".join(POSES))
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    cost = None if options.no_speed else speed()
    found = list(rows([each for each in options.poses.split(",") if each]))
    print(table(figures(found, cost)))
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "accuracy": [asdict(row) for row in found],
        "speed": None if cost is None else asdict(cost),
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
