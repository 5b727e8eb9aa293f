"""The tests of a file, and those of a group, run in one process; long ones begin."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.sharing_out import FileScheduling, longest_first


@pytest.mark.parametrize(
    ("nodeid", "scope"),
    [
        ("tests/io/test_a.py::test_one", "tests/io/test_a.py"),
        ("tests/io/test_a.py::TestB::test_one[a::b@c]", "tests/io/test_a.py"),
        ("tests/e2e/test_a.py::test_one@e2e", "e2e"),
        ("tests/e2e/test_b.py::test_two[x]@e2e", "e2e"),
    ],
)
def test_a_file_or_a_group_is_shared_out_whole(nodeid: str, scope: str):
    scheduling = FileScheduling.__new__(FileScheduling)
    assert scheduling._split_scope(nodeid) == scope


def test_files_of_long_tests_come_first_and_stay_whole():
    def item(file: str, *marks: str) -> Any:
        return SimpleNamespace(
            path=Path(file), get_closest_marker=lambda name: name in marks or None
        )

    short, trains, road = item("a"), item("b", "torch"), item("c", "torch", "e2e")
    beside = item("b")
    assert longest_first([short, beside, trains, road]) == [road, beside, trains, short]
