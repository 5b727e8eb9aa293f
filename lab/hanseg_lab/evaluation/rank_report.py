"""Methods ranked by their tables of scores, and the report written."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from hanseg_lab.evaluation.methods import metric_table
from hanseg_lab.evaluation.output import all_or_nothing, write_json
from hanseg_lab.evaluation.paper import PaperTable
from hanseg_lab.evaluation.rank_page import ranking_page, ranking_pictures
from hanseg_lab.evaluation.ranking import RankingOptions, rank_methods
from hanseg_lab.evaluation.scores import Score, read_scores
from hanseg_lab.evaluation.stability import bootstrap
from hanseg_lab.evaluation.standing import (
    MethodStanding,
    ranking_document,
    standing_rows,
)
from hanseg_shared.csv_cells import safe_cell
from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.metrics.metric import Metric

RANKING = "ranking.json"
"""Name of the file that has the ranking."""

RANKED = (Metric.DSC, Metric.HD95)
"""The challenge's two metrics."""

RESULTS_STEMS = {"results", "scores"}
"""File names that do not name a method; the folder's name does then."""


def rank_files(
    results: Sequence[Path],
    out: Path,
    options: RankingOptions,
    *,
    samples: int,
    seed: int = 0,
    paper: PaperTable | None = None,
) -> MethodStanding:
    """Rank methods by their tables of scores and write the report to `out`.

    Args:
        results: A `results.csv` a method, which is named by the file, or by its
            folder where the file is just called results.
        out: Folder for the report.
        options: What the challenge's paper leaves open.
        samples: Sets of cases drawn for the stability; 0 leaves it out.
        seed: Of those draws.
        paper: Published results to stand beside; needed with a single method.

    Raises:
        InputError: A table cannot be used; nothing was written.
    """
    if samples < 0:
        raise OptionError(f"bootstrap samples must be 0 or more, got {samples}")
    scores = _scores_by_method(results)
    if len(scores) < 2 and paper is None:
        raise InputError(
            "a ranking needs the results of two methods or more; a single one can be "
            "shown beside the published ones by --paper"
        )
    standing = _standing(scores, options, samples=samples, seed=seed, paper=paper)
    with all_or_nothing(out) as folder:
        write_json(ranking_document(standing), folder / RANKING)
        _write_table(standing, folder / "ranking.csv")
        pictures = ranking_pictures(standing)
        for name, png in pictures.items():
            (folder / f"{name}.png").write_bytes(png)
        page = ranking_page(standing, pictures)
        (folder / "report.html").write_text(page, encoding="utf-8")
    return standing


def _standing(
    scores: Mapping[str, Sequence[Score]],
    options: RankingOptions,
    *,
    samples: int,
    seed: int,
    paper: PaperTable | None,
) -> MethodStanding:
    tables = tuple(metric_table(scores, metric, options.worst) for metric in RANKED)
    if len(scores) < 2:
        return MethodStanding(tables, options, None, None, paper, seed)
    ranking = rank_methods(tables, options)
    stability = (
        bootstrap(tables, options, samples=samples, seed=seed) if samples else None
    )
    return MethodStanding(tables, options, ranking, stability, paper, seed)


def _scores_by_method(results: Sequence[Path]) -> dict[str, list[Score]]:
    scores: dict[str, list[Score]] = {}
    for path in results:
        plain = path.stem.lower() in RESULTS_STEMS
        name = path.resolve().parent.name if plain else path.stem
        if name in scores:
            raise InputError(f"{path}: another file is called {name!r} too; rename one")
        scores[name] = read_scores(path)
    return scores


def _write_table(standing: MethodStanding, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(
            [safe_cell(method), *figures]
            for method, *figures in standing_rows(standing)
        )
