"""Dice and HD95 of a model on simulated patients, by the MR that it gets.

No training saw them, all 30 organs are known, and so is where the MR lies. They are
contoured from the CT alone, with a perfectly registered T1, with one that is left some
millimetres off, with one that shows a part of the head only, and with that one while
the channel that says where it has data is wrong: what each channel is worth.

    python benchmarks/phantoms.py [--model NAME_OR_FOLDER] [--seeds N]
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from benchmarks.figure import Figure, table

from hanseg_lab.phantom.phantom_case import PhantomCase, make_case
from hanseg_lab.phantom.simulate import scan_t1
from hanseg_segmentation.images import CaseImages
from hanseg_segmentation.inference.loaded_model import LoadedModel
from hanseg_segmentation.pipeline import load_model, segment
from hanseg_shared.metrics.comparison import compare
from hanseg_shared.metrics.measures import dice, hausdorff
from hanseg_shared.organs import ORGANS
from hanseg_shared.volume import Volume

RESULTS = Path(__file__).resolve().parent / "results"

SPACING_MM = (2.0, 2.0, 2.5)
WIDTH_MM = 300.0

SEEDS = 5
"""Patients 1 to so many; trainings take theirs from 10000 on."""

PART_MM = 60.0
"""Height of an MR that shows a part of the head, about the upper third of the scan."""

CT_ALONE, WITH_MR = "CT alone", "CT and MR"
PART, WRONG_VIEW = "MR of 60 mm", "the same, called whole"

LEAST_DICE = {CT_ALONE: 0.80, WITH_MR: 0.88}
MOST_HD95_MM = {WITH_MR: 3.0}

IN_THE_MR = ("OpticChiasm", "Pituitary", "OpticNrv_L", "OpticNrv_R")
"""Organs whose contrast is in the MR."""

Given = tuple[Volume | None, Volume | None]


@dataclass(frozen=True, slots=True)
class Scores:
    """What came of one patient and one kind of input, by organ.

    Attributes:
        dice: 0 for an organ that was not found.
        hd95_mm: Infinite for an organ that was not found.
    """

    dice: dict[str, float]
    hd95_mm: dict[str, float]


def with_mr(
    case: PhantomCase,
    *,
    seed: int,
    off_mm: float = 0.0,
    seen: slice = slice(None),
    told: slice | None = None,
) -> Given:
    """Return a T1 as a scanner and a registration give it, and its field of view.

    Args:
        case: A simulated patient with a noiseless T1 on the CT's grid.
        seed: Of the noise.
        off_mm: How far the registration left it off along each axis.
        seen: Slices that the MR shows.
        told: Slices that the field of view claims; None for the true ones.
    """
    assert case.t1 is not None
    rng = np.random.default_rng(seed)
    signal = scan_t1(case.t1.array.astype(np.float32), rng)
    steps = [round(off_mm / s) for s in case.ct.grid.spacing[::-1]]
    moved = np.roll(signal, steps, axis=(0, 1, 2))
    shown, view = np.zeros_like(moved), np.zeros(moved.shape, np.uint8)
    shown[seen] = moved[seen]
    view[seen if told is None else told] = 1
    return case.t1.with_array(shown), case.t1.with_array(view)


def part_of(case: PhantomCase) -> slice:
    """Return the slices of an MR that shows a part of the head."""
    count, step = case.ct.grid.shape[0], case.ct.grid.spacing[2]
    first = count * 2 // 3
    return slice(first, min(count, first + round(PART_MM / step)))


INPUTS: dict[str, Callable[[PhantomCase, int], Given]] = {
    CT_ALONE: lambda *_: (None, None),
    WITH_MR: lambda case, seed: with_mr(case, seed=seed),
    "MR 2 mm off": lambda case, seed: with_mr(case, seed=seed, off_mm=2.0),
    "MR 5 mm off": lambda case, seed: with_mr(case, seed=seed, off_mm=5.0),
    PART: lambda case, seed: with_mr(case, seed=seed, seen=part_of(case)),
    WRONG_VIEW: lambda case, seed: with_mr(
        case, seed=seed, seen=part_of(case), told=slice(None)
    ),
}
"""What the model gets, by name."""


def phantom_case(seed: int) -> PhantomCase:
    """Return a simulated patient with a noiseless T1 on the CT's grid."""
    return make_case(
        seed, ct_spacing=SPACING_MM, ct_width_mm=WIDTH_MM, mr=False, t1=True
    )


def score(case: PhantomCase, given: Given, model: LoadedModel) -> Scores:
    """Contour a patient and compare with the truth."""
    found = segment(
        CaseImages(case.ct, *given), model=model, progress=lambda _: None
    ).labels
    overlaps, distances = {}, {}
    for each in ORGANS:
        truth, ours = (
            volume.with_array(volume.array == each.label)
            for volume in (case.labels, found)
        )
        if not truth.array.any():
            continue
        comparison = compare(truth, ours)
        overlaps[each.name] = dice(comparison)
        distances[each.name] = hausdorff(comparison.distances, 95)
    return Scores(overlaps, distances)


def mean_dice(scores: list[Scores]) -> dict[str, float]:
    """Return each organ's mean Dice over patients."""
    return {
        each.name: float(np.mean(values))
        for each in ORGANS
        if (values := [s.dice[each.name] for s in scores if each.name in s.dice])
    }


def figures(results: dict[str, list[Scores]]) -> list[Figure]:
    """Return the lines of each kind of input, and of the organs that need the MR."""
    lines = []
    for name, scores in results.items():
        mean = float(np.mean(list(mean_dice(scores).values())))
        least = LEAST_DICE.get(name, 0.0)
        found = np.array([v for s in scores for v in s.hd95_mm.values()])
        median, lost = float(np.median(found)), int(np.isinf(found).sum())
        most = MOST_HD95_MM.get(name, math.inf)
        lines += [
            Figure.of(
                f"{name}: mean Dice of 30 organs, {len(scores)} patients",
                f"{mean:.3f}",
                f">= {least:g}" if name in LEAST_DICE else "",
                mean >= least,
            ),
            Figure.of(
                f"{name}: median HD95",
                f"{median:.1f} mm; {lost} of {len(found)} organs not found",
                f"<= {most:g} mm" if name in MOST_HD95_MM else "",
                median <= most and not lost,
            ),
        ]
    alone, with_it = (mean_dice(results[name]) for name in (CT_ALONE, WITH_MR))
    for name in IN_THE_MR:
        lines.append(
            Figure(
                f"{name}: Dice with MR, and without",
                "better with",
                f"{with_it[name]:.3f}, {alone[name]:.3f}",
                with_it[name] > alone[name],
            )
        )
    return lines


def by_organ(results: dict[str, list[Scores]]) -> str:
    """Return the mean Dice of every organ and kind of input, as a Markdown table."""
    means = {name: mean_dice(scores) for name, scores in results.items()}
    lines = ["| organ | " + " | ".join(means) + " |", "|---" * (len(means) + 1) + "|"]
    for each in ORGANS:
        cells = [f"{column.get(each.name, math.nan):.2f}" for column in means.values()]
        lines.append(f"| {each.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Run, print the tables, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="default", help="name, or package folder")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=RESULTS / "phantoms.json")
    options = parser.parse_args()
    named = Path(options.model)
    model = load_model(named if named.is_dir() else options.model, device="auto")
    results: dict[str, list[Scores]] = {name: [] for name in INPUTS}
    for seed in range(1, options.seeds + 1):
        case = phantom_case(seed)
        for name, given in INPUTS.items():
            results[name].append(score(case, given(case, seed), model))
            mean = np.mean(list(results[name][-1].dice.values()))
            print(f"patient {seed}, {name}: {mean:.3f}", file=sys.stderr, flush=True)
    print(table(figures(results)) + "\n\n" + by_organ(results))
    document = {
        "model": model.package.summary.model_dump(),
        "dice": {name: mean_dice(scores) for name, scores in results.items()},
        "figures": [
            {"name": f.name, "asked": f.asked, "measured": f.measured}
            for f in figures(results)
        ],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
