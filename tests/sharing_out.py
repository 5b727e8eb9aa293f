"""Which tests run in which process: those of a file in one, the longest files first.

What a file's tests share is made once then, not once in each process. Short files come
last, so that no process works alone for long at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from xdist.scheduler import LoadGroupScheduling

LONGEST = ("e2e", "elastix", "torch")
"""Marks of what takes long, by falling length; a file counts as its longest test."""


class FileScheduling(LoadGroupScheduling):  # type: ignore[misc]
    """Hands out whole files, and the tests of an ``xdist_group`` together."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.split("::")[0]


def longest_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests, files of long ones first, in their order otherwise."""
    rank_of: dict[Path, int] = {}
    for item in items:
        found = [k for k, name in enumerate(LONGEST) if item.get_closest_marker(name)]
        rank = min(found, default=len(LONGEST))
        rank_of[item.path] = min(rank, rank_of.get(item.path, rank))
    return sorted(items, key=lambda item: rank_of[item.path])
