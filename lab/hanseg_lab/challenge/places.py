"""Where everything lies in a challenge's folder, and what lies around a patient."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hanseg_lab.challenge.methods import Method
from hanseg_lab.challenge.mr_inputs import MrInput
from hanseg_lab.phantom.folder import SET_FOLDER, TABLE

TRAINING, TESTING = "training", "testing"

PREDICTIONS, SCORES = "predictions", "scores"

AROUND_SHARES = {"head-rest": 0.15, "mask": 0.15, "circle": 0.3}
"""How often each thing lies around a patient, or cuts the shoulders off.

With a head rest or a mask, the service rejects MRs that it uses without them, since the
skin seems to lie elsewhere: of two patients in four. Were they more, this would be a
competition without MR.
"""

ALL, TEAMS = "all", "teams"
"""The two rankings: of everybody, and of the challenge's six as the paper's."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies in a challenge's folder."""

    out: Path

    def data(self, part: str) -> Path:
        """Return the data set of `TRAINING` or `TESTING`."""
        return self.out / "data" / part

    def registered(self, kind: str) -> Path:
        """Return the training cases' MRs on their CTs, a folder a case."""
        return self.out / "registered" / kind

    def training(self, method: Method) -> Path:
        """Return what `hanseg train` writes."""
        return self.out / "methods" / method.name / "training"

    def predictions(self, method: Method) -> Path:
        """Return the contours of the test cases."""
        return self.out / "methods" / method.name / PREDICTIONS

    def scores(self, method: Method) -> Path:
        """Return the scores; `hanseg rank` names a method by this folder."""
        return self.out / SCORES / method.name

    def ranking(self, which: str) -> Path:
        """Return the ranking of `ALL` or `TEAMS`."""
        return self.out / "ranking" / which

    def cases_with(self, given: MrInput) -> Path:
        """Return the test cases with another MR, or without."""
        return self.out / "inputs" / given.slug

    def mr_trial(self, method: Method, given: MrInput) -> Path:
        """Return the predictions and scores of a method on such cases."""
        return self.out / "mr" / method.name / given.slug

    @property
    def real_cases(self) -> Path:
        """The real patients that are scored."""
        return self.out / "real" / "cases"

    @property
    def real_training_cases(self) -> Path:
        """The real patients that are trained on."""
        return self.out / "real" / "train"

    @property
    def real_references(self) -> Path:
        """The label maps of what was drawn on them."""
        return self.out / "real" / "references"

    def real(self, name: str) -> Path:
        """Return predictions and scores of a method on real patients."""
        return self.out / "real" / "methods" / name

    def real_training(self, method: Method) -> Path:
        """Return what `hanseg train` writes of real patients."""
        return self.out / "real" / "trainings" / method.name

    @property
    def samples(self) -> Path:
        """The prepared samples of all trainings."""
        return self.out / "samples"

    @property
    def models(self) -> Path:
        """The installed models."""
        return self.out / "models"

    @property
    def report(self) -> Path:
        """The page and its pictures."""
        return self.out / "report"

    @property
    def records(self) -> Path:
        """The ledger's."""
        return self.out / "steps"

    def log(self, stage: str, subject: str) -> Path:
        """Return the file of a step's words."""
        return self.out / "logs" / f"{stage}-{subject}.log"


def around(seed: int) -> tuple[str, ...]:
    """Return what lies around a patient, as `hanseg phantom --around` has it."""
    rng = np.random.default_rng((seed, 3))
    return tuple(name for name, share in AROUND_SHARES.items() if rng.random() < share)


def cases_in(folder: Path) -> frozenset[str]:
    """Return the cases that are whole: the table, where they are entered last."""
    table = folder / SET_FOLDER / TABLE
    if not table.exists():
        return frozenset()
    with table.open(newline="") as file:
        return frozenset(row[0] for row in csv.reader(file, delimiter=";") if row)
