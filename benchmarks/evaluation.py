"""Speed and memory of the evaluation, beside google-deepmind/surface-distance.

A simulated patient's 30 organs on a planning CT's grid of 1024 x 1024 x 200, against
themselves moved by a few voxels. Ours and the other take turns: ours, then the other
organ by organ on full-size masks as its users call it, then ours again.

    python benchmarks/evaluation.py [--organs N] [--sides 256,512,1024]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from hanseg_lab.evaluation.case_folders import CasePair
from hanseg_lab.evaluation.case_masks import CaseSource, organs_of_labels
from hanseg_lab.evaluation.score_cases import Scoring, score_case
from hanseg_lab.phantom.phantom_case import make_case
from hanseg_shared.grid import Grid
from hanseg_shared.io import write_volume
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.metric import measure
from hanseg_shared.metrics.tolerances import default_tolerances
from hanseg_shared.organs import ORGANS, organ
from hanseg_shared.volume import Volume

SHAPE = (200, 1024, 1024)
SPACING = (0.56, 0.56, 2.0)
MOVE = (0, 2, 3)
RESULTS = Path(__file__).resolve().parent / "results" / "evaluation.json"


def patient() -> Volume:
    """Return a simulated patient's label map on the full grid."""
    x, y, z = SPACING
    case = make_case(1, ct_spacing=(2 * x, 2 * y, z), mr=False)
    fine = case.labels.array.repeat(2, axis=1).repeat(2, axis=2)
    full = np.zeros(SHAPE, dtype=np.uint8)
    # the middle of the patient, in the middle of the grid; the head's end at the top
    depth, height, width = (min(a, b) for a, b in zip(fine.shape, SHAPE, strict=True))
    top = (SHAPE[1] - height) // 2
    left = (SHAPE[2] - width) // 2
    off_y = (fine.shape[1] - height) // 2
    off_x = (fine.shape[2] - width) // 2
    full[-depth:, top : top + height, left : left + width] = fine[
        -depth:, off_y : off_y + height, off_x : off_x + width
    ]
    return Volume(full, Grid((SHAPE[2], SHAPE[1], SHAPE[0]), SPACING))


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how many seconds some work takes, and its result."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def score_all(reference: Volume, prediction: Volume) -> dict[str, dict[str, float]]:
    """Score every organ of two label maps, all metrics."""
    wanted, found = organs_of_labels(reference), organs_of_labels(prediction)
    limits = default_tolerances()
    return {
        name: dict(
            measure(compare(wanted[name], found[name]), tolerance_mm=limits[name])
        )
        for name in wanted
        if name in found
    }


def load_other() -> types.ModuleType:
    """Return surface-distance, given the names that NumPy and SciPy dropped."""
    vars(ndimage)["filters"] = types.SimpleNamespace(correlate=ndimage.correlate)
    vars(ndimage)["morphology"] = types.SimpleNamespace(
        distance_transform_edt=ndimage.distance_transform_edt
    )
    vars(np)["Inf"], vars(np)["NaN"] = np.inf, np.nan
    import surface_distance

    return surface_distance


def other_organ(
    other: types.ModuleType, reference: Volume, prediction: Volume, label: int
) -> tuple[float, float]:
    """Return Dice and HD95 as the other package gives them, on full-size masks."""
    first, second = reference.array == label, prediction.array == label
    spacing = reference.grid.spacing[::-1]
    distances = other.compute_surface_distances(first, second, spacing)
    hd95 = other.compute_robust_hausdorff(distances, 95)
    return float(other.compute_dice_coefficient(first, second)), float(hd95)


def peak_of_case(folder: str) -> tuple[float, float, int]:
    """Score a case from its files; return seconds, peak memory in MiB, and organs."""
    path = Path(folder)
    pair = CasePair(
        "case",
        CaseSource("case", path / "prediction.nii.gz"),
        CaseSource("case", path / "reference.nii.gz"),
    )
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak until now
    seconds, result = timed(lambda: score_case(pair, Scoring()))
    if result.problems:
        raise SystemExit("\n".join(result.problems))
    status = Path("/proc/self/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    organs = len({score.organ for score in result.scores})
    return seconds, peak_kib / 1024.0, organs


def from_files(reference: Volume, prediction: Volume) -> tuple[float, float, int]:
    """Write both label maps, and score them in a process of their own."""
    with tempfile.TemporaryDirectory() as folder:
        write_volume(reference, Path(folder) / "reference.nii.gz")
        write_volume(prediction, Path(folder) / "prediction.nii.gz")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return pool.apply(peak_of_case, (folder,))


def growth(reference: Volume, sides: list[int]) -> dict[str, dict[str, float]]:
    """Return seconds of one pair's kernel as the image around the organ grows."""
    found: dict[str, dict[str, float]] = {}
    for name in ("Cochlea_L", "Parotid_L"):
        mask = organs_of_labels(reference)[name]
        found[name] = {}
        for side in sides:
            array = np.zeros((SHAPE[0], side, side), dtype=np.bool_)
            z, y, x = mask.array.shape
            array[50 : 50 + z, 40 : 40 + y, 40 : 40 + x] = mask.array
            volume = Volume(array, Grid((side, side, SHAPE[0]), SPACING))
            moved = volume.with_array(np.roll(array, MOVE, axis=(0, 1, 2)))
            labels = [v.with_array(v.array.view(np.uint8)) for v in (volume, moved)]
            first, second = (organs_of_labels(v)[ORGANS[0].name] for v in labels)
            times = [
                timed(lambda a=first, b=second: compare(a, b))[0] for _ in range(5)
            ]
            found[name][str(side)] = statistics.median(times)
    return found


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organs", type=int, default=len(ORGANS))
    parser.add_argument("--sides", default="256,512,1024")
    options = parser.parse_args()
    reference = patient()
    moved = np.roll(reference.array, MOVE, axis=(0, 1, 2))
    prediction = reference.with_array(moved)
    seconds, peak_mib, organs = from_files(reference, prediction)
    print(f"from files: {organs} organs, {seconds:.2f} s, {peak_mib:.0f} MiB at most")
    names = list(organs_of_labels(reference))[: options.organs]
    other = load_other()
    ours, scores = timed(lambda: score_all(reference, prediction))
    theirs: dict[str, float] = {}
    apart = 0.0
    for name in names:
        label = organ(name).label
        theirs[name], (expected_dice, expected_hd95) = timed(
            lambda n=label: other_organ(other, reference, prediction, n)
        )
        apart = max(
            apart,
            abs(scores[name]["DSC"] - expected_dice),
            abs(scores[name]["HD95"] - expected_hd95),
        )
    again, _ = timed(lambda: score_all(reference, prediction))
    share = len(names) / len(scores)
    ratio = sum(theirs.values()) / (statistics.median([ours, again]) * share)
    print(f"in memory: ours {ours:.2f} and {again:.2f} s for {len(scores)} organs;")
    print(
        f"surface-distance {sum(theirs.values()):.2f} s for {len(names)}: {ratio:.0f}x"
    )
    print(f"largest difference of DSC or HD95: {apart:.2g}")
    sizes = growth(reference, [int(side) for side in options.sides.split(",")])
    print(f"one pair's kernel by the image's side: {sizes}")
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "shape": SHAPE,
        "organs": organs,
        "from_files_s": seconds,
        "peak_mib": peak_mib,
        "ours_s": [ours, again],
        "surface_distance_s": theirs,
        "times_faster": ratio,
        "largest_difference": apart,
        "kernel_s_by_side": sizes,
    }
    RESULTS.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
