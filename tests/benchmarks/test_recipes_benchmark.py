"""The proof that recipes can learn, with a product that is faked but for its files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import recipes

from hanseg_lab.evaluation.scores import COLUMNS as SCORE_COLUMNS
from hanseg_lab.training.learnt import BY_HEART_DSC, Learnt
from hanseg_lab.training.log import COLUMNS, LOG_FILE
from hanseg_lab.training.recipe import read_recipe, recipe_names
from hanseg_segmentation.packages.installed import shipped_models
from hanseg_segmentation.packages.package import read_package
from hanseg_shared import available


class FakeProduct:
    """Answers the commands with files as the real one leaves them.

    Attributes:
        dsc: Dice of the organs that a model finds.
        exchanged: Organs that it contours where their counterpart is.
        folds: Networks that a training makes.
    """

    def __init__(self) -> None:
        self.dsc: dict[str, dict[str, float]] = {}
        self.exchanged: tuple[str, ...] = ()
        self.folds = 1
        self.commands: list[list[str]] = []
        self.models: list[Path | None] = []

    def __call__(
        self, arguments: Sequence[object], *, models: Path | None = None
    ) -> float:
        words = [str(each) for each in arguments]
        self.commands.append(words)
        self.models.append(models)
        out = Path(words[words.index("--out") + 1])
        out.mkdir(parents=True, exist_ok=True)
        if words[0] == "train":
            shutil.copytree(shipped_models() / "default", out / "model")
            file = out / "model" / "model.json"
            named = {"name": words[words.index("--name") + 1]}
            file.write_text(json.dumps(json.loads(file.read_text()) | named))
            for fold in range(self.folds):
                self.write_log(out / f"fold_{fold}" if self.folds > 1 else out, fold)
        if words[0] == "evaluate":
            self.write_scores(out)
        return 1.26

    def write_log(self, folder: Path, fold: int) -> None:
        folder.mkdir(exist_ok=True)
        with (folder / LOG_FILE).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for number, loss in enumerate((3.0, 2.0, 1.0), start=1):
                row = {"cross_entropy": loss + fold, "dice_loss": 0.5}
                writer.writerow({"iteration": 20 * number, **row})

    def write_scores(self, out: Path) -> None:
        scores = self.dsc.get(out.name, {"Lips": 1.0, "Glottis": 0.8})
        with (out / "results.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(SCORE_COLUMNS)
            for organ, value in scores.items():
                writer.writerow(["case_9001", organ, "DSC", value])

    def learn(self, scores: Path, _predictions: Path, _references: Path) -> Learnt:
        with scores.open(newline="") as file:
            values = {row["organ"]: float(row["value"]) for row in csv.DictReader(file)}
        return Learnt(values, self.exchanged)

    def options(self, command: str) -> dict[str, str]:
        words = next(each for each in self.commands if each[0] == command)
        named = [at for at, word in enumerate(words[:-1]) if word.startswith("--")]
        return {words[at]: words[at + 1] for at in named}


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> FakeProduct:
    fake = FakeProduct()
    monkeypatch.setattr(recipes, "hanseg", fake)
    monkeypatch.setattr(recipes, "read_learnt", fake.learn)
    return fake


def run(name: str, out: Path) -> recipes.Row:
    return recipes.run(read_recipe(name), out / "patient", out, None).row


def run_command(monkeypatch, out: Path, names: str) -> int:
    arguments = ["recipes.py", "--recipes", names, "--out", str(out)]
    monkeypatch.setattr("sys.argv", arguments)
    return recipes.main()


def test_a_recipe_is_trained_served_and_scored(product, tmp_path):
    row = run("eli1", tmp_path)
    assert [words[0] for words in product.commands] == ["train", "batch", "evaluate"]
    assert "--by-heart" in product.commands[0]
    assert (row.recipe, row.train_seconds, row.dsc) == ("eli1", 1.3, 0.9)
    assert (row.worst_organ, row.worst_dsc) == ("Glottis", 0.8)


def test_the_same_patient_is_learnt_and_asked_for(product, tmp_path):
    run("eli1", tmp_path)
    patient = str(tmp_path / "patient")
    assert product.options("train")["--data"] == patient
    assert product.commands[1][1] == product.commands[2][2] == patient


def test_the_package_is_served_under_a_name_of_its_own(product, tmp_path):
    run("eli1", tmp_path)
    name = "eli1-by-heart"
    assert read_package(tmp_path / "models" / name).name == name
    assert product.options("batch")["--model"] == name
    assert tmp_path / "models" in product.models


def test_a_second_run_replaces_the_first(product, tmp_path):
    run("eli1", tmp_path)
    old = tmp_path / "results" / "eli1" / "old"
    old.touch()
    assert run("eli1", tmp_path).by_heart
    assert not old.exists()


@pytest.mark.parametrize(
    ("name", "kind", "backend"),
    [("chb-quantif", "affine", "ants"), ("cwlg102", "none", None)],
)
def test_each_recipe_is_served_with_its_own_registration(
    product, tmp_path, monkeypatch, name, kind, backend
):
    monkeypatch.setenv("HANSEG_ANTS_PYTHON", "/opt/ants/bin/python")
    row = run(name, tmp_path)
    assert product.options("batch")["--registration"] == kind
    assert product.options("batch").get("--backend") == backend
    assert row.registration == " ".join(filter(None, (kind, backend)))


def test_a_backend_that_is_not_installed_is_replaced_and_named(
    product, tmp_path, monkeypatch
):
    monkeypatch.delenv("HANSEG_ANTS_PYTHON", raising=False)
    monkeypatch.setattr(available, "find_spec", lambda _: None)
    row = run("chb-quantif", tmp_path)
    assert product.options("batch")["--backend"] == "elastix"
    assert row.registration == "affine elastix"
    trained = read_recipe(product.commands[0][1]).registration
    assert trained is not None
    assert trained.backend == "elastix"


def test_the_table_has_a_line_for_every_recipe(product, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["recipes.py", "--out", str(tmp_path)])
    assert recipes.main() == 0
    rows = json.loads((tmp_path / "recipes.json").read_text())
    assert [each["row"]["recipe"] for each in rows] == list(recipe_names())
    assert capsys.readouterr().out.count("\n| ") == 1 + len(rows)


@pytest.mark.parametrize(("folds", "losses"), [(1, (3.5, 1.5)), (3, (4.5, 2.5))])
def test_a_line_says_from_where_to_where_the_loss_fell(
    product, tmp_path, folds, losses
):
    product.folds = folds
    row = run("cwlg102", tmp_path)
    assert (row.first_loss, row.last_loss) == losses
    assert row.iterations == 60


def test_the_file_has_the_whole_curve_and_every_organ(product, tmp_path, monkeypatch):
    run_command(monkeypatch, tmp_path, "eli1")
    (result,) = json.loads((tmp_path / "recipes.json").read_text())
    assert [row["iteration"] for row in result["curve"]] == [20, 40, 60]
    assert result["organs"] == {"Lips": 1.0, "Glottis": 0.8}


def test_a_recipe_that_cannot_learn_fails_and_is_named(
    product, tmp_path, monkeypatch, capsys
):
    product.dsc["mamaa"] = {"Lips": BY_HEART_DSC - 0.01}
    assert run_command(monkeypatch, tmp_path, "eli1,mamaa,default") == 1
    assert capsys.readouterr().err.strip().endswith(": mamaa")


def test_a_recipe_with_exchanged_sides_fails(product, tmp_path, monkeypatch, capsys):
    product.exchanged = ("Parotid_L",)
    assert run_command(monkeypatch, tmp_path, "eli1") == 1
    assert "sides right): eli1" in capsys.readouterr().err
    (result,) = json.loads((tmp_path / "recipes.json").read_text())
    assert (result["row"]["sides_right"], result["exchanged"]) == (False, ["Parotid_L"])
