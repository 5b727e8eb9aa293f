"""How methods stand: their ranks and figures, and every rule behind them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from hanseg_lab.evaluation.evaluation import TOOLS, number
from hanseg_lab.evaluation.methods import MetricTable
from hanseg_lab.evaluation.paper import (
    UNITS,
    PaperTable,
    Published,
    overall_of_organs,
)
from hanseg_lab.evaluation.ranking import MetricRanking, Ranking, RankingOptions
from hanseg_lab.evaluation.stability import Stability
from hanseg_lab.evaluation.summary import OVERALL_RULE, SD_RULE, statistics
from hanseg_lab.evaluation.wilcoxon import FEWEST_FOR_NORMAL
from hanseg_shared.metrics.metric import Metric

FACTORS = {Metric.DSC: 100.0, Metric.HD95: 1.0}
"""From our units to the paper's: DSC in %, HD95 in mm."""


@dataclass(frozen=True, slots=True, eq=False)
class MethodStanding:
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


@dataclass(frozen=True, slots=True)
class OrganLine:
    """An organ's mean and SD over the cases, in the paper's units."""

    organ: str
    mean: float
    sd: float | None


def ranking_document(standing: MethodStanding) -> dict[str, Any]:
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


def remarks(standing: MethodStanding) -> list[str]:
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


def standing_rows(standing: MethodStanding) -> list[list[str]]:
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


def _standing_row(standing: MethodStanding, method: int) -> list[str]:
    row = [standing.tables[0].methods[method]]
    if standing.ranking is not None:
        row.append(str(standing.ranking.final[method]))
    for n, table in enumerate(standing.tables):
        factor = FACTORS[table.metric]
        mean, sd = overall_figures(table, method)
        pooled = statistics(table.values[method].tolist())
        row += [
            f"{mean:.1f} ± {number(sd)}",
            f"{number(pooled.median, factor)} ({number(pooled.iqr, factor)})",
        ]
        if standing.ranking is not None:
            metric: MetricRanking = standing.ranking.metrics[n]
            row += [str(metric.scores[method]), str(metric.ranks[method])]
    return row


def overall_figures(table: MetricTable, method: int) -> tuple[float, float | None]:
    """Return mean and SD over all organs in the paper's units."""
    lines = organ_lines(table, method)
    if any(line.sd is None for line in lines):
        return sum(line.mean for line in lines) / len(lines), None
    return overall_of_organs(
        [Published(table.metric, x.organ, "", x.mean, x.sd or 0.0) for x in lines]
    )


def organ_lines(table: MetricTable, method: int) -> list[OrganLine]:
    """Return a method's organs, in order of the labels."""
    factor = FACTORS[table.metric]
    lines = []
    for name, values in table.by_organ(method).items():
        figures = statistics([value * factor for value in values])
        if figures.mean is not None:
            lines.append(OrganLine(name, figures.mean, figures.sd))
    return lines
