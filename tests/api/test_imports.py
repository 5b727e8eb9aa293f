"""What the API's process must not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = (
    "import sys, hanseg_segmentation.api.server; "
    "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
)


@pytest.fixture(scope="module")
def loaded() -> set[str]:
    """The packages that a fresh API process has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "package", ["torch", "numba", "SimpleITK", "hanseg_registration"]
)
def test_the_api_does_without(loaded: set[str], package: str):
    assert package not in loaded


def test_the_api_was_loaded(loaded: set[str]):
    assert {"fastapi", "hanseg_segmentation", "hanseg_shared"} <= loaded
