"""DICOM series: what reading one of 512 x 512 x 200 voxels costs.

Noise around a cylinder is written as a series of each kind and read in a process of its
own. Memory is what it takes beyond the libraries, the volume included.

    python -m benchmarks.dicom_series [--kinds classic,RLE]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from benchmarks.rtstruct import peak_mib
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless
from tests.io.dicom.made_series import (
    made_grid,
    make_enhanced,
    make_series,
    write_files,
)

from hanseg_shared.volume import Volume

RESULTS = Path(__file__).resolve().parent / "results" / "dicom_series.json"

SIZE = (512, 512, 200)
MOST_SECONDS = 3.0
"""What reading a series may take on two processors."""


@dataclass(frozen=True, slots=True)
class Row:
    """What reading one kind of series costs.

    Attributes:
        kind: How it is stored.
        files: Their number.
        seconds: On the clock.
        cpu_seconds: On a processor.
        peak_mib: Memory beyond the libraries.
        volume_mib: Of it, the volume.
    """

    kind: str
    files: int
    seconds: float
    cpu_seconds: float
    peak_mib: float
    volume_mib: float


def make_head() -> Volume:
    """Return a CT of noise: a cylinder of tissue in air."""
    rng = np.random.default_rng(3)
    grid = made_grid(SIZE, spacing=(0.9, 0.9, 2.0))
    y, x = np.ogrid[:512, :512]
    inside = (x - 256) ** 2 + (y - 256) ** 2 < 160**2
    hu = np.where(inside, 40, -950).astype(np.int16)
    noise = rng.integers(-30, 30, (8, 512, 512), dtype=np.int16)
    return Volume(np.stack([hu + noise[k % 8] for k in range(SIZE[2])]), grid)


def _make_rle(volume: Volume) -> list[FileDataset]:
    slices = make_series(volume)
    for each in slices:
        each.compress(RLELossless, generate_instance_uid=False)
    return slices


def _make_uneven(volume: Volume) -> list[FileDataset]:
    slices = make_series(volume)
    return [each for k, each in enumerate(slices) if k % 50 != 25]


KINDS: dict[str, Callable[[Volume], list[FileDataset]]] = {
    "classic": make_series,
    "RLE": _make_rle,
    "enhanced": lambda volume: [make_enhanced(volume)],
    "with missing slices": _make_uneven,
}


def measure(folder: Path, kind: str) -> Row:
    """Return what reading a folder costs, in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_read, (folder, kind))


def _read(folder: Path, kind: str) -> Row:
    from hanseg_shared.io.dicom.case import read_case
    from hanseg_shared.io.dicom.dicom_file import DicomFile

    files = [DicomFile(path, path.name) for path in sorted(folder.iterdir())]
    before = peak_mib()
    began, cpu_began = time.perf_counter(), time.process_time()
    case = read_case(files)
    return Row(
        kind=kind,
        files=len(files),
        seconds=time.perf_counter() - began,
        cpu_seconds=time.process_time() - cpu_began,
        peak_mib=peak_mib() - before,
        volume_mib=case.ct.array.nbytes / 2**20,
    )


def rows(kinds: list[str]) -> list[Row]:
    """Return a row for each kind."""
    volume = make_head()
    found = []
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="hanseg-benchmark-") as folder:
            write_files(Path(folder), KINDS[kind](volume))
            found.append(measure(Path(folder), kind))
    return found


def main() -> int:
    """Print the table, write it as JSON, and return 1 if a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", default=",".join(KINDS))
    chosen = parser.parse_args().kinds.split(",")
    found = rows(chosen)
    for row in found:
        print(
            f"{row.kind:22} {row.files:4} files  {row.seconds:6.2f} s  "
            f"{row.cpu_seconds:6.2f} s on a processor  {row.peak_mib:6.0f} MiB, "
            f"{row.volume_mib:.0f} of them the volume"
        )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps([asdict(row) for row in found], indent=2))
    return int(any(row.cpu_seconds > MOST_SECONDS for row in found))


if __name__ == "__main__":
    sys.exit(main())
