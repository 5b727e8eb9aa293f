"""A time of day that a test sets, for all processes of a house and nobody else."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    """A library that processes load, and the file that says by how much they err.

    Args:
        folder: Where both are made.
    """

    def __init__(self, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler, and so no clock to set")
        self._library, self._offset = folder / "clock.so", folder / "clock.offset"
        subprocess.run(
            [compiler, "-O2", "-shared", "-fPIC", "-o", self._library, SOURCE],
            check=True,
        )
        self._offset.write_bytes(struct.pack("q", 0))

    @property
    def environment(self) -> dict[str, str]:
        """The variables of processes that see this clock."""
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK": str(self._offset)}

    def set_forward(self, seconds: int) -> None:
        """Set the clock by so many seconds off, at once and for all."""
        with self._offset.open("r+b") as file:  # the file that is mapped stays
            file.write(struct.pack("q", seconds))
