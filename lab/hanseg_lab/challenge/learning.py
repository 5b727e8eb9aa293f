"""How each method learnt: losses and Dice against iterations, and what came of it."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from hanseg_lab.training.log import Row, read_logs
from hanseg_segmentation.packages.package import read_package

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
"""Pictures beside each other."""

DOTS_PER_INCH = 100

Point = tuple[int, float]
"""Iteration and value."""

Figure = Callable[[Row], float]
"""A figure of a row of a log."""


@dataclass(frozen=True, slots=True)
class LearningCourse:
    """How the networks of a method learnt; their mean at each iteration that all have.

    Attributes:
        loss: Cross-entropy and Dice loss of the training batches.
        dice: 1 less the Dice loss of the training batches.
        held_out_dice: The same on patches of cases that the network is not trained on.
        iterations: Of each network.
        processor_minutes: Of all networks.
    """

    loss: tuple[Point, ...]
    dice: tuple[Point, ...]
    held_out_dice: tuple[Point, ...]
    iterations: tuple[int, ...]
    processor_minutes: float


def read_course(training: Path) -> LearningCourse:
    """Return the course of a training, from the logs and the package it left."""
    logs = read_logs(training)
    facts = read_package(training / "model").provenance
    return LearningCourse(
        loss=_mean(logs, lambda row: row["cross_entropy"] + row["dice_loss"]),
        dice=_mean(logs, lambda row: 1 - row["dice_loss"]),
        held_out_dice=_mean(
            [[row for row in log if "held_out_dice_loss" in row] for log in logs],
            lambda row: 1 - row["held_out_dice_loss"],
        ),
        iterations=tuple(int(each) for each in facts["iterations"].split(",")),
        processor_minutes=float(facts["processor_seconds"]) / 60,
    )


def _mean(logs: Sequence[Sequence[Row]], value: Figure) -> tuple[Point, ...]:
    by_iteration: dict[int, list[float]] = {}
    for log in logs:
        for row in log:
            by_iteration.setdefault(int(row["iteration"]), []).append(value(row))
    return tuple(
        (iteration, fmean(values))
        for iteration, values in sorted(by_iteration.items())
        if len(values) == len(logs)
    )


def loss_picture(courses: Mapping[str, LearningCourse]) -> bytes:
    """Return each method's loss against iterations, as PNG."""
    lines = {name: {"training": each.loss} for name, each in courses.items()}
    return _picture(lines, "cross-entropy + Dice loss")


def dice_picture(courses: Mapping[str, LearningCourse]) -> bytes:
    """Return each method's Dice against iterations, as PNG."""
    lines = {
        name: {"training": each.dice, "held out": each.held_out_dice}
        for name, each in courses.items()
    }
    return _picture(lines, "1 - Dice loss")


def _picture(courses: Mapping[str, Mapping[str, Sequence[Point]]], label: str) -> bytes:
    from matplotlib.figure import Figure as Canvas

    rows = -(-len(courses) // COLUMNS)
    figure = Canvas(figsize=(3.4 * COLUMNS, 2.3 * rows + 0.4), layout="constrained")
    grid = figure.subplots(rows, COLUMNS, squeeze=False)
    for axes in grid.flat[len(courses) :]:
        axes.set_axis_off()
    for axes, (name, lines) in zip(grid.flat, courses.items(), strict=False):
        _draw(axes, name, lines)
    figure.supylabel(label, fontsize=9)
    figure.supxlabel("iteration", fontsize=9)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _draw(axes: Axes, name: str, lines: Mapping[str, Sequence[Point]]) -> None:
    for what, points in lines.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=what, linewidth=1.2)
    axes.set_title(name, fontsize=9)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if len(lines) > 1 and any(lines.values()):
        axes.legend(fontsize=7)
