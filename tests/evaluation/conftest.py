"""Small pictures: the tests look at what is in a report, not at its pixels."""

import pytest

from hanseg_lab.evaluation import evaluation, pictures


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch):
    monkeypatch.setattr(pictures, "DOTS_PER_INCH", 30)
    monkeypatch.setattr(evaluation, "WORST_SHOWN", 2)
