"""The proof that each recipe can learn: one simulated patient, learnt by heart.

Each recipe is trained on one patient by `hanseg train --by-heart`, at a scale that
takes minutes, packaged, run through the service by `hanseg batch` with its own
registration and inference, and scored by `hanseg evaluate` on the same patient. A
recipe that does not reach a mean Dice of 0.85 with every organ on its side fails, and
is named. The scores say that a recipe can learn, not how good it is: it has seen the
answers.

    python benchmarks/recipes.py [--recipes eli1,mamaa] [--iterations N] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hanseg_lab.challenge.commands import ELSEWHERE
from hanseg_lab.evaluation.evaluation import RESULTS
from hanseg_lab.training.by_heart import SPACING_MM
from hanseg_lab.training.learnt import BY_HEART_DSC, Learnt, mean_curve, read_learnt
from hanseg_lab.training.log import Row as LogRow
from hanseg_lab.training.recipe import Recipe, read_recipe, recipe_names
from hanseg_segmentation.packages.package import read_package
from hanseg_shared.available import require_installed
from hanseg_shared.documents import Backend, TransformKind
from hanseg_shared.errors import OptionError
from hanseg_shared.settings import read_settings
from hanseg_shared.signal_handlers import handling, interrupt

PROJECT = Path(__file__).resolve().parents[1]

OUT = PROJECT / "benchmarks" / "results" / "recipes"

HANSEG = Path(sys.executable).with_name("hanseg")

SEED = 9001
"""Of the simulated patient."""


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one recipe.

    Attributes:
        recipe: Its name.
        network: Kind of network.
        registration: How the MR was registered; ``none`` for CT alone.
        folds: Networks that were trained.
        iterations: Of each of them.
        train_seconds: Of the whole command, preparation and registration included.
        segment_seconds: Of the whole batch, the service's start included.
        first_loss: Cross-entropy and Dice loss in the log's first row, the folds' mean.
        last_loss: The same in its last row.
        dsc: Mean over organs; missed organs count 0.
        worst_organ: The organ with the lowest Dice.
        worst_dsc: That Dice.
        sides_right: Whether no organ was contoured where its counterpart is.
        by_heart: Whether the recipe has learnt the patient by heart.
    """

    recipe: str
    network: str
    registration: str
    folds: int
    iterations: int
    train_seconds: float
    segment_seconds: float
    first_loss: float
    last_loss: float
    dsc: float
    worst_organ: str
    worst_dsc: float
    sides_right: bool
    by_heart: bool


@dataclass(frozen=True, slots=True)
class Result:
    """A row of the table, and what the JSON has beside it.

    Attributes:
        row: The row.
        organs: Dice of each organ.
        exchanged: Organs that were contoured where their counterpart is.
        curve: The training's log, the folds' mean.
    """

    row: Row
    organs: Mapping[str, float]
    exchanged: Sequence[str]
    curve: Sequence[LogRow]


def hanseg(arguments: Sequence[object], *, models: Path | None = None) -> float:
    """Run one command of the product; return its seconds.

    Raises:
        subprocess.CalledProcessError: It failed; its own words are on the screen.
    """
    own = {k: v for k, v in os.environ.items() if k not in ELSEWHERE}
    environment: Mapping[str, str] = own | (
        {} if models is None else {"HANSEG_MODELS": str(models)}
    )
    start = time.perf_counter()
    command = [str(HANSEG), *(str(each) for each in arguments)]
    subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
    return time.perf_counter() - start


def make_patient(folder: Path) -> Path:
    """Return a data set of one simulated patient; it is made if it is not there.

    Its CT lies on the networks' own grid, so that nothing is lost by resampling.
    """
    if not folder.exists():
        where = ["--spacing", SPACING_MM[0], "--out", folder]
        hanseg(["phantom", "--first-seed", SEED, *where])
    return folder


def with_backend_at_hand(recipe: Recipe) -> Recipe:
    """Return the recipe, with elastix where its own backend is not installed."""
    how = recipe.registration
    if how is None:
        return recipe
    try:
        require_installed(how.backend, read_settings().ants_python)
    except OptionError:
        how = how.model_copy(update={"backend": Backend.ELASTIX})
    return recipe.model_copy(update={"registration": how})


def run(recipe: Recipe, patient: Path, out: Path, iterations: int | None) -> Result:
    """Train a recipe on a patient, package it, run it on the patient, and score it."""
    recipe = with_backend_at_hand(recipe)
    folder, model = out / "training" / recipe.name, f"{recipe.name}-by-heart"
    train_seconds = _train(recipe, patient, folder, iterations)
    installed = out / "models" / model
    installed.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(installed, ignore_errors=True)
    (folder / "model").rename(installed)
    results, scores = out / "results" / recipe.name, out / "scores" / recipe.name
    shutil.rmtree(results, ignore_errors=True)
    how = ["--registration", TransformKind.NONE]
    if recipe.registration is not None:
        how = ["--registration", recipe.registration.kind]
        how += ["--backend", recipe.registration.backend]
    batch = ["batch", patient, "--model", model, "--out", results, *how]
    segment_seconds = hanseg(batch, models=installed.parent)
    hanseg(["evaluate", results, patient, "--empty", "challenge", "--out", scores])
    learnt = read_learnt(scores / RESULTS, results, patient)
    seconds = (train_seconds, segment_seconds)
    return _make_result(recipe, installed, learnt, mean_curve(folder), seconds)


def _train(
    recipe: Recipe, patient: Path, folder: Path, iterations: int | None
) -> float:
    """Train a recipe by `hanseg train --by-heart`; return the seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recipe.json"
    file.write_text(recipe.model_dump_json(indent=2) + "\n")
    words = ["train", file, "--data", patient, "--by-heart", "--out", folder]
    words += ["--name", f"{recipe.name}-by-heart"]
    return hanseg(words + (["--iterations", iterations] if iterations else []))


def _make_result(
    recipe: Recipe,
    installed: Path,
    learnt: Learnt,
    curve: Sequence[LogRow],
    seconds: tuple[float, float],
) -> Result:
    package = read_package(installed)
    how = recipe.registration
    first, last = (
        curve[at]["cross_entropy"] + curve[at]["dice_loss"] for at in (0, -1)
    )
    row = Row(
        recipe.name,
        package.network.kind,
        "none" if how is None else f"{how.kind} {how.backend}",
        len(package.folds),
        int(curve[-1]["iteration"]),
        round(seconds[0], 1),
        round(seconds[1], 1),
        round(first, 3),
        round(last, 3),
        round(learnt.dsc, 4),
        learnt.worst_organ,
        round(learnt.organs[learnt.worst_organ], 4),
        not learnt.exchanged,
        learnt.is_by_heart,
    )
    return Result(row, learnt.organs, learnt.exchanged, curve)


def print_table(rows: Sequence[Row]) -> None:
    """Print the table as Markdown."""
    names = list(asdict(rows[0]))
    print(f"\n| {' | '.join(names)} |\n|{'---|' * len(names)}")
    for row in rows:
        print("| " + " | ".join(str(each) for each in asdict(row).values()) + " |")


def main() -> int:
    """Run, print, write the table; return 1 if a recipe has not learnt by heart."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", default=",".join(recipe_names()))
    parser.add_argument("--iterations", type=int, help="instead of the scale's own")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    out = options.out.resolve()
    patient = make_patient(out / "patient")
    results = []
    for name in options.recipes.split(","):
        results.append(run(read_recipe(name), patient, out, options.iterations))
        document = [asdict(each) for each in results]
        (out / "recipes.json").write_text(json.dumps(document, indent=2) + "\n")
    print_table([each.row for each in results])
    failed = [each.row.recipe for each in results if not each.row.by_heart]
    if failed:
        print(
            f"not learnt by heart (Dice {BY_HEART_DSC}, sides right): "
            f"{', '.join(failed)}",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    with handling((signal.SIGTERM,), interrupt):  # a training ends with it
        sys.exit(main())
