"""The architecture page names only what is there, and answers what it must."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import PROJECT

PAGE = PROJECT / "docs" / "architecture.md"
ROOTS = ("shared/", "services/", "lab/", "tests/", "docs/", "benchmarks/", "deploy/")
QUESTIONS = [
    "another organ",
    "a stricter verdict",
    "another file format",
    "a new flag",
    "a new route",
    "another loss",
    "a new column in the jobs table",
    "another broker",
    "another colour",
    "another picture",
]


def paths_of(text: str) -> list[str]:
    return [path for path in re.findall(r"`([^`\n]+)`", text) if path.startswith(ROOTS)]


def answers() -> dict[str, str]:
    """Return the file each change leads to, by the change's name."""
    table = PAGE.read_text("utf-8").split("\n## Where do I change X?\n")[1]
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|", table, re.MULTILINE)
    return {what.strip(): where for what, where in rows}


@pytest.mark.parametrize("name", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_every_path_that_a_page_names_is_there(name: str):
    named = paths_of((PROJECT / name).read_text("utf-8"))
    assert len(named) > 5
    assert not [path for path in named if not (PROJECT / path).exists()]


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_change_leads_to_one_place(question: str):
    assert len(paths_of(answers()[question])) == 1


@pytest.mark.parametrize(
    "package",
    [
        "shared/hanseg_shared",
        "services/registration/hanseg_registration",
        "services/segmentation/hanseg_segmentation",
        "services/dicom/hanseg_dicom",
        "lab/hanseg_lab",
    ],
)
def test_every_room_is_described(package: str):
    rooms = {
        f"{package}/{path.name}/"
        for path in (PROJECT / package).iterdir()
        if path.is_dir() and path.name[0].isalpha() and any(path.glob("[!_.]*.*"))
    }
    assert not rooms - set(paths_of(PAGE.read_text("utf-8")))
