"""The price of the gate: 30 organs written as DICOM, and read back.

The organs are those of `benchmarks.rtstruct`: 512 x 512 x 200 voxels with ragged
borders, more contours and points than a network draws. Each object is written and read
back in a process of its own, and memory is above the label map's.

    python -m benchmarks.dicom_gate
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from benchmarks.figure import Figure, table
from benchmarks.rtstruct import big_grid, big_labels, peak_mib
from tests.dicom.cases import dicom_case

from hanseg_shared.dicom.case import DicomCase
from hanseg_shared.dicom.gate import require_rtstruct, require_segmentation
from hanseg_shared.dicom.rtstruct import write_rtstruct
from hanseg_shared.dicom.segmentation import write_segmentation
from hanseg_shared.dicom.templates import default_template
from hanseg_shared.documents import DicomOutput, ModelSummary
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import Volume

RESULTS = Path(__file__).resolve().parent / "results" / "dicom_gate.json"

NAMES = tuple(each.name for each in ORGANS)
MODEL = ModelSummary(name="benchmark", version="1", sha256="0" * 64)

MOST_SECONDS = {DicomOutput.RTSTRUCT: 6.0}
"""To read back; the others have no limit."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one step costs: `cpu_seconds` are of one processor, memory is in MiB."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


@dataclass(frozen=True, slots=True)
class Row:
    """What an object costs."""

    kind: DicomOutput
    megabytes: float
    write: Cost
    read_back: Cost


def write(kind: DicomOutput, file: Path, labels: Volume, case: DicomCase) -> None:
    """Write an object with all organs."""
    if kind is DicomOutput.RTSTRUCT:
        write_rtstruct(
            file,
            labels,
            case=case,
            template=default_template(),
            organs=(),
            model=MODEL,
        )
    else:
        write_segmentation(
            file, labels, case=case, organs=NAMES, model=MODEL, kind=kind
        )


def read_back(kind: DicomOutput, file: Path, labels: Volume, case: DicomCase) -> None:
    """Let the gate read an object back."""
    if kind is DicomOutput.RTSTRUCT:
        require_rtstruct(
            file, labels, case=case, template=default_template(), organs=NAMES
        )
    else:
        require_segmentation(file, labels, case=case, organs=NAMES)


def measure(
    step: Callable[[DicomOutput, Path, Volume, DicomCase], None],
    kind: DicomOutput,
    path: str,
    file: str,
) -> Cost:
    """Take a step; called in a process of its own."""
    labels = Volume(np.load(path), big_grid(path))
    case = dicom_case(labels.grid)
    labels.array.max()  # all of it is in memory
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_mib()
    start, cpu_start = time.perf_counter(), time.process_time()
    step(kind, Path(file), labels, case)
    return Cost(
        time.perf_counter() - start,
        time.process_time() - cpu_start,
        peak_mib() - before,
    )


def rows() -> list[Row]:
    """Return what each object costs."""
    volume = big_labels()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "labels.npy"
        np.save(path, volume.array)
        grid = {"spacing": volume.grid.spacing, "origin": volume.grid.origin}
        path.with_suffix(".json").write_text(json.dumps(grid), "utf-8")
        found = []
        for kind in (DicomOutput.RTSTRUCT, DicomOutput.SEG, DicomOutput.LABELMAP):
            file = Path(folder) / f"{kind}.dcm"
            costs = []
            for step in (write, read_back):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    arguments = (step, kind, str(path), str(file))
                    costs.append(pool.apply(measure, arguments))
            found.append(Row(kind, file.stat().st_size / 1e6, *costs))
    return found


def figures(found: list[Row]) -> list[Figure]:
    """Return the lines of the table."""
    lines = []
    for row in found:
        for what, cost, most in (
            ("write", row.write, None),
            ("read back", row.read_back, MOST_SECONDS.get(row.kind)),
        ):
            lines.append(
                Figure.of(
                    f"{what} {row.kind} of {row.megabytes:.1f} MB",
                    f"{cost.seconds:.2f} s ({cost.cpu_seconds:.2f} s of one processor),"
                    f" {cost.peak_mib:.0f} MiB",
                    "" if most is None else f"<= {most:g} s of one processor",
                    most is None or cost.cpu_seconds <= most,
                )
            )
    return lines


def main() -> None:
    """Run the benchmark, print its table and write its result."""
    found = rows()
    print(table(figures(found)))
    RESULTS.parent.mkdir(exist_ok=True)
    document = [asdict(row) for row in found]
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
