"""A small data set in HaN-Seg's layout, made once and copied for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.training.layouts import write_han_seg


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_han_seg(tmp_path_factory.mktemp("data") / "han-seg")


@pytest.fixture
def han_seg(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "han-seg"))
