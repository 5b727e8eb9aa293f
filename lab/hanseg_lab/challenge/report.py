"""The page: the paper's tables of our results, how the methods learnt, what it cost."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hanseg_lab.challenge.agreement import (
    compare_orders,
    compare_organs,
    order_sentences,
    organ_sentences,
)
from hanseg_lab.challenge.conditions import describe_conditions
from hanseg_lab.challenge.files import PAGE, PICTURES, remove, write_atomically
from hanseg_lab.challenge.learning import (
    LearningCourse,
    dice_picture,
    loss_picture,
    read_course,
)
from hanseg_lab.challenge.ledger import Ledger, Taken
from hanseg_lab.challenge.markdown import items, table
from hanseg_lab.challenge.methods import NEAREST, Method
from hanseg_lab.challenge.mr_inputs import MR_INPUTS, WITH_MR
from hanseg_lab.challenge.places import ALL, PREDICTIONS, SCORES, TEAMS, Places
from hanseg_lab.challenge.real_patients import SHIPPED
from hanseg_lab.challenge.scale import (
    real_methods,
    registration_here,
    registration_name,
    tried_with_mrs,
)
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.challenge.tables import Rows, organ_rows, paper_rows, ranking_rows
from hanseg_lab.evaluation.evaluation import RESULTS
from hanseg_lab.evaluation.methods import MetricTable, metric_table
from hanseg_lab.evaluation.paper import SOURCE, read_published
from hanseg_lab.evaluation.rank_report import RANKED, RANKING
from hanseg_lab.evaluation.ranking import RankingOptions
from hanseg_lab.evaluation.scores import read_scores
from hanseg_lab.evaluation.standing import organ_lines
from hanseg_shared.client.batch import SUMMARY
from hanseg_shared.metrics.metric import Metric
from hanseg_shared.result_files import REPORT

FIGURE_2 = tuple(f"boxes_{metric.value}" for metric in RANKED)

SIGNIFICANCE = tuple(f"significance_{metric.value}" for metric in RANKED)


MOST_NAMED = 6
"""Organs that a sentence names."""


@dataclass(frozen=True, slots=True, eq=False)
class MrTrial:
    """A method on the same cases with other MRs.

    Attributes:
        table: DSC; its "methods" are the inputs, `WITH_MR` first.
        verdicts: How many MRs were used, rejected or absent, by input.
    """

    table: MetricTable
    verdicts: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """All that the page is made of.

    Attributes:
        settings: What was done.
        tables: Of all methods, by metric.
        rankings: What `hanseg rank` wrote, by `ALL` and `TEAMS`; one that was not
            made, for want of methods, is left out.
        courses: How the trained methods learnt, by name.
        verdicts: How many test MRs were used, rejected or absent, by method.
        taught_mrs: The same of the training cases' MRs.
        taken: What each step took, by name.
        mr_trials: Of each method that was tried with other MRs.
        real: DSC on real patients, of the methods and the model that ships; None
            where there are none.
    """

    settings: ChallengeSettings
    tables: Mapping[Metric, MetricTable]
    rankings: Mapping[str, Mapping[str, Any]]
    courses: Mapping[str, LearningCourse]
    verdicts: Mapping[str, Mapping[str, int]]
    taught_mrs: Mapping[str, Mapping[str, int]]
    taken: Mapping[str, Taken]
    mr_trials: Mapping[str, MrTrial]
    real: MetricTable | None


def write_report(places: Places, settings: ChallengeSettings, ledger: Ledger) -> None:
    """Write the page and its pictures to ``report/``."""
    results = read_results(places, settings, ledger)
    folder = places.report / PICTURES
    remove(folder)
    folder.mkdir(parents=True)
    which = _boxes_of(results)
    for name in (*FIGURE_2, *SIGNIFICANCE):
        source = places.ranking(which) / f"{name}.png"
        if source.exists():
            (folder / source.name).write_bytes(source.read_bytes())
    if results.courses:
        (folder / "loss.png").write_bytes(loss_picture(results.courses))
        (folder / "dice.png").write_bytes(dice_picture(results.courses))
    there = frozenset(path.stem for path in folder.iterdir())
    write_atomically(places.report / PAGE, render(results, there))


def read_results(
    places: Places, settings: ChallengeSettings, ledger: Ledger
) -> Results:
    """Return what the steps left."""
    methods = settings.chosen
    scores = {m.name: read_scores(places.scores(m) / RESULTS) for m in methods}
    worst = RankingOptions().worst
    rankings = {which: places.ranking(which) / RANKING for which in (ALL, TEAMS)}
    trained = [method for method in methods if method.is_trained]
    return Results(
        settings,
        {metric: metric_table(scores, metric, worst) for metric in RANKED},
        {
            n: json.loads(path.read_text())
            for n, path in rankings.items()
            if path.exists()
        },
        {method.name: read_course(places.training(method)) for method in trained},
        {method.name: _verdicts(places.predictions(method)) for method in trained},
        {m.name: _verdicts_of_training(places, settings, m) for m in trained},
        {step.name: ledger.taken(step) for step in ledger.steps},
        {m.name: _read_mr_trial(places, m) for m in tried_with_mrs(settings)},
        _read_real(places, settings),
    )


def _read_real(places: Places, settings: ChallengeSettings) -> MetricTable | None:
    methods = real_methods(settings)
    if not methods:
        return None
    names = [*(method.name for method in methods), SHIPPED]
    scores = {n: read_scores(places.real(n) / SCORES / RESULTS) for n in names}
    return metric_table(scores, Metric.DSC)


def _read_mr_trial(places: Places, method: Method) -> MrTrial:
    folders = {WITH_MR: (places.scores(method), places.predictions(method))}
    for given in MR_INPUTS:
        trial = places.mr_trial(method, given)
        folders[given.name] = (trial / SCORES, trial / PREDICTIONS)
    scores = {n: read_scores(s / RESULTS) for n, (s, _) in folders.items()}
    return MrTrial(
        metric_table(scores, Metric.DSC),
        {name: _verdicts(found) for name, (_, found) in folders.items()},
    )


def _verdicts(predictions: Path) -> Counter[str]:
    with (predictions / SUMMARY).open(newline="", encoding="utf-8") as file:
        return Counter(row["mr_verdict"] for row in csv.DictReader(file))


def _verdicts_of_training(
    places: Places, settings: ChallengeSettings, method: Method
) -> Counter[str]:
    registration = registration_here(method, settings)
    if registration is None:
        return Counter()
    folder = places.registered(registration_name(registration))
    reports = [json.loads(path.read_text()) for path in folder.glob(f"*/{REPORT}")]
    return Counter(report["verdict"] for report in reports)


def _boxes_of(results: Results) -> str:
    return TEAMS if TEAMS in results.rankings else ALL


def render(results: Results, pictures: frozenset[str]) -> str:
    """Return the page as Markdown.

    Args:
        results: What it tells.
        pictures: Names of the pictures that there are, without their endings.
    """
    settings = results.settings
    parts = [
        *_head(results),
        *_tables(results, pictures),
        *_comparison(results),
        *_learning(results, pictures),
        *_mr_parts(results),
        *_real_parts(results),
        *describe_conditions(
            settings, results.taught_mrs, results.verdicts, results.taken
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _head(results: Results) -> list[str]:
    settings = results.settings
    parts = [
        "# The challenge in miniature",
        f"Written by `make challenge` on {datetime.now(UTC):%d %B %Y}, with version"
        f" {version('hanseg-lab')}; not by hand. How it is run, by which rules, and"
        " what it costs: `docs/lab/miniature-challenge.md`.",
        f"{len(settings.chosen)} methods know {settings.training_cases} simulated"
        f" patients and were scored on {settings.test_cases} others, through the"
        " product's own commands. Patients are simulated and networks small: the page"
        " shows that each recipe learns, and how they stand to each other under these"
        " conditions. It says nothing about how well the teams' own systems do, or ours"
        " on patients.",
    ]
    if settings.differences:
        parts.append(
            "> **This is not the challenge's scale**; other than its own are:"
            f" {', '.join(settings.differences)}. The page shows that the road works,"
            " and no result."
        )
    return parts


def _tables(results: Results, pictures: frozenset[str]) -> list[str]:
    parts = [
        "## Table 2: DSC in %",
        "Mean ± SD over the test cases; the best mean of each organ is bold. *All"
        " organs* is the mean of the organs' means with the root mean square of their"
        " SDs, which is the paper's rule.",
        table(organ_rows(results.tables[Metric.DSC])),
        "## Table 3: HD95 in mm",
        "As Table 2. Where a method misses an organ, the worst value of all methods for"
        " that organ takes its place, as in the challenge.",
        table(organ_rows(results.tables[Metric.HD95])),
        "## Table 4: ranking",
        "S is how many others a method is significantly better than (Wilcoxon's"
        " signed-rank test over all organs of all cases, Bonferroni, 5 %), R its rank"
        " by S; the final rank follows from the sum of R.",
    ]
    titles = {TEAMS: "The challenge's six, as in the paper:", ALL: "All methods:"}
    for which, title in titles.items():
        if which in results.rankings:
            document = results.rankings[which]
            parts += [title, table(ranking_rows(document)), _rules(document)]
    parts.append("## Figure 2: the six methods by organ")
    if TEAMS not in results.rankings:
        parts[-1] = "## Figure 2: the methods by organ"
    captions = {
        **dict.fromkeys(FIGURE_2, "Quartiles, whiskers to 1.5 of their distance"),
        **dict.fromkeys(SIGNIFICANCE, "Corrected p-values of row better than column"),
    }
    return parts + [_picture(n, text) for n, text in captions.items() if n in pictures]


def _rules(document: Mapping[str, Any]) -> str:
    rules = document["rules"]
    said = (
        f"{rules['test']}; {rules['sides']}-sided; Bonferroni's factor"
        f" {rules['bonferroni_factor']}"
    )
    remarks = document.get("remarks", [])
    return items([said, *remarks])


def _picture(name: str, caption: str) -> str:
    return f"![{caption}]({PICTURES}/{name}.png)"


def _comparison(results: Results) -> list[str]:
    parts = [
        "## Beside the paper",
        f"The published results, over its 14 withheld patients: {SOURCE}.",
    ]
    beside = paper_rows(results.tables, read_published())
    if len(beside) > 1:
        parts.append(table(beside))
    if TEAMS in results.rankings:
        final = results.rankings[TEAMS]["final_rank"]
        parts.append(items(order_sentences(compare_orders(final))))
    else:
        parts.append(items(order_sentences(compare_orders({}))))
    organs = organ_sentences(
        compare_organs(results.tables[Metric.DSC], read_published())
    )
    return parts + ([items(organs)] if organs else [])


def _mr_parts(results: Results) -> list[str]:
    if not results.mr_trials:
        return []
    parts = [
        "## What the MR buys",
        "DSC in % on the same cases with other MRs. *Off* is a true registration, put"
        " some millimetres off in a random direction, which the service was told to"
        " leave and still judged; an MR that it rejects is not used.",
    ]
    for name, trial in results.mr_trials.items():
        parts += [f"### {name}", table(mr_rows(trial))]
    return parts


def _real_parts(results: Results) -> list[str]:
    if results.real is None:
        return []
    settings = results.settings
    minutes = settings.real_minutes
    return [
        "## Real patients",
        f"DSC in % on {settings.real_cases} validation cases of OpenKBP (CT alone), of"
        " the same recipes at the same scale, trained on"
        f" {settings.real_training_cases} of its training cases, where seven organs at"
        f" most were drawn, for {minutes:g} minutes of the processor"
        f" each ({minutes * settings.ensemble_factor:g} where there are several"
        " networks). Beside them the model that ships, which was trained for hours, on"
        " these cases too. Scored are the organs that are contoured there as ours are.",
        table(organ_rows(results.real)),
    ]


def mr_rows(trial: MrTrial) -> Rows:
    """Return a line an organ, and how many MRs the service used."""
    used = [str(trial.verdicts[name].get("used", 0)) for name in trial.table.methods]
    return [*organ_rows(trial.table), ["MRs used", *used]]


def _learning(results: Results, pictures: frozenset[str]) -> list[str]:
    parts = [
        "## Whether each method learnt",
        "Iterations and minutes are those of the networks that segment, without a"
        " localiser's.",
        table(learning_rows(results)),
        items(learning_sentences(results)),
    ]
    captions = {
        "loss": "Loss of the training batches, the mean of a method's networks",
        "dice": "Dice of training batches, and of patches of cases a network has not"
        " seen: soft, in patches, and not the scores above",
    }
    return parts + [_picture(n, text) for n, text in captions.items() if n in pictures]


def learning_rows(results: Results) -> Rows:
    """Return a line a method: what its training took, and what came of it."""
    header = ["method", "networks", "iterations", "processor min", "loss", "held out"]
    rows = [[*header, "DSC %", "asked", "organs at 0", "learnt"]]
    means = mean_dsc(results)
    for method in results.settings.chosen:
        course = results.courses.get(method.name)
        asked = method.least_dsc
        lost = lost_organs(results, method)
        learnt = asked is None or (means[method.name] >= asked and not lost)
        rows.append(
            [
                method.name,
                *(["-"] * 5 if course is None else _course_cells(course)),
                f"{100 * means[method.name]:.1f}",
                "-" if asked is None else f"{100 * asked:.0f}",
                str(len(lost)),
                "-" if asked is None else "yes" if learnt else "**no**",
            ]
        )
    return rows


def _course_cells(course: LearningCourse) -> list[str]:
    loss = [value for _, value in course.loss]
    held_out = [value for _, value in course.held_out_dice]
    return [
        str(len(course.iterations)),
        " ".join(str(each) for each in course.iterations),
        f"{course.processor_minutes:.1f}",
        f"{loss[0]:.2f} to {loss[-1]:.2f}" if loss else "-",
        f"{held_out[-1]:.2f}" if held_out else "-",
    ]


def mean_dsc(results: Results) -> dict[str, float]:
    """Return each method's mean of the organs' mean DSC, 0 to 1."""
    found = results.tables[Metric.DSC]
    return dict(zip(found.methods, found.means.tolist(), strict=True))


def lost_organs(results: Results, method: Method) -> tuple[str, ...]:
    """Return the organs that a method found in no test case."""
    found = results.tables[Metric.DSC]
    lines = organ_lines(found, found.methods.index(method.name))
    return tuple(line.organ for line in lines if line.mean == 0)


def learning_sentences(results: Results) -> list[str]:
    """Return which methods did not learn, and which one patient by heart beats."""
    lines, means = [], mean_dsc(results)
    for method in results.settings.chosen:
        lost = lost_organs(results, method)
        if lost and method.is_trained:
            more = len(lost) - MOST_NAMED
            end = f" and {more} more" if more > 0 else ""
            lines.append(
                f"{method.name} has found no {', '.join(lost[:MOST_NAMED])}{end}."
            )
        if method.least_dsc is not None and means[method.name] < method.least_dsc:
            lines.append(
                f"{method.name} reaches {100 * means[method.name]:.1f} % of the"
                f" {100 * method.least_dsc:.0f} % that are asked of it."
            )
    if NEAREST in means:
        beaten = [m.name for m in results.settings.chosen if m.is_trained]
        below = [name for name in beaten if means[name] <= means[NEAREST]]
        said = f"no better: {', '.join(below)}" if below else "every method is better"
        lines.append(
            f"The nearest training case, copied, has {100 * means[NEAREST]:.1f} %:"
            f" {said}."
        )
    return lines
