"""The page of statuses lists everything the code can say, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hanseg_registration.verdict import CHECKS
from hanseg_segmentation.quality.anatomy import anatomy
from hanseg_shared.documents import JobState, MrVerdict, ReviewState
from hanseg_shared.flags import DOUBTS, MEANINGS, FlagCode, Meaning
from hanseg_shared.organs import OrganStatus

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "statuses.md"


def rows_of(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table below a heading, by their code."""
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    rows: dict[str, list[str]] = {}
    for line in section.splitlines():
        found = re.fullmatch(r"\| `(\w+)` \| (.*) \|", line)
        if found:
            assert found[1] not in rows, f"{found[1]} stands twice"
            rows[found[1]] = [cell.strip() for cell in found[2].split("|")]
    return rows


@pytest.mark.parametrize(
    ("heading", "words"),
    [
        ("Job states", JobState),
        ("Review states", ReviewState),
        ("Organ statuses", OrganStatus),
        ("Flags", FlagCode),
        ("Verdicts on the MR", MrVerdict),
        ("Plausible volumes", anatomy().organs),
        (
            "Why an MR is rejected",
            ["transform_is_finite", *(check.measure for check in CHECKS)],
        ),
    ],
)
def test_the_page_lists_every_word_once_and_no_other(heading, words):
    assert set(rows_of(heading)) == {str(word) for word in words}


def numbers_of(meaning: Meaning) -> str:
    if meaning.number is None:
        return ""
    return f"`{meaning.number}`" + (", `limit`" if meaning.limited else "")


@pytest.mark.parametrize("code", FlagCode)
def test_a_flag_is_explained_as_the_code_explains_it(code):
    number, kind, sentence = rows_of("Flags")[code]
    assert sentence == MEANINGS[code].sentence
    assert number == numbers_of(MEANINGS[code])
    assert kind == ("doubt" if code in DOUBTS else "remark")


def test_the_plausible_volumes_are_those_of_the_checks():
    for name, row in rows_of("Plausible volumes").items():
        expected = anatomy().organs[name]
        volumes = [f"{expected.smallest_ml:g}", f"{expected.largest_ml:g}"]
        assert row == [*volumes, expected.source], name


def test_a_final_state_is_called_so():
    for state in JobState:
        said = rows_of("Job states")[state][0].startswith("final")
        assert said == state.is_final
