"""The paper's Tables 2, 3 and 4, of our results.

Tables 2 and 3 have an organ a line and mean ± SD over the test cases, of DSC in % and
HD95 in mm; Table 4 has significance scores (S) and ranks (R) of both metrics, and the
final rank (Podobnik et al. 2024, doi:10.1016/j.radonc.2024.110410).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hanseg_lab.challenge.markdown import bold
from hanseg_lab.evaluation.evaluation import number
from hanseg_lab.evaluation.methods import MetricTable
from hanseg_lab.evaluation.paper import ALL_ORGANS, FINAL_RANKS, PaperTable
from hanseg_lab.evaluation.standing import FACTORS, organ_lines, overall_figures
from hanseg_lab.evaluation.structures import in_label_order
from hanseg_lab.evaluation.summary import statistics
from hanseg_shared.metrics.metric import Metric

MEDIAN = "median (IQR)"

Rows = list[list[str]]


def organ_rows(table: MetricTable) -> Rows:
    """Return Table 2 or 3, the header first; each organ's best mean is bold.

    The last rows are over all organs: the mean of the organs' means with the root
    mean square of their SDs, and median and interquartile range of all values.
    """
    methods = range(len(table.methods))
    lines = [{line.organ: line for line in organ_lines(table, n)} for n in methods]
    rows = [["organ", *table.methods]]
    for organ in in_label_order(name for each in lines for name in each):
        cells = [(each[organ].mean, each[organ].sd) for each in lines]
        rows.append([organ, *_cells(cells, table.sign)])
    overall = [overall_figures(table, n) for n in methods]
    rows.append([bold(ALL_ORGANS), *_cells(overall, table.sign)])
    rows.append([MEDIAN, *(_median(table, n) for n in methods)])
    return rows


def _cells(figures: Sequence[tuple[float, float | None]], sign: int) -> list[str]:
    """Return means and SDs as cells; the best mean is bold, as printed."""
    means = [f"{mean:.1f}" for mean, _ in figures]
    best = max(sign * float(mean) for mean in means)
    texts = [f"{m} ± {number(sd)}" for m, (_, sd) in zip(means, figures, strict=True)]
    return [
        bold(text) if sign * float(mean) == best else text
        for mean, text in zip(means, texts, strict=True)
    ]


def _median(table: MetricTable, method: int) -> str:
    found, factor = statistics(table.values[method].tolist()), FACTORS[table.metric]
    return f"{number(found.median, factor)} ({number(found.iqr, factor)})"


def ranking_rows(document: Mapping[str, Any]) -> Rows:
    """Return Table 4, the header first, the best method next.

    Args:
        document: What `hanseg rank` wrote to ``ranking.json``.
    """
    final, metrics = document["final_rank"], document["metrics"]
    parts = [(name, what) for name in metrics for what in ("S", "R")]
    header = ["method", *(f"{what} {name}" for name, what in parts)]
    keys = {"S": "significance_score", "R": "rank"}
    rows = [[*header, "sum of R", "final rank", "in the paper"]]
    for method in sorted(final, key=lambda name: final[name]):
        figures = [metrics[name][keys[what]][method] for name, what in parts]
        total = sum(each["rank"][method] for each in metrics.values())
        paper = str(FINAL_RANKS.get(method, "-"))
        rows.append([method, *map(str, figures), str(total), str(final[method]), paper])
    return rows


def paper_rows(tables: Mapping[Metric, MetricTable], paper: PaperTable) -> Rows:
    """Return a line a method of the paper: mean ± SD over all organs, here and there.

    Methods that did not take part are left out.
    """
    header = ["method"]
    for metric in tables:
        header += [f"{metric.value} here", f"{metric.value} in the paper"]
    rows = [header]
    for method in paper.methods:
        row = [method]
        for metric, found in tables.items():
            line = paper.find(metric, ALL_ORGANS, method)
            if line is not None and method in found.methods:
                mean, sd = overall_figures(found, found.methods.index(method))
                row += [
                    f"{mean:.1f} ± {number(sd)}",
                    f"{line.mean:.1f} ± {line.sd:.1f}",
                ]
        if len(row) == len(header):
            rows.append(row)
    return rows
