"""The same recipes on real patients: which commands, and what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_lab.challenge.ledger import Ledger
from hanseg_lab.challenge.methods import choose_methods
from hanseg_lab.challenge.places import Places
from hanseg_lab.challenge.real_patients import lay_out_learnt, lay_out_scored
from hanseg_lab.challenge.report import read_results, write_report
from hanseg_lab.challenge.run import run_steps
from hanseg_lab.challenge.scale import (
    budget_minutes,
    real_methods,
    scale_for_real_patients,
    scale_recipe,
)
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.challenge.stages import Stages
from hanseg_shared.errors import InputError
from tests.miniature.fakes import SMALL, FakeProduct, option


@pytest.fixture
def openkbp(tmp_path: Path) -> Path:
    """Return a data set of four cases to score, of which one was not drawn on."""
    folder = tmp_path / "openkbp"
    (folder / "train").mkdir(parents=True)
    (folder / "validation").mkdir()
    for name in ("3", "20"):
        (folder / "train" / f"{name}_ct.nii.gz").write_text(f"CT {name}")
        (folder / "train" / f"{name}_oars.nii.gz").write_text(f"OARs {name}")
    for name in ("9", "10", "11", "12"):
        (folder / "validation" / f"{name}_ct.nii.gz").write_text(f"CT {name}")
        if name != "10":
            (folder / "validation" / f"{name}_oars.nii.gz").write_text(f"OARs {name}")
    return folder


@pytest.fixture
def settings(openkbp: Path) -> ChallengeSettings:
    methods = ("eli1", "cwlg102", "default-CT", "nearest")
    return SMALL.model_copy(
        update={
            "openkbp": str(openkbp),
            "real_training_cases": 2,
            "real_cases": 2,
            "real_minutes": 2.0,
            "methods": methods,
        }
    )


def finish(out: Path, settings: ChallengeSettings, product: FakeProduct) -> Ledger:
    places = Places(out)
    stages = Stages(
        places, settings, product, lambda: write_report(places, settings, ledger)
    )
    ledger = Ledger(places.records, stages.steps())
    assert run_steps(ledger.steps, ledger, at_once=1) == ()
    return ledger


def real_commands(product: FakeProduct) -> list[tuple[str, ...]]:
    return [words for words in product.commands if "/real/" in " ".join(words)]


def test_cases_are_copied_with_their_contours_in_natural_order(
    openkbp: Path, tmp_path: Path
):
    cases, references = tmp_path / "cases", tmp_path / "references"
    (cases / "left over").mkdir(parents=True)
    lay_out_scored(openkbp, 2, cases, references)
    assert sorted(each.name for each in cases.iterdir()) == ["11", "9"]
    assert (cases / "9" / "9.nii.gz").read_text() == "CT 9"
    assert (references / "9.nii.gz").read_text() == "OARs 9"


def test_too_few_cases_are_refused(openkbp: Path, tmp_path: Path):
    with pytest.raises(InputError, match="has 3 cases"):
        lay_out_scored(openkbp, 4, tmp_path / "cases", tmp_path / "references")
    with pytest.raises(InputError, match="has 2 cases"):
        lay_out_learnt(openkbp, 3, tmp_path / "train")


def test_cases_to_train_on_are_copied_as_they_are(openkbp: Path, tmp_path: Path):
    lay_out_learnt(openkbp, 1, tmp_path / "train")
    assert sorted(each.name for each in (tmp_path / "train").iterdir()) == [
        "3_ct.nii.gz",
        "3_oars.nii.gz",
    ]


def test_without_the_data_nobody_is_tried():
    assert real_methods(SMALL) == ()


def test_every_recipe_is_tried_once(settings: ChallengeSettings):
    assert [each.name for each in real_methods(settings)] == ["eli1", "cwlg102"]


@pytest.mark.parametrize(("name", "minutes"), [("eli1", 2.0), ("cwlg102", 4.0)])
def test_their_budget_is_their_own_and_the_scale_the_same(
    settings: ChallengeSettings, name: str, minutes: float
):
    (method,) = choose_methods([name])
    real, simulated = (
        scale_for_real_patients(method, settings),
        scale_recipe(method, settings),
    )
    assert real.processor_minutes is not None
    assert real.processor_minutes * real.networks == pytest.approx(minutes)
    assert budget_minutes(method, settings) == 4 * minutes
    assert real.network == simulated.network
    assert real.name != simulated.name


def test_each_is_trained_contours_and_is_scored(
    settings: ChallengeSettings, tmp_path: Path
):
    product = FakeProduct()
    finish(tmp_path / "out", settings, product)
    commands = real_commands(product)
    assert [words[1] for words in commands] == [
        *["train"] * 2,
        *["batch", "evaluate"] * 3,
    ]
    trained = [words for words in commands if words[1] == "train"]
    assert all(option(words, "--data").endswith("/train") for words in trained)
    models = [option(words, "--model") for words in commands if words[1] == "batch"]
    assert models == ["challenge-eli1-real", "challenge-cwlg102-real", "default"]
    assert all("--registration" not in words for words in commands)
    scored = [words for words in commands if words[1] == "evaluate"]
    assert all(words.count("--labels") == 2 for words in scored)


def test_a_training_on_real_patients_that_was_killed_goes_on(
    settings: ChallengeSettings, tmp_path: Path
):
    number = next(
        n
        for n, words in enumerate(_all_commands(settings, tmp_path / "whole"))
        if words[1] == "train" and "/real/" in " ".join(words)
    )
    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        finish(out, settings, FakeProduct(interrupt_at=number, half_done=True))
    product = FakeProduct()
    finish(out, settings, product)
    assert "--resume" in real_commands(product)[0]


def _all_commands(settings: ChallengeSettings, out: Path) -> list[tuple[str, ...]]:
    product = FakeProduct()
    finish(out, settings, product)
    return product.commands


def test_the_page_has_them_beside_the_model_that_ships(
    settings: ChallengeSettings, tmp_path: Path
):
    ledger = finish(tmp_path / "out", settings, FakeProduct())
    places = Places(tmp_path / "out")
    page = (places.report / "challenge.md").read_text()
    assert settings.openkbp not in page  # pages are published
    section = page.split("## Real patients")[1].split("\n## ")[0]
    assert "| organ | eli1 | cwlg102 | shipped |" in section
    assert "for 2 minutes of the processor each (4 where" in section
    real = read_results(places, settings, ledger).real
    assert real is not None
    assert real.methods == ("eli1", "cwlg102", "shipped")


def test_where_the_data_lie_is_no_other_scale(settings: ChallengeSettings):
    assert "openkbp" not in settings.differences
    assert "real_cases" in settings.differences
