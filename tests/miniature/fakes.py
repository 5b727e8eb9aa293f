"""A product that writes in no time what the real one would; it keeps its commands."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from hanseg_lab.challenge.ledger import Taken
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.evaluation.methods import metric_table
from hanseg_lab.evaluation.paper import read_published
from hanseg_lab.evaluation.rank_report import RANKED
from hanseg_lab.evaluation.ranking import RankingOptions, rank_methods
from hanseg_lab.evaluation.scores import Score, read_scores, write_scores
from hanseg_lab.evaluation.standing import MethodStanding, ranking_document
from hanseg_lab.training.log import COLUMNS
from hanseg_lab.training.recipe import read_recipe
from hanseg_lab.training.run import TrainingData, plan_package
from hanseg_shared.errors import ProcessLostError
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.organs import ORGANS

SMALL = ChallengeSettings(
    training_cases=2,
    test_cases=2,
    methods=("eli1", "cwlg102", "TurboMiki", "default", "nearest"),
    mr_methods=(),
)

MEANS = {"eli1": 0.7, "cwlg102": 0.6, "TurboMiki": 0.3, "default": 0.8, "nearest": 0.4}
"""Mean DSC that the fake product gives each method; 0.5 to others."""

ONE = Taken(60.0, 90.0)


def option(words: Sequence[str], name: str) -> str:
    return words[list(words).index(name) + 1]


class FakeProduct:
    """See `commands.Runner`.

    Args:
        interrupt_at: Number of the command at which the run is interrupted.
        half_done: Whether that command leaves its files before it is interrupted.
        failing: First arguments of commands that fail, such as ``("train", "eli1")``.
    """

    def __init__(
        self,
        *,
        interrupt_at: int | None = None,
        half_done: bool = False,
        failing: tuple[str, ...] = (),
    ):
        self.commands: list[tuple[str, ...]] = []
        self.environments: list[dict[str, str]] = []
        self.interrupt_at, self.half_done = interrupt_at, half_done
        self.failing = failing
        self.guard = threading.Lock()

    def __call__(
        self,
        words: Sequence[str],
        *,
        log: Path,
        environment: Mapping[str, str] | None = None,
    ) -> Taken:
        with self.guard:
            number = len(self.commands)
            self.commands.append(tuple(words))
            self.environments.append(dict(environment or {}))
        interrupted = number == self.interrupt_at
        if interrupted and not self.half_done:
            raise KeyboardInterrupt
        if self.failing and all(any(w in word for word in words) for w in self.failing):
            raise ProcessLostError(f"{words[1]} ended with status 3")
        getattr(self, f"do_{words[1]}")(list(words))
        if interrupted:
            raise KeyboardInterrupt
        return ONE

    def subcommands(self) -> list[str]:
        return [words[1] for words in self.commands]

    def told(self) -> list[tuple[tuple[str, ...], dict[str, str]]]:
        return list(zip(self.commands, self.environments, strict=True))

    def do_phantom(self, words: list[str]) -> None:
        folder = Path(option(words, "--out")) / "set_1"
        name = f"case_{int(option(words, '--first-seed')):02d}"
        (folder / name).mkdir(parents=True, exist_ok=True)
        with (folder / "OAR_data.csv").open("a") as file:
            file.write(f"{name};1.0\n")

    def do_register(self, words: list[str]) -> None:
        out = Path(option(words, "--out"))
        out.mkdir(parents=True, exist_ok=True)
        (out / "registration.json").write_text('{"verdict": "used"}')

    def do_train(self, words: list[str]) -> None:
        out, recipe = Path(option(words, "--out")), read_recipe(words[2])
        if recipe.localiser is not None:
            (out / "localiser").mkdir(parents=True, exist_ok=True)
            (out / "localiser" / "checkpoint.pt").touch()
        for fold in range(recipe.folds):
            folder = out if recipe.folds == 1 else out / f"fold_{fold}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "checkpoint.pt").touch()
            with (folder / "log.csv").open("w", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(COLUMNS)
                for n in range(1, 4):
                    row = [20 * n, n, 0.1, 1.0 / n, 0.9 / n, 0.0, 0.8 / n]
                    writer.writerow(row)
        used = TrainingData(iterations=(60,) * recipe.folds)
        facts = {"processor_seconds": "90"}
        package = plan_package(recipe, (), provenance=facts, used=used)
        (out / "model").mkdir(exist_ok=True)
        (out / "model" / "model.json").write_text(package.model_dump_json())

    def do_batch(self, words: list[str]) -> None:
        out = Path(option(words, "--out"))
        out.mkdir(parents=True, exist_ok=True)
        rows = [["case", "mr_verdict"], ["case_03", "used"], ["case_04", "rejected"]]
        with (out / "summary.csv").open("w", newline="") as file:
            csv.writer(file).writerows(rows)

    def do_copy(self, words: list[str]) -> None:
        Path(option(words, "--out")).mkdir(parents=True, exist_ok=True)

    def do_inputs(self, words: list[str]) -> None:
        Path(option(words, "--out")).mkdir(parents=True, exist_ok=True)

    def do_evaluate(self, words: list[str]) -> None:
        out = Path(option(words, "--out"))
        out.mkdir(parents=True, exist_ok=True)
        # scores/eli1, mr/eli1/off-2/scores, real/methods/eli1/scores
        named = out if out.parent.name == "scores" else out.parent
        write_scores(made_up_scores(named.name), out / "results.csv")

    def do_rank(self, words: list[str]) -> None:
        out = Path(option(words, "--out"))
        files = [Path(word) for word in words if word.endswith("results.csv")]
        scores = {path.parent.name: read_scores(path) for path in files}
        options = RankingOptions()
        tables = tuple(metric_table(scores, metric, options.worst) for metric in RANKED)
        ranking = rank_methods(tables, options)
        standing = MethodStanding(tables, options, ranking, None, read_published(), 0)
        out.mkdir(parents=True, exist_ok=True)
        document = ranking_document(standing)
        (out / "ranking.json").write_text(json.dumps(document))


def made_up_scores(method: str, cases: int = 2) -> list[Score]:
    """Return scores about the method's mean, always the same; one organ is missed."""
    seed = sum(method.encode())
    rng = np.random.default_rng(seed)
    scores = []
    for number in range(cases):
        case = f"case_{3 + number:02d}"
        for organ in ORGANS:
            dsc = float(np.clip(rng.normal(MEANS.get(method, 0.5), 0.05), 0, 1))
            distance = 20 * (1 - dsc) + float(rng.random())
            if method == "TurboMiki" and organ.name == "Pituitary":
                dsc, distance = 0.0, float("inf")
            scores.append(Score(case, organ.name, Metric.DSC, dsc))
            scores.append(Score(case, organ.name, Metric.HD95, distance))
    return scores
