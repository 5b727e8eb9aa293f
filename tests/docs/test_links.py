"""Every link within the pages, and every mention of a page in the code, leads there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import FENCE, PROJECT, anchors_of, pages

LINK = re.compile(r"\]\(([^)\s]+)\)")
MENTION = re.compile(r"\bdocs/[\w./-]+\.(?:md|png)\b")
SOURCES = ["shared", "services", "lab", "benchmarks", "deploy", "tests"]
KINDS = {".py", ".toml", ".json", ".txt", ".sh", ".conf", ".css", ".js", ".html"}


def links_of(page: Path) -> list[str]:
    found = LINK.findall(FENCE.sub("", page.read_text("utf-8")))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_relative_link_leads_to_a_file_and_a_heading(page: Path):
    wrong = []
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            wrong.append(link)
    assert not wrong


def test_every_page_and_picture_can_be_reached_from_the_readme():
    reached, to_visit = set(), [PROJECT / "README.md"]
    while to_visit:
        page = to_visit.pop()
        if page in reached:
            continue
        reached.add(page)
        if page.suffix == ".md":
            paths = [link.partition("#")[0] for link in links_of(page)]
            to_visit += [(page.parent / path).resolve() for path in paths if path]
    files = [path for path in (PROJECT / "docs").rglob("*") if path.is_file()]
    assert not set(files) - reached


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_module_that_a_page_mentions_is_there(page: Path):
    modules = [
        path.relative_to(PROJECT).as_posix()
        for source in SOURCES
        for path in (PROJECT / source).rglob("*.py")
    ]
    mentions = set(re.findall(r"`([\w./-]+\.py)`", page.read_text("utf-8")))
    assert not [
        name
        for name in mentions
        if not any(f"/{module}".endswith(f"/{name}") for module in modules)
    ]


def test_every_page_that_the_code_mentions_is_there():
    files = [
        *PROJECT.glob("*.toml"),
        *(PROJECT / name for name in ("Makefile", "docker-compose.yml", ".env")),
        *(
            path
            for source in SOURCES
            for path in (PROJECT / source).rglob("*")
            if path.suffix in KINDS or path.name == "Dockerfile"
        ),
    ]
    wrong = {
        f"{file.relative_to(PROJECT)}: {mention}"
        for file in files
        for mention in MENTION.findall(file.read_text("utf-8"))
        if not (PROJECT / mention).exists()
    }
    assert not wrong
