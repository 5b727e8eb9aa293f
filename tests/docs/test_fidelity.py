"""The page on the recipes' fidelity says what their files say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from hanseg_lab.training.recipe import read_recipe, recipe_names
from tests.docs.pages import PROJECT

PAGE = PROJECT / "docs" / "lab" / "fidelity.md"
FILES = PROJECT / "lab" / "hanseg_lab" / "training" / "recipes"

SYSTEMS = sorted(set(recipe_names()) - {"default", "default-fine"})

ALIKE = {
    "name",
    "version",
    "description",
    "sources",
    "inferred",
    "phantoms",
    "phantoms_a_batch",
    "real_a_batch",
    "average_decay",
    "sample_spacing_mm",
}
"""Settings that are no property of a method, or the same for all."""


def settings_of(system: str) -> dict[str, str]:
    """Return the values on the page by setting."""
    section = PAGE.read_text("utf-8").split(f"\n`{system}`. ")[1].split("\n## ")[0]
    rows = re.findall(r"^\|[^|]*\|[^|]*\| `([\w.]+)` \| `([^|]*)` \|", section, re.M)
    assert len(dict(rows)) == len(rows), "a setting has two lines"
    return dict(rows)


def value_of(settings: object, path: str) -> object:
    for part in path.split("."):
        assert isinstance(settings, dict)
        settings = settings[part]
    return settings


def leaves(settings: dict[str, object], before: str = "") -> set[str]:
    """Return the dotted names of everything that a file sets."""
    found = set()
    for name, value in settings.items():
        inside = isinstance(value, dict)
        path = before + name
        found |= leaves(value, f"{path}.") if inside else {path}  # type: ignore[arg-type]
    return found


def is_under(path: str, above: str) -> bool:
    return path == above or path.startswith(f"{above}.")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_page_says_what_the_recipe_does(system: str):
    recipe = read_recipe(system).model_dump(mode="json")
    for path, text in settings_of(system).items():
        assert json.loads(text) == value_of(recipe, path), f"{system}: {path}"


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_is_not_inferred_has_a_line(system: str):
    file: dict[str, object] = json.loads(Path(FILES, f"{system}.json").read_text())
    inferred = read_recipe(system).inferred
    said = [*settings_of(system), *inferred, *ALIKE]
    unsaid = {
        path for path in leaves(file) if not any(is_under(path, each) for each in said)
    }
    assert not unsaid


def test_every_difference_is_marked_and_explained():
    for line in PAGE.read_text("utf-8").splitlines():
        if "**differs**" in line:
            assert re.search(r"\*\*differs\*\*: \w+", line), line
