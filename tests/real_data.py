"""Where the real cases are, for the tests that need one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_PROJECT = Path(__file__).resolve().parents[1]


def real_data(*parts: str) -> Path:
    """Return a path among the real cases, or skip the test and say why.

    The folder is `HANSEG_REAL_DATA` if that is set, else `../shared/data` seen from
    the project's root.
    """
    named = os.environ.get("HANSEG_REAL_DATA")
    folder = Path(named) if named else _PROJECT.parent / "shared" / "data"
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"there is no {'/'.join(parts)} among the real cases")
    return path
