"""The record of a training: a table, curves and TensorBoard's events."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import numpy as np

from hanseg_lab.training.recipe import LOCALISER
from hanseg_lab.training.state import TrainingState

logger = logging.getLogger(__name__)

LOG_FILE = "log.csv"
CURVES_FILE = "curves.png"
EVENTS_FOLDER = "tensorboard"

LOG_EVERY = 20
"""Iterations whose mean is one row of the log."""

COLUMNS = (
    "iteration",
    "seconds",
    "rate",
    "cross_entropy",
    "dice_loss",
    "size_loss",
    "held_out_dice_loss",
    "held_out_dice",
)


Row = dict[str, float]
"""Figures by column; the iteration is a whole number."""


class TrainingLog:
    """Means over some iterations, as rows of a CSV file and as TensorBoard's scalars.

    Args:
        folder: Where they go.
        after: The last iteration that counts: later rows are from before a kill and
            are dropped, since they come again.
        last: Iteration after which a row is written in any case.
    """

    def __init__(self, folder: Path, *, after: int, last: int) -> None:
        self.folder = folder
        self.last = last
        rows = [row for row in read_log(folder) if row["iteration"] <= after]
        _write(folder / LOG_FILE, rows)
        self._events = _events_writer(folder / EVENTS_FOLDER, purge_after=after)

    def add(self, state: TrainingState, figures: dict[str, float]) -> None:
        """Take an iteration's figures; write a row when there are enough."""
        state.unlogged.append(figures)
        if state.iteration % LOG_EVERY and state.iteration != self.last:
            return
        row: Row = {"iteration": state.iteration, "seconds": round(state.seconds, 1)}
        for name in COLUMNS[2:]:
            values = [each[name] for each in state.unlogged if name in each]
            if values:
                row[name] = float(f"{np.mean(values):.6g}")
        state.unlogged.clear()
        with (self.folder / LOG_FILE).open("a", newline="") as file:
            csv.DictWriter(file, COLUMNS).writerow(row)
        if self._events is not None:
            for name in row.keys() - {"iteration"}:
                self._events.add_scalar(name, row[name], state.iteration)
        logger.info("%s", row)

    def close(self) -> None:
        """Draw the curves, and end TensorBoard's file."""
        draw_curves(self.folder)
        if self._events is not None:
            self._events.close()


def read_log(folder: Path) -> list[Row]:
    """Return the rows of a training's log; figures that a row lacks are left out."""
    path = folder / LOG_FILE
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {
                name: int(value) if name == "iteration" else float(value)
                for name, value in row.items()
                if value
            }
            for row in csv.DictReader(file)
        ]


def read_logs(folder: Path) -> list[list[Row]]:
    """Return the logs of a training's networks, one a fold, without its localiser's."""
    files = sorted(folder.rglob(LOG_FILE))
    own = [each for each in files if LOCALISER not in each.relative_to(folder).parts]
    return [read_log(file.parent) for file in own]


def draw_curves(folder: Path) -> None:
    """Draw the log as ``curves.png``: losses, and the learning rate below them.

    Without matplotlib, which is optional, there is no picture.
    """
    rows = read_log(folder)
    try:
        from matplotlib.figure import Figure
    except ImportError:
        logger.info("matplotlib is not installed: no %s", CURVES_FILE)
        return
    figure = Figure(figsize=(8, 6), layout="constrained")
    losses, rates = figure.subplots(2, height_ratios=(3, 1), sharex=True)
    for name in COLUMNS[3:]:
        known = [(row["iteration"], row[name]) for row in rows if name in row]
        if known:
            losses.plot(*zip(*known, strict=True), label=name.replace("_", " "))
    losses.set_ylabel("loss")
    if rows:
        losses.legend()
    rates.plot([r["iteration"] for r in rows], [r["rate"] for r in rows])
    rates.set_xlabel("iteration")
    rates.set_ylabel("learning rate")
    figure.savefig(folder / CURVES_FILE, dpi=110)


def _write(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _events_writer(folder: Path, *, purge_after: int) -> Any:  # noqa: ANN401
    """Return TensorBoard's writer, or None where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        logger.info("tensorboard is not installed: %s holds the figures", LOG_FILE)
        return None
    return SummaryWriter(str(folder), purge_step=purge_after + 1)
