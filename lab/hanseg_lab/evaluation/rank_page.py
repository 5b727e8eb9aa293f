"""A ranking as a page: significance maps, stability, and the published results."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hanseg_lab.evaluation.evaluation import number
from hanseg_lab.evaluation.methods import MetricTable
from hanseg_lab.evaluation.page import ReportPage
from hanseg_lab.evaluation.paper import (
    ALL_ORGANS,
    SOURCE,
    UNITS,
    PaperTable,
    wins,
)
from hanseg_lab.evaluation.pictures import box_plots, matrix_picture
from hanseg_lab.evaluation.ranking import MetricRanking, Ranking
from hanseg_lab.evaluation.stability import Stability
from hanseg_lab.evaluation.standing import (
    FACTORS,
    MethodStanding,
    organ_lines,
    overall_figures,
    ranking_document,
    remarks,
    standing_rows,
)
from hanseg_lab.evaluation.summary import OVERALL_RULE, SD_RULE
from hanseg_shared.metrics.metric import Metric


def ranking_pictures(standing: MethodStanding) -> dict[str, bytes]:
    """Return the pictures of a ranking, by name."""
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


def ranking_page(standing: MethodStanding, pictures: Mapping[str, bytes]) -> str:
    """Return the report: standing, pictures, rules, and the published results."""
    page = ReportPage(
        "Ranking of methods" if standing.ranking else "A method's standing"
    )
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


def _add_paper(page: ReportPage, standing: MethodStanding, paper: PaperTable) -> None:
    page.heading("Beside the published results")
    page.note(f"{SOURCE}; other cases than these, unless they are the challenge's.")
    for table in standing.tables:
        header, *rows = beside_paper(table, paper)
        page.heading(f"{table.metric} [{UNITS[table.metric]}], mean ± SD")
        page.table(header, rows[:-1], total=rows[-1])
        page.paragraph(published_wins(paper, table.metric))


def published_wins(paper: PaperTable, metric: Metric) -> str:
    """Return a sentence about how many organs each published method is best in."""
    if not paper.organs(metric):
        return f"The published table at hand has no {metric} of single organs."
    won = sorted(wins(paper, metric).items(), key=lambda item: -item[1])
    counts = ", ".join(f"{method} {count}" for method, count in won)
    return f"Best {metric} of the published, number of organs: {counts}"


def beside_paper(table: MetricTable, paper: PaperTable) -> list[list[str]]:
    """Return rows, the header first: organ, our methods, the published, their spread.

    The last row is over all organs. The spread is from the lowest to the highest of
    the published means.
    """
    header = ["organ", *table.methods, *paper.methods, "published spread"]
    lines = [
        {line.organ: line for line in organ_lines(table, n)}
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
    overall = (overall_figures(table, n) for n in range(len(table.methods)))
    ours = [f"{mean:.1f} ± {number(sd)}" for mean, sd in overall]
    last = [ALL_ORGANS, *ours, *_published_cells(table.metric, ALL_ORGANS, paper)]
    return [header, *rows, last]


def _published_cells(metric: Metric, organ: str, paper: PaperTable) -> list[str]:
    lines = [paper.find(metric, organ, method) for method in paper.methods]
    cells = [f"{x.mean:.1f} ± {x.sd:.1f}" if x is not None else "-" for x in lines]
    means = [line.mean for line in lines if line is not None]
    spread = f"{min(means):.1f} to {max(means):.1f}" if means else "-"
    return [*cells, spread]
