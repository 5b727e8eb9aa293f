"""Damaged and hostile archives: each ends in its own sentence, and leaves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from hanseg_shared.errors import InputError
from hanseg_shared.io.dicom.convert import convert_case
from tests.io.dicom.hostile_archives import archives
from tests.io.dicom.hostile_slices import slices

CASES = archives() | slices()


def open_files() -> set[str]:
    """Return the numbers of this process's open files."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_archive_is_refused_in_one_sentence(tmp_path, name):
    content, pattern = CASES[name]
    path, out = tmp_path / "study.zip", tmp_path / "out"
    path.write_bytes(content)
    out.mkdir()
    open_before = open_files()

    with pytest.raises(InputError, match=pattern) as caught:
        convert_case(path, None, None, out)

    message = caught.value.message
    assert message.startswith("study.zip")
    assert message.isprintable()
    assert len(message) < 500
    assert list(out.iterdir()) == []
    assert open_files() == open_before


def test_there_are_a_hundred_of_them_and_each_says_something_else():
    assert len(CASES) >= 100
    sentences = {pattern for _, pattern in CASES.values()}
    assert len(sentences) > 70
