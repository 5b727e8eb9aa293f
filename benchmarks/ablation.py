"""What the MR's handling in training is worth: one setting left out at a time.

Every variant of the default recipe, small and on a coarse grid, is taught from nothing
by the same simulated patients for as many iterations on the same random stream. (Going
on from trained weights showed nothing: what they had learnt stayed.) Then each contours
patients that none of them saw: from the CT alone, with a perfect MR, with one that is
left 5 mm off, and with one that shows a part of the head.

    python benchmarks/ablation.py [--iterations N] [--seeds N]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from benchmarks.phantoms import (
    CT_ALONE,
    IN_THE_MR,
    INPUTS,
    PART,
    RESULTS,
    WITH_MR,
    Scores,
    mean_dice,
    phantom_case,
    score,
)

from hanseg_segmentation.model_package import NetworkSpec
from hanseg_segmentation.pipeline import load_model
from hanseg_segmentation.training.recipe import Recipe, VariationRecipe, read_recipe
from hanseg_segmentation.training.run import run_training

VARIANTS: dict[str, dict[str, float]] = {
    "as it is": {},
    "no modality dropout": {"mr_share": 1.0},
    "never an MR": {"mr_share": 0.0},
    "no misregistration": {"misregistration_mm": 0.0},
}
"""What is changed of the recipe's `variation`."""

SHOWN = (CT_ALONE, WITH_MR, "MR 5 mm off", PART)

ITERATIONS = 800
SEEDS = 3
PHANTOMS = 40
SPACING = (6.0, 6.0, 6.0)
PATCH = (32, 32, 32)
NETWORK = NetworkSpec(
    kind="unet", config={"features": [16, 32, 64, 96], "head_features": 16}
)

Results = Mapping[str, Mapping[str, list[Scores]]]
"""Scores by variant and by what the model got."""


def varied(changes: Mapping[str, float], iterations: int) -> Recipe:
    """Return the default recipe, made small, with a changed variation."""
    recipe = read_recipe("default")
    variation = {**recipe.variation.model_dump(), **changes}
    return recipe.model_copy(
        update={
            "variation": VariationRecipe.model_validate(variation),
            "spacing_mm": SPACING,
            "sample_spacing_mm": SPACING,
            "patch": PATCH,
            "network": NETWORK,
            "phantoms": PHANTOMS,
            "iterations": iterations,
            "minutes": None,
            "average_decay": 0.98,
        }
    )


def scored(model_folder: Path, seeds: int) -> dict[str, list[Scores]]:
    """Return how a model does on unseen patients, by what it gets."""
    model = load_model(model_folder)
    results: dict[str, list[Scores]] = {name: [] for name in SHOWN}
    for seed in range(1, seeds + 1):
        case = phantom_case(seed)
        for name in SHOWN:
            results[name].append(score(case, INPUTS[name](case, seed), model))
    return results


def summary(scores: list[Scores]) -> tuple[float, float]:
    """Return mean Dice over all organs, and over those whose contrast is in the MR."""
    by_organ = mean_dice(scores)
    return (
        float(np.mean(list(by_organ.values()))),
        float(np.mean([by_organ[name] for name in IN_THE_MR])),
    )


def table(results: Results) -> str:
    """Return mean Dice by variant and by what it got, as a Markdown table."""
    lines = [
        "| taught | " + " | ".join(SHOWN) + " |",
        "|---" * (len(SHOWN) + 1) + "|",
    ]
    for variant, by_input in results.items():
        cells = ["{:.3f} ({:.3f})".format(*summary(by_input[name])) for name in SHOWN]
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> int:
    """Train, score, print the table, write the results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--iterations", type=int, default=ITERATIONS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--out", type=Path, default=RESULTS / "ablation.json")
    options = parser.parse_args()
    results = {}
    with TemporaryDirectory() as place:
        out = Path(place)
        for variant, changes in VARIANTS.items():
            recipe = varied(changes, options.iterations)
            run_training(recipe, out=out)
            results[variant] = scored(out / "model", options.seeds)
            print(table({variant: results[variant]}), file=sys.stderr, flush=True)
    print("Mean Dice of 30 organs (of chiasm, pituitary and optic nerves)\n")
    print(table(results))
    document = {
        variant: {name: summary(scores) for name, scores in by_input.items()}
        for variant, by_input in results.items()
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
