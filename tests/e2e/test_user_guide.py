"""The user guide's commands, run in order, do what the guide says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hanseg_shared.documents import JobState
from hanseg_shared.stack import Stack
from tests.docs.pages import PROJECT

GUIDE = PROJECT / "docs" / "tutorial" / "user-guide.md"
SERVE = ".venv/bin/hanseg serve"
ADDRESS = "http://127.0.0.1:8000"
PROGRAMS = {
    "hanseg": '-c "from hanseg_shared.cli import main; main()" "$@"',
    "python": '"$@"',
}


def blocks() -> list[str]:
    """Return the guide's fenced blocks; each is one of commands."""
    fences = re.findall(r"^```(\w*)\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
    assert {language for language, _ in fences} == {"sh"}
    return [text for _, text in fences]


def is_make(block: str) -> bool:
    return block.startswith("make ")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the project's after `make setup`."""
    home = tmp_path_factory.mktemp("project")
    (home / ".venv" / "bin").mkdir(parents=True)
    for name, arguments in PROGRAMS.items():
        program = home / ".venv" / "bin" / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments}\n')
        program.chmod(0o755)
    return home


@pytest.fixture(scope="module")
def said(home: Path, stack: Stack) -> dict[str, str]:
    """What each block printed; `make setup` and `hanseg serve` are already done."""
    stack.wait_until_ready()
    said = {}
    for block in blocks():
        if is_make(block) or block.strip() == SERVE:
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block.replace(ADDRESS, stack.url)],
            cwd=home,
            env=os.environ | {"HANSEG_URL": stack.url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        said[block] = done.stdout
    return said


def output(said: dict[str, str], part: str) -> str:
    (found,) = [text for block, text in said.items() if part in block]
    return found


def test_only_what_sets_up_and_serves_is_not_run():
    left_out = [b.strip() for b in blocks() if is_make(b) or b.strip() == SERVE]
    assert left_out == ["make setup", SERVE]
    assert re.search(r"^setup:", (PROJECT / "Makefile").read_text(), re.MULTILINE)


def test_segment_prints_every_organ(said):
    assert "SpinalCord" in output(said, "hanseg segment")


def test_the_result_has_the_files_that_the_guide_names(said, home):
    listed = output(said, "ls results/case_01")
    text = GUIDE.read_text()
    for name in set(re.findall(r"`(\w+\.(?:png|json|nii\.gz))`", text)):
        assert name in listed, name
    assert (home / "scores" / "report.html").is_file()


def test_the_record_is_read_as_the_guide_reads_it(said):
    assert output(said, "import json").startswith("MR: used - ")


def test_a_form_makes_a_job_that_is_listed(said):
    printed = output(said, "curl")
    job, end = json.JSONDecoder().raw_decode(printed)
    assert JobState(job["state"]) is JobState.QUEUED
    assert job["id"] in printed[end:]


def test_the_masks_are_scored_against_the_truth(said):
    assert "Parotid_L" in output(said, "hanseg evaluate")
