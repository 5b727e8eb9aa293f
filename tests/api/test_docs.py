"""What is written about the API, on its page and in the repository, is complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_segmentation.api.http import problem_responses as problems
from hanseg_segmentation.api.routes.docs_page import page
from hanseg_shared.problems import KINDS, ProblemKind
from tests.api.test_openapi import METHODS

WRITTEN = Path(__file__).parents[2] / "docs" / "reference" / "api.md"

ANSWERED = [each for each in vars(problems).values() if isinstance(each, ProblemKind)]


@pytest.fixture(scope="module")
def written() -> str:
    return WRITTEN.read_text()


@pytest.mark.parametrize("path", METHODS)
def test_every_resource_is_written_about(written: str, path: str):
    assert path in written


@pytest.mark.parametrize("kind", ANSWERED, ids=lambda kind: kind.slug)
def test_every_problem_of_the_api_is_written_about(written: str, kind: ProblemKind):
    row = next(x for x in written.splitlines() if x.startswith(f"| {kind.status} "))
    assert f"`{kind.slug}`" in row


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.slug)
def test_every_image_problem_is_written_about(written: str, kind: ProblemKind):
    if "image" in kind.slug:
        assert f"`{kind.slug}`" in written


def test_the_page_shows_every_operation(api):
    answer = api.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    for path in METHODS:
        assert path in answer.text
    assert answer.text.count("<section>") == sum(map(len, METHODS.values()))


def test_the_page_needs_nothing_from_elsewhere(api):
    answer = api.get("/docs")
    assert "<script" not in answer.text
    assert "http" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_shows_text_as_text():
    document = {
        "info": {"title": "<b>", "version": "1", "summary": "&", "description": "<"},
        "tags": [],
        "paths": {},
    }
    assert "<b>" not in page(document).partition("<small>")[0]
