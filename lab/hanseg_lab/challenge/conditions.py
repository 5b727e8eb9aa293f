"""The conditions of a challenge as rows and parts of the page: scale, budgets, cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from hanseg_lab.challenge.ledger import Taken
from hanseg_lab.challenge.markdown import items, table
from hanseg_lab.challenge.scale import (
    budget_minutes,
    registration_here,
    registration_name,
    scale_recipe,
)
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.challenge.tables import Rows
from hanseg_segmentation.inference.device import choose_device, precision_on


def describe_conditions(
    settings: ChallengeSettings,
    taught_mrs: Mapping[str, Mapping[str, int]],
    verdicts: Mapping[str, Mapping[str, int]],
    taken_by_step: Mapping[str, Taken],
) -> list[str]:
    """Return the parts of the page about scale, budgets and cost.

    Args:
        settings: What was done.
        taught_mrs: How many training MRs were used or rejected, by method.
        verdicts: The same of the test cases.
        taken_by_step: What each step took.
    """
    kept = settings.model_dump() | {
        "openkbp": "given" if settings.openkbp else "not given"
    }
    total = sum(taken_by_step.values(), Taken())
    precision = str(precision_on(choose_device("cpu"))).removeprefix("torch.")
    machine = f"{len(os.sched_getaffinity(0))} processors ({precision})"
    return [
        "## The conditions",
        "Each recipe as it is, but for grid, patch, widths, number of networks, warming"
        " up and length. The budget is the same for all, in time of the processor;"
        " methods of several networks get"
        f" {settings.ensemble_factor:g} times as much, for all of them together.",
        table(scale_rows(settings, taught_mrs, verdicts)),
        items(f"`{name}`: {_say(value)}" for name, value in kept.items()),
        "## What it cost",
        f"On {machine}; the last run of each step. All steps together took"
        f" {total.seconds / 3600:.1f} hours one after the other, and"
        f" {total.processor_seconds / 3600:.1f} hours of the processor; trainings ran"
        " beside each other.",
        table(
            [
                ["step", "minutes", "processor min"],
                *(
                    [
                        name,
                        f"{taken.seconds / 60:.1f}",
                        f"{taken.processor_seconds / 60:.1f}",
                    ]
                    for name, taken in taken_by_step.items()
                    if taken.seconds
                ),
            ]
        ),
    ]


def _say(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(str(each) for each in value)
    return str(value)


def scale_rows(
    settings: ChallengeSettings,
    taught_mrs: Mapping[str, Mapping[str, int]],
    verdicts: Mapping[str, Mapping[str, int]],
) -> Rows:
    """Return a line a trained method: what it was made of at this scale."""
    header = ["method", "images", "registration", "grid mm", "patch", "widths"]
    rows = [[*header, "networks", "budget min", "training MRs", "test MRs"]]
    for method in settings.chosen:
        if not method.is_trained:
            continue
        recipe = scale_recipe(method, settings)
        registration = registration_here(method, settings)
        features: Any = recipe.network.config["features"]
        rows.append(
            [
                method.name,
                ", ".join(recipe.channels),
                "-" if registration is None else registration_name(registration),
                " x ".join(f"{edge:g}" for edge in recipe.spacing_mm),
                " x ".join(str(edge) for edge in recipe.patch),
                ", ".join(str(width) for width in features),
                str(recipe.folds),
                f"{budget_minutes(method, settings):g}",
                _say_counts(taught_mrs.get(method.name, {})),
                _say_counts(verdicts.get(method.name, {}) if registration else {}),
            ]
        )
    return rows


def _say_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {verdict}" for verdict, n in sorted(counts.items())) or "-"
