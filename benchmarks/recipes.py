"""Every recipe from end to end on simulated patients, in one table.

Each is trained by `hanseg train --smoke`, packaged, run through the service by
`hanseg batch` with its own registration, and scored by `hanseg evaluate`. The trainings
are far too short for the scores to say which method is better, or that any is good: the
table shows that each recipe runs, that its loss falls, and what it costs.

    python benchmarks/recipes.py [--recipes eli1,mamaa] [--iterations N] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hanseg_lab.training.log import LOG_EVERY, LOG_FILE, read_log
from hanseg_lab.training.recipe import Recipe, read_recipe, recipe_names
from hanseg_segmentation.packages.package import read_package
from hanseg_shared.documents import TransformKind

PROJECT = Path(__file__).resolve().parents[1]

OUT = PROJECT / "benchmarks" / "results" / "recipes"

HANSEG = Path(sys.executable).with_name("hanseg")

TEACHING_SEED, TESTING_SEED = 9001, 9101
"""First seeds of the simulated patients that teach, and of those that are scored."""


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one recipe.

    Attributes:
        recipe: Its name.
        network: Kind of network.
        folds: Networks that were trained.
        inferred: Settings that no source states.
        first_loss: Cross-entropy and Dice loss in the log's first row, the folds' mean.
        last_loss: The same in its last row.
        train_seconds: Of the whole command, preparation included.
        segment_seconds: Of the whole batch, the service's start included.
        dsc: Mean over organs and cases; missed organs count 0.
    """

    recipe: str
    network: str
    folds: int
    inferred: int
    first_loss: float
    last_loss: float
    train_seconds: float
    segment_seconds: float
    dsc: float


def hanseg(arguments: Sequence[object], *, models: Path | None = None) -> float:
    """Run one command of the product; return its seconds.

    Raises:
        subprocess.CalledProcessError: It failed; its own words are on the screen.
    """
    environment: Mapping[str, str] = os.environ | (
        {} if models is None else {"HANSEG_MODELS": str(models)}
    )
    start = time.perf_counter()
    command = [str(HANSEG), *(str(each) for each in arguments)]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    return time.perf_counter() - start


def phantoms(folder: Path, *, first_seed: int, count: int) -> Path:
    """Return a folder of simulated patients; they are made if it is not there."""
    if not folder.exists():
        arguments = ["--count", count, "--first-seed", first_seed, "--spacing", 4]
        hanseg(["phantom", *arguments, "--out", folder])
    return folder


def run(
    recipe: Recipe, teaching: Path, testing: Path, out: Path, iterations: int
) -> Row:
    """Train, package, run and score one recipe."""
    models, scores = out / "models", out / "scores" / recipe.name
    folder = out / "training" / recipe.name
    model = f"{recipe.name}-smoke"
    training = ["train", recipe.name, "--data", teaching, "--smoke", "--out", folder]
    train_seconds = hanseg([*training, "--iterations", iterations, "--name", model])
    models.mkdir(parents=True, exist_ok=True)
    installed = models / model
    if not installed.exists():
        (folder / "model").rename(installed)
    results = out / "results" / recipe.name
    how = ["--registration", TransformKind.NONE]
    if recipe.registration is not None:
        how = ["--registration", recipe.registration.kind]
        how += ["--backend", recipe.registration.backend]
    batch = ["batch", testing, "--model", model, "--out", results, *how]
    segment_seconds = hanseg(batch, models=models)
    hanseg(["evaluate", results, testing, "--empty", "challenge", "--out", scores])
    summary = json.loads((scores / "summary.json").read_text())
    package = read_package(installed)
    first_loss, last_loss = losses(folder)
    return Row(
        recipe.name,
        package.network.kind,
        len(package.folds),
        len(recipe.inferred),
        first_loss,
        last_loss,
        round(train_seconds, 1),
        round(segment_seconds, 1),
        _dsc(summary),
    )


def losses(folder: Path) -> tuple[float, float]:
    """Return the loss that a training began with, and the one that it ended with."""
    logs = [read_log(file.parent) for file in sorted(folder.rglob(LOG_FILE))]
    first, last = (
        sum(rows[at]["cross_entropy"] + rows[at]["dice_loss"] for rows in logs)
        for at in (0, -1)
    )
    return round(first / len(logs), 3), round(last / len(logs), 3)


def _dsc(summary: dict[str, dict[str, dict[str, float]]]) -> float:
    return round(summary["overall"]["DSC"]["mean"], 4)


def print_table(rows: Sequence[Row]) -> None:
    """Print the table as Markdown."""
    names = list(asdict(rows[0]))
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print("| " + " | ".join(str(each) for each in asdict(row).values()) + " |")


def main() -> int:
    """Run, print, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", default=",".join(recipe_names()))
    parser.add_argument("--iterations", type=int, default=3 * LOG_EVERY)
    parser.add_argument("--cases", type=int, default=2, help="patients to be scored")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    if options.iterations < 2 * LOG_EVERY:
        parser.error(f"it takes {2 * LOG_EVERY} iterations to see a loss fall")
    out = options.out.resolve()
    teaching = phantoms(out / "teaching", first_seed=TEACHING_SEED, count=3)
    testing = phantoms(out / "testing", first_seed=TESTING_SEED, count=options.cases)
    rows = []
    for name in options.recipes.split(","):
        recipe = read_recipe(name)
        rows.append(run(recipe, teaching, testing, out, options.iterations))
        document = [asdict(row) for row in rows]
        (out / "recipes.json").write_text(json.dumps(document, indent=2) + "\n")
    print_table(rows)
    stuck = [row.recipe for row in rows if row.last_loss >= row.first_loss]
    if stuck:
        print(f"the loss did not fall: {', '.join(stuck)}", file=sys.stderr)
    return 1 if stuck else 0


if __name__ == "__main__":
    sys.exit(main())
