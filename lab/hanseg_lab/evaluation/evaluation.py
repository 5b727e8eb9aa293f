"""Predictions evaluated against references: table, summary and report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hanseg_lab.evaluation.case_folders import CasePair, match_cases
from hanseg_lab.evaluation.case_masks import read_pair
from hanseg_lab.evaluation.ct_grid import find_ct
from hanseg_lab.evaluation.label_table import read_label_table
from hanseg_lab.evaluation.output import all_or_nothing, write_json
from hanseg_lab.evaluation.page import ReportPage
from hanseg_lab.evaluation.pictures import box_plots, contour_picture
from hanseg_lab.evaluation.score_cases import (
    CaseScores,
    Scoring,
    one_sided_line,
    score_cases,
)
from hanseg_lab.evaluation.scores import Score, write_scores
from hanseg_lab.evaluation.structures import with_structures_of
from hanseg_lab.evaluation.summary import (
    INFINITE_RULE,
    OVERALL_RULE,
    SD_RULE,
    MetricSummary,
    Statistics,
    summarise,
)
from hanseg_shared.errors import OptionError
from hanseg_shared.metrics.metric import DEFINITIONS, Metric

WORST_SHOWN = 6
"""Pairs with the lowest Dice that the report shows."""

RESULTS, SUMMARY, REPORT = "results.csv", "summary.json", "report.html"

TOOLS = ("hanseg-shared", "numpy", "scipy", "SimpleITK-SimpleElastix")


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of all cases.

    Attributes:
        scoring: The rules that were followed.
        cases: Every case, in order.
        remarks: What a reader must know of what was left out, a line each.
    """

    scoring: Scoring
    cases: tuple[CaseScores, ...]
    remarks: tuple[str, ...] = ()

    @property
    def scores(self) -> list[Score]:
        """Every score, by case, organ and metric."""
        return [score for case in self.cases for score in case.scores]

    def summaries(self) -> list[MetricSummary]:
        """Return the statistics of every metric."""
        return [summarise(self.scores, metric) for metric in Metric]

    def worst(self) -> list[Score]:
        """Return the scores with the lowest Dice, worst first."""
        dice = [score for score in self.scores if score.metric is Metric.DSC]
        return sorted(dice, key=lambda score: score.value)[:WORST_SHOWN]


def evaluate(
    predictions: Path,
    references: Path,
    out: Path,
    scoring: Scoring,
    *,
    labels: Sequence[str] = (),
    ct: Path | None = None,
    workers: int | None = None,
    on_start: Callable[[int], None] = lambda _: None,
    on_done: Callable[[CaseScores], None] = lambda _: None,
) -> Evaluation:
    """Score every case of two folders and write table, summary and report to `out`.

    Args:
        predictions: A folder or a file.
        references: A folder or a file.
        out: Folder for the results.
        scoring: The rules.
        labels: Tables of labels where a folder does not say what its numbers stand
            for: one for both, or the predictions' and the references'; see
            `read_label_table`.
        ct: The CT, or a folder with that of each case, on which contours are drawn;
            without it, the grid of the other side's masks.
        workers: Cases at a time.
        on_start: Called with the number of cases.
        on_done: Called with each case that is done.

    Raises:
        InputError: Cases cannot be matched or scored; nothing was written.
    """
    if workers is not None and workers < 1:
        raise OptionError(f"workers must be 1 or more, got {workers}")
    tables = [read_label_table(each) for each in labels]
    of_each = (tables[0], tables[-1]) if tables else (None, None)
    pairs = match_cases(predictions, references, of_each)
    if ct is not None:
        pairs = [_with_ct(pair, ct, single=len(pairs) == 1) for pair in pairs]
    on_start(len(pairs))
    cases = score_cases(pairs, scoring, workers=workers, on_done=on_done)
    evaluation = Evaluation(scoring, tuple(cases), _remarks(pairs, cases))
    with all_or_nothing(out) as folder:
        write_scores(evaluation.scores, folder / RESULTS)
        write_json(summary_document(evaluation), folder / SUMMARY)
        page = report_page(evaluation, pairs)
        (folder / REPORT).write_text(page, encoding="utf-8")
    return evaluation


def _with_ct(pair: CasePair, given: Path, *, single: bool) -> CasePair:
    """Return a pair whose DICOM objects are drawn on the CT's grid."""
    if pair.prediction.dicom is None and pair.reference.dicom is None:
        return pair
    ct = find_ct(given, pair.name, single=single)
    prediction, reference = (
        each if each.dicom is None else replace(each, dicom=replace(each.dicom, ct=ct))
        for each in (pair.prediction, pair.reference)
    )
    return CasePair(pair.name, prediction, reference)


def _remarks(pairs: Sequence[CasePair], cases: Sequence[CaseScores]) -> tuple[str, ...]:
    line = one_sided_line(cases)
    sources = [each for pair in pairs for each in (pair.prediction, pair.reference)]
    inexact = {
        f"not scored, since {each.labels.source} says that they are contoured "
        f"otherwise than our organs: {', '.join(each.labels.not_scored)}"
        for each in sources
        if each.labels.not_scored
    }
    return (
        *([f"left out: {line}"] if line else []),
        *sorted(inexact),
        *(f"{case.case}: {remark}" for case in cases for remark in case.remarks),
    )


def summary_document(evaluation: Evaluation) -> dict[str, Any]:
    """Return what `summary.json` holds: every figure, and every rule behind it."""
    return {
        "tool": {name: version(name) for name in TOOLS},
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "rules": {
            "empty": evaluation.scoring.empty.value,
            "infinite": INFINITE_RULE,
            "standard_deviation": SD_RULE,
            "overall": OVERALL_RULE,
            "quartiles": "linear interpolation between values",
            "tolerances_mm": dict(evaluation.scoring.tolerances_mm),
        },
        "metrics": {name.value: asdict(each) for name, each in DEFINITIONS.items()},
        "cases": [case.case for case in evaluation.cases],
        "missed": {c.case: list(c.missing) for c in evaluation.cases if c.missing},
        "left_out": {c.case: list(c.left_out) for c in evaluation.cases if c.left_out},
        "unscored": {c.case: list(c.unscored) for c in evaluation.cases if c.unscored},
        "remarks": list(evaluation.remarks),
        "overall": {
            each.metric.value: _statistics(each.overall)
            for each in evaluation.summaries()
        },
        "organs": {
            each.metric.value: {
                name: _statistics(figures) for name, figures in each.organs.items()
            }
            for each in evaluation.summaries()
        },
        "worst": [
            {"case": s.case, "organ": s.organ, "DSC": s.value}
            for s in evaluation.worst()
        ],
    }


def _statistics(figures: Statistics) -> dict[str, Any]:
    return asdict(figures) | {"iqr": figures.iqr}


def report_page(evaluation: Evaluation, pairs: Sequence[CasePair]) -> str:
    """Return the report: box plots, tables, and pictures of the worst pairs."""
    page = ReportPage("Evaluation of contours")
    page.paragraph(
        f"{len(evaluation.cases)} cases, "
        f"{len({score.organ for score in evaluation.scores})} organs, written "
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by hanseg-shared "
        f"{version('hanseg-shared')}."
    )
    for metric, percent in ((Metric.DSC, True), (Metric.HD95, False)):
        _add_metric(page, evaluation, metric, percent=percent)
    _add_other_metrics(page, evaluation)
    _add_findings(page, evaluation)
    _add_worst(page, evaluation, pairs)
    page.heading("Rules")
    page.items(
        [
            f"Organs missing on one side: {evaluation.scoring.empty.value}.",
            f"Infinite values: {INFINITE_RULE}.",
            *(f"{remark}." for remark in evaluation.remarks),
            f"SD: {SD_RULE}. Overall: {OVERALL_RULE}.",
            *(f"{name.value}: {each.rule}." for name, each in DEFINITIONS.items()),
        ]
    )
    return page.render()


def _add_metric(
    page: ReportPage, evaluation: Evaluation, metric: Metric, *, percent: bool
) -> None:
    factor, unit = (100.0, "%") if percent else (1.0, DEFINITIONS[metric].unit)
    summary = summarise(evaluation.scores, metric)
    page.heading(f"{metric.value} [{unit}]")
    values: dict[str, list[float]] = {}
    for score in evaluation.scores:
        if score.metric is metric:
            values.setdefault(score.organ, []).append(score.value * factor)
    label = f"{metric.value} [{unit}]"
    page.picture(
        box_plots({"": values}, label=label), what=f"Box plots of {metric.value}"
    )
    page.table(
        ("organ", "n", "infinite", "mean ± SD", "median (IQR)"),
        [_row(name, each, factor) for name, each in summary.organs.items()],
        total=_row("all organs", summary.overall, factor),
    )


def _row(name: str, figures: Statistics, factor: float) -> tuple[str, ...]:
    return (
        name,
        str(figures.count),
        str(figures.infinite),
        f"{number(figures.mean, factor)} ± {number(figures.sd, factor)}",
        f"{number(figures.median, factor)} ({number(figures.iqr, factor)})",
    )


def number(value: float | None, factor: float = 1.0, digits: int = 1) -> str:
    """Return a figure for a table; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value * factor:.{digits}f}"


def _add_other_metrics(page: ReportPage, evaluation: Evaluation) -> None:
    others = [m for m in Metric if m not in {Metric.DSC, Metric.HD95}]
    summaries = {metric: summarise(evaluation.scores, metric) for metric in others}
    page.heading("Other metrics, mean per organ")
    header = [f"{m.value} [{DEFINITIONS[m].unit or '0..1'}]" for m in others]
    organs = summaries[others[0]].organs
    page.table(
        ("organ", *header),
        [
            (name, *(number(summaries[m].organs[name].mean, digits=2) for m in others))
            for name in organs
        ],
        total=(
            "all organs",
            *(number(summaries[m].overall.mean, digits=2) for m in others),
        ),
    )


def _add_findings(page: ReportPage, evaluation: Evaluation) -> None:
    lines = [
        f"{case.case}: {name}: {what}"
        for case in evaluation.cases
        for what, names in (
            ("missed by the prediction", case.missing),
            ("not in the reference, left out", case.left_out),
            ("not in the prediction, left out", case.unscored),
        )
        for name in names
    ]
    page.heading("Organs on one side only")
    if lines:
        page.items(lines)
    else:
        page.paragraph("None.")


def _add_worst(
    page: ReportPage, evaluation: Evaluation, pairs: Sequence[CasePair]
) -> None:
    page.heading("Lowest Dice")
    page.note(
        "Reference green, prediction red, in the planes where they differ most; the "
        "patient's right is on the left."
    )
    by_name = {pair.name: pair for pair in pairs}
    for case in dict.fromkeys(score.case for score in evaluation.worst()):
        sources = by_name[case]
        reference, prediction = read_pair(sources.reference, sources.prediction)
        wanted = with_structures_of(reference.masks, prediction.masks)
        found = with_structures_of(prediction.masks, wanted)
        for score in evaluation.worst():
            if score.case != case:
                continue
            title = f"{case}: {score.organ}, DSC {score.value * 100:.1f} %"
            picture = contour_picture(
                wanted.get(score.organ),
                found.get(score.organ),
                title=title,
            )
            if picture is None:
                page.paragraph(f"{title}: the masks are too far apart to draw")
            else:
                page.picture(picture, what=title)
