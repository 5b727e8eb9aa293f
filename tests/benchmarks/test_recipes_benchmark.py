"""The table of all recipes, with a product that is faked but for its files."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import recipes

from hanseg_lab.training.log import COLUMNS, LOG_FILE
from hanseg_lab.training.recipe import read_recipe, recipe_names
from hanseg_segmentation.packages.installed import shipped_models
from hanseg_segmentation.packages.package import read_package


class FakeProduct:
    """Answers the commands with files as the real one leaves them.

    Attributes:
        losses: Cross-entropy in the rows of a training's log; its Dice loss is 0.5.
        folds: Networks that a training makes.
    """

    def __init__(self) -> None:
        self.losses = (3.0, 2.0, 1.0)
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
            summary = {"overall": {"DSC": {"mean": 0.43210987}}}
            (out / "summary.json").write_text(json.dumps(summary))
        return 1.26

    def write_log(self, folder: Path, fold: int) -> None:
        folder.mkdir(exist_ok=True)
        with (folder / LOG_FILE).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            for number, loss in enumerate(self.losses, start=1):
                row = {"cross_entropy": loss + fold, "dice_loss": 0.5}
                writer.writerow({"iteration": 20 * number, **row})

    def options(self, command: str) -> dict[str, str]:
        words = next(each for each in self.commands if each[0] == command)
        named = [at for at, word in enumerate(words[:-1]) if word.startswith("--")]
        return {words[at]: words[at + 1] for at in named}


@pytest.fixture
def product(monkeypatch: pytest.MonkeyPatch) -> FakeProduct:
    fake = FakeProduct()
    monkeypatch.setattr(recipes, "hanseg", fake)
    return fake


def run(name: str, out: Path) -> recipes.Row:
    return recipes.run(read_recipe(name), out / "teach", out / "test", out, 4)


def test_a_recipe_is_trained_served_and_scored(product, tmp_path):
    row = run("eli1", tmp_path)
    assert [words[0] for words in product.commands] == ["train", "batch", "evaluate"]
    assert (row.recipe, row.train_seconds, row.dsc) == ("eli1", 1.3, 0.4321)


def test_the_package_is_served_under_a_name_of_its_own(product, tmp_path):
    run("eli1", tmp_path)
    assert read_package(tmp_path / "models" / "eli1-smoke").name == "eli1-smoke"
    assert product.options("batch")["--model"] == "eli1-smoke"
    assert tmp_path / "models" in product.models


@pytest.mark.parametrize(
    ("name", "kind", "backend"),
    [("chb-quantif", "affine", "ants"), ("cwlg102", "none", None)],
)
def test_each_recipe_is_served_with_its_own_registration(
    product, tmp_path, name, kind, backend
):
    run(name, tmp_path)
    assert product.options("batch")["--registration"] == kind
    assert product.options("batch").get("--backend") == backend


def test_the_table_has_a_line_for_every_recipe(product, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["recipes.py", "--out", str(tmp_path)])
    assert recipes.main() == 0
    rows = json.loads((tmp_path / "recipes.json").read_text())
    assert [row["recipe"] for row in rows] == list(recipe_names())
    assert capsys.readouterr().out.count("\n| ") == 1 + len(rows)


@pytest.mark.parametrize(("folds", "losses"), [(1, (3.5, 1.5)), (3, (4.5, 2.5))])
def test_a_line_says_from_where_to_where_the_loss_fell(
    product, tmp_path, folds, losses
):
    product.folds = folds
    row = run("cwlg102", tmp_path)
    assert (row.first_loss, row.last_loss) == losses


def test_a_recipe_that_learns_nothing_fails(product, tmp_path, monkeypatch, capsys):
    product.losses = (3.0, 1.0, 3.0)
    arguments = ["recipes.py", "--recipes", "eli1", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", arguments)
    assert recipes.main() == 1
    assert "did not fall: eli1" in capsys.readouterr().err


def test_too_few_iterations_to_see_a_loss_fall_are_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["recipes.py", "--iterations", "39"])
    with pytest.raises(SystemExit):
        recipes.main()
    assert "it takes 40 iterations" in capsys.readouterr().err
