"""What ships is free of licences that would bind it, as installed metadata state."""

from __future__ import annotations

from typing import Any

import pytest
from deploy.sbom import (
    IMAGES,
    PAGES,
    PagePackage,
    _choose,
    _with_page,
    find_packages,
    find_page_packages,
    is_copyleft,
    licence_of,
)


@pytest.mark.parametrize("image", IMAGES)
def test_nothing_that_ships_is_under_the_gpl(image, monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    licences = {n: licence_of(each) for n, each in find_packages(IMAGES[image]).items()}
    assert len(licences) > 15
    assert "not stated" not in licences.values()
    assert not {name: each for name, each in licences.items() if is_copyleft(each)}


def test_an_image_holds_what_its_packages_bring(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)
    found = find_packages(IMAGES["hanseg-segmentation"])
    assert {"torch", "sympy", "mpmath", "psycopg-binary", "vine"} <= set(found)
    assert not set(found) & {"pytest", "ruff", "httpx", "fastapi"}


@pytest.mark.parametrize(
    "licence",
    ["GPL-3.0-or-later", "AGPL-3.0", "GPLv2", "MIT AND GPL-2.0-only",
     "GNU General Public License v3 (GPLv3)", "GPL-2.0 OR AGPL-3.0"],
)  # fmt: skip
def test_the_gpl_is_recognised(licence):
    assert is_copyleft(licence)


@pytest.mark.parametrize(
    "licence",
    ["MIT", "LGPL-3.0-only", "GPL-2.0 OR MIT", "GNU Lesser General Public License v3",
     "GPL-3.0-or-later WITH GCC-exception-3.1"],
)  # fmt: skip
def test_other_licences_are_not(licence):
    assert not is_copyleft(licence)


def test_a_document_lists_only_what_its_image_holds():
    whole: dict[str, Any] = {
        "components": [{"name": n, "bom-ref": n} for n in ("Rich", "pytest", "numpy")],
        "dependencies": [{"ref": "Rich", "dependsOn": ["numpy", "pytest"]},
                         {"ref": "pytest"}],
    }  # fmt: skip
    document = _choose(whole, "hanseg-x", {"rich", "numpy"})
    assert [each["name"] for each in document["components"]] == ["Rich", "numpy"]
    assert document["dependencies"] == [
        {"ref": "hanseg-x", "dependsOn": ["Rich", "numpy"]},
        {"ref": "Rich", "dependsOn": ["numpy"]},
    ]
    assert document["metadata"]["component"]["name"] == "hanseg-x"


def test_what_the_page_is_made_of_ships_and_its_tools_do_not():
    found = {each.name: each for each in find_page_packages(PAGES["hanseg-api"])}
    assert {"preact", "@preact/signals", "@preact/signals-core"} <= set(found)
    assert not set(found) & {"vite", "vitest", "typescript", "axe-core"}
    assert not {each.name for each in found.values() if is_copyleft(each.licence)}
    assert {len(each.sha512) for each in found.values()} == {128}


def test_a_document_names_the_packages_of_the_page():
    bare = {"components": [], "dependencies": [{"ref": "hanseg-x", "dependsOn": []}]}
    one = PagePackage("@a/one", "1.0.0", "MIT", "0" * 128, needs=("two",))
    two = PagePackage("two", "2.0.0", "ISC", "1" * 128)
    document = _with_page(bare, [one, two])
    named = [each["purl"] for each in document["components"]]
    assert named == ["pkg:npm/%40a/one@1.0.0", "pkg:npm/two@2.0.0"]
    assert document["components"][0]["licenses"] == [{"license": {"id": "MIT"}}]
    assert document["dependencies"] == [
        {"ref": "hanseg-x", "dependsOn": named},
        {"ref": named[0], "dependsOn": [named[1]]},
        {"ref": named[1], "dependsOn": []},
    ]
