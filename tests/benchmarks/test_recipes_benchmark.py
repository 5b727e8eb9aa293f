"""The table of all recipes, with a product that is faked but for its files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from benchmarks import recipes

from hanseg_segmentation.model_package import read_package, shipped_models
from hanseg_segmentation.training.recipe import read_recipe, recipe_names


class FakeProduct:
    """Answers the commands with files as the real one leaves them."""

    def __init__(self) -> None:
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
        if words[0] == "evaluate":
            summary = {"overall": {"DSC": {"mean": 0.43210987}}}
            (out / "summary.json").write_text(json.dumps(summary))
        return 1.26

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
