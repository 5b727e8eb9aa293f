"""A ranking written down: tables, significance maps, stability, and the paper's."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from hanseg_shared.errors import InputError, OptionError
from hanseg_shared.evaluation.evaluation import TOOLS, number
from hanseg_shared.evaluation.methods import MetricTable, metric_table
from hanseg_shared.evaluation.metric import Metric
from hanseg_shared.evaluation.output import all_or_nothing, write_json
from hanseg_shared.evaluation.page import Page
from hanseg_shared.evaluation.paper import (
    ALL_ORGANS,
    SOURCE,
    UNITS,
    PaperTable,
    Published,
    overall_of_organs,
    wins,
)
from hanseg_shared.evaluation.pictures import box_plots, matrix_picture
from hanseg_shared.evaluation.ranking import (
    MetricRanking,
    Ranking,
    RankingOptions,
    rank_methods,
)
from hanseg_shared.evaluation.scores import Score, read_scores
from hanseg_shared.evaluation.stability import Stability, bootstrap
from hanseg_shared.evaluation.summary import OVERALL_RULE, SD_RULE, statistics
from hanseg_shared.evaluation.wilcoxon import FEWEST_FOR_NORMAL

RANKED = (Metric.DSC, Metric.HD95)
"""The challenge's two metrics."""

FACTORS = {Metric.DSC: 100.0, Metric.HD95: 1.0}
"""From our units to the paper's: DSC in %, HD95 in mm."""

RESULTS_STEMS = {"results", "scores"}


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """All that is reported about methods.

    Attributes:
        tables: What was compared, a metric each.
        options: The rules that were followed.
        ranking: None with a single method.
        stability: None with a single method, or without samples.
        paper: Published results to stand beside; None if not asked for.
        seed: Of the bootstrap.
    """

    tables: tuple[MetricTable, ...]
    options: RankingOptions
    ranking: Ranking | None
    stability: Stability | None
    paper: PaperTable | None
    seed: int


def rank_files(
    results: Sequence[Path],
    out: Path,
    options: RankingOptions,
    *,
    samples: int,
    seed: int = 0,
    paper: PaperTable | None = None,
) -> Standing:
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
        write_json(ranking_document(standing), folder / "ranking.json")
        _write_table(standing, folder / "ranking.csv")
        pictures = _pictures(standing)
        for name, png in pictures.items():
            (folder / f"{name}.png").write_bytes(png)
        page = _page(standing, pictures)
        (folder / "report.html").write_text(page, encoding="utf-8")
    return standing


def _standing(
    scores: Mapping[str, Sequence[Score]],
    options: RankingOptions,
    *,
    samples: int,
    seed: int,
    paper: PaperTable | None,
) -> Standing:
    tables = tuple(metric_table(scores, metric, options.worst) for metric in RANKED)
    if len(scores) < 2:
        return Standing(tables, options, None, None, paper, seed)
    ranking = rank_methods(tables, options)
    stability = (
        bootstrap(tables, options, samples=samples, seed=seed) if samples else None
    )
    return Standing(tables, options, ranking, stability, paper, seed)


def _scores_by_method(results: Sequence[Path]) -> dict[str, list[Score]]:
    scores: dict[str, list[Score]] = {}
    for path in results:
        plain = path.stem.lower() in RESULTS_STEMS
        name = path.resolve().parent.name if plain else path.stem
        if name in scores:
            raise InputError(f"{path}: another file is called {name!r} too; rename one")
        scores[name] = read_scores(path)
    return scores


def ranking_document(standing: Standing) -> dict[str, Any]:
    """Return what `ranking.json` holds: the standing, and every rule behind it."""
    options = standing.options
    methods = standing.tables[0].methods
    factor = options.correction.factor(len(methods), len(standing.tables))
    document: dict[str, Any] = {
        "tool": {name: version(name) for name in TOOLS},
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rules": {
            **{name: str(value) for name, value in asdict(options).items()},
            "alpha": options.alpha,
            "bonferroni_factor": factor,
            "test": "Wilcoxon signed-rank, normal approximation, corrected for ties, "
            "not for continuity",
            "final": "rank of the sum of the metrics' ranks; ties by the metrics' "
            "means where these agree, else shared",
            "overall": OVERALL_RULE,
            "standard_deviation": SD_RULE,
        },
        "remarks": remarks(standing),
        "metrics": {
            table.metric.value: _metric_document(table, n, standing.ranking)
            for n, table in enumerate(standing.tables)
        },
    }
    if standing.ranking is not None:
        final = standing.ranking.final
        document["final_rank"] = dict(zip(methods, map(int, final), strict=True))
    if standing.stability is not None:
        document["stability"] = {
            "samples": standing.stability.samples,
            "seed": standing.seed,
            "unchanged": standing.stability.unchanged,
            "rank_shares": dict(
                zip(methods, standing.stability.shares.tolist(), strict=True)
            ),
        }
    return document


def _metric_document(
    table: MetricTable, number_of_metric: int, ranking: Ranking | None
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "measurements": len(table.items),
        "replaced": table.replaced,
        "dropped_organs": list(table.dropped),
        "mean": dict(zip(table.methods, table.means.tolist(), strict=True)),
    }
    if ranking is not None:
        standing = ranking.metrics[number_of_metric]
        document |= {
            "significance_score": _by_method(table, standing.scores.tolist()),
            "rank": _by_method(table, standing.ranks.tolist()),
            "p_row_better_than_column": _by_method(table, standing.p_values.tolist()),
        }
    return document


def _by_method(table: MetricTable, values: list[Any]) -> dict[str, Any]:
    return dict(zip(table.methods, values, strict=True))


def remarks(standing: Standing) -> list[str]:
    """Return what a reader must know to judge the ranking."""
    lines = []
    for table in standing.tables:
        for name in table.dropped:
            lines.append(f"{table.metric}: {name} left out, no method found it")
        for method, count in table.replaced.items():
            if count:
                lines.append(
                    f"{table.metric}: {count} values of {method} replaced by the worst "
                    f"({standing.options.worst.value}) of their organs"
                )
        if len(table.items) < FEWEST_FOR_NORMAL:
            lines.append(
                f"{table.metric}: only {len(table.items)} measurements; the test's "
                "normal approximation is coarse"
            )
    return lines


def _write_table(standing: Standing, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows(standing_rows(standing))


def standing_rows(standing: Standing) -> list[list[str]]:
    """Return the standing as rows of cells, the header first, the best method next."""
    header = ["method"] + (["rank"] if standing.ranking else [])
    for table in standing.tables:
        unit = UNITS[table.metric]
        header += [f"{table.metric} {unit}", f"{table.metric} median (IQR)"]
        header += [f"{table.metric} score", f"{table.metric} rank"] * bool(
            standing.ranking
        )
    order = range(len(standing.tables[0].methods))
    if standing.ranking is not None:
        order_of = standing.ranking.final
        rows = sorted(order, key=lambda n: int(order_of[n]))
    else:
        rows = list(order)
    return [header, *(_standing_row(standing, n) for n in rows)]


def _standing_row(standing: Standing, method: int) -> list[str]:
    row = [standing.tables[0].methods[method]]
    if standing.ranking is not None:
        row.append(str(standing.ranking.final[method]))
    for n, table in enumerate(standing.tables):
        factor = FACTORS[table.metric]
        mean, sd = _overall(table, method)
        pooled = statistics(table.values[method].tolist())
        row += [
            f"{mean:.1f} ± {number(sd)}",
            f"{number(pooled.median, factor)} ({number(pooled.iqr, factor)})",
        ]
        if standing.ranking is not None:
            metric: MetricRanking = standing.ranking.metrics[n]
            row += [str(metric.scores[method]), str(metric.ranks[method])]
    return row


def _overall(table: MetricTable, method: int) -> tuple[float, float | None]:
    """Return mean and SD over all organs in the paper's units."""
    lines = _organ_lines(table, method)
    if any(line.sd is None for line in lines):
        return sum(line.mean for line in lines) / len(lines), None
    return overall_of_organs(
        [Published(table.metric, x.organ, "", x.mean, x.sd or 0.0) for x in lines]
    )


@dataclass(frozen=True, slots=True)
class _OrganLine:
    organ: str
    mean: float
    sd: float | None


def _organ_lines(table: MetricTable, method: int) -> list[_OrganLine]:
    factor = FACTORS[table.metric]
    lines = []
    for name, values in table.by_organ(method).items():
        figures = statistics([value * factor for value in values])
        if figures.mean is not None:
            lines.append(_OrganLine(name, figures.mean, figures.sd))
    return lines


def _pictures(standing: Standing) -> dict[str, bytes]:
    pictures = {
        f"boxes_{table.metric}": box_plots(
            {
                method: {
                    organ: [value * FACTORS[table.metric] for value in values]
                    for organ, values in table.by_organ(n).items()
                }
                for n, method in enumerate(table.methods)
            },
            label=f"{table.metric} [{UNITS[table.metric]}]",
        )
        for table in standing.tables
    }
    if standing.ranking is not None:
        for metric in standing.ranking.metrics:
            name = f"significance_{metric.table.metric}"
            pictures[name] = _significance_map(metric)
    if standing.ranking is not None and standing.stability is not None:
        pictures["stability"] = _stability_picture(standing.ranking, standing.stability)
    return pictures


def _significance_map(metric: MetricRanking) -> bytes:
    order = np.argsort(metric.ranks, kind="stable")
    names = [metric.table.methods[n] for n in order]
    better = metric.better[np.ix_(order, order)]
    p_values = metric.p_values[np.ix_(order, order)]
    shades = better.astype(np.float64) - better.T
    texts = [
        ["" if row == column else f"{p:.2g}" for column, p in enumerate(line)]
        for row, line in enumerate(p_values)
    ]
    title = f"{metric.table.metric}: p of row better than column (green: significant)"
    return matrix_picture(names, names, shades, texts, title=title)


def _stability_picture(ranking: Ranking, stability: Stability) -> bytes:
    order = np.argsort(ranking.final, kind="stable")
    shares = stability.shares[order]
    names = [ranking.methods[n] for n in order]
    ranks = [f"rank {n + 1}" for n in range(len(names))]
    texts = [[f"{100 * s:.0f} %" if s else "" for s in row] for row in shares]
    title = f"share of {stability.samples} resampled sets of cases"
    return matrix_picture(names, ranks, shares, texts, title=title)


def _page(standing: Standing, pictures: Mapping[str, bytes]) -> str:
    page = Page("Ranking of methods" if standing.ranking else "A method's standing")
    header, *rows = standing_rows(standing)
    page.table(header, rows)
    page.note(f"SD: {SD_RULE}. Overall: {OVERALL_RULE}.")
    for name, png in pictures.items():
        page.heading(name.replace("_", " "))
        page.picture(png, what=name)
    if standing.stability is not None:
        page.paragraph(
            f"All ranks were the same in {100 * standing.stability.unchanged:.0f} % of "
            f"{standing.stability.samples} sets of cases drawn with replacement."
        )
    page.heading("Rules and remarks")
    rules = ranking_document(standing)["rules"]
    page.items([*(f"{k}: {v}" for k, v in rules.items()), *remarks(standing)])
    if standing.paper is not None:
        _add_paper(page, standing, standing.paper)
    return page.render()


def _add_paper(page: Page, standing: Standing, paper: PaperTable) -> None:
    page.heading("Beside the published results")
    page.note(f"{SOURCE}; other cases than these, unless they are the challenge's.")
    for table in standing.tables:
        header, *rows = beside_paper(table, paper)
        page.heading(f"{table.metric} [{UNITS[table.metric]}], mean ± SD")
        page.table(header, rows[:-1], total=rows[-1])
        won = wins(paper, table.metric)
        if any(won.values()):
            page.paragraph(
                "Best of the published, by organs: "
                + ", ".join(f"{method} {count}" for method, count in won.items())
            )
        else:
            page.paragraph("The published table at hand has no figures per organ.")


def beside_paper(table: MetricTable, paper: PaperTable) -> list[list[str]]:
    """Return rows, the header first: organ, our methods, the published, their spread.

    The last row is over all organs. The spread is from the lowest to the highest of
    the published means.
    """
    header = ["organ", *table.methods, *paper.methods, "published spread"]
    lines = [
        {line.organ: line for line in _organ_lines(table, n)}
        for n in range(len(table.methods))
    ]
    organs = list(dict.fromkeys([*lines[0], *paper.organs(table.metric)]))
    rows = []
    for organ in organs:
        ours = [
            f"{by[organ].mean:.1f} ± {number(by[organ].sd)}" if organ in by else "-"
            for by in lines
        ]
        rows.append([organ, *ours, *_published_cells(table.metric, organ, paper)])
    overall = (_overall(table, n) for n in range(len(table.methods)))
    ours = [f"{mean:.1f} ± {number(sd)}" for mean, sd in overall]
    last = [ALL_ORGANS, *ours, *_published_cells(table.metric, ALL_ORGANS, paper)]
    return [header, *rows, last]


def _published_cells(metric: Metric, organ: str, paper: PaperTable) -> list[str]:
    lines = [paper.find(metric, organ, method) for method in paper.methods]
    cells = [f"{x.mean:.1f} ± {x.sd:.1f}" if x is not None else "-" for x in lines]
    means = [line.mean for line in lines if line is not None]
    spread = f"{min(means):.1f} to {max(means):.1f}" if means else "-"
    return [*cells, spread]
