"""The disk that all hosts mount: it can hang, as a file server that does not answer.

It is a file system in a file. Where the kernel cannot mount one, a plain folder takes
its place, and tests that have it hang are skipped.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE = "512M"


@dataclass(frozen=True, slots=True)
class SharedDisk:
    """A folder that all hosts see; see `make`.

    Attributes:
        folder: Where it is.
        is_mounted: Whether it can hang.
    """

    folder: Path
    is_mounted: bool

    @classmethod
    def make(cls, folder: Path) -> SharedDisk:
        """Make an empty one at a folder."""
        folder.mkdir(mode=0o700)
        image = folder.with_name("disk.ext4")
        mounted = all(
            _succeeds(*command)
            for command in (
                ("truncate", "--size", SIZE, str(image)),
                ("mkfs.ext4", "-q", str(image)),
                ("mount", "-o", "loop", str(image), str(folder)),
            )
        )
        if mounted:
            (folder / "lost+found").rmdir()
        return cls(folder, mounted)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Let whoever writes to it wait while the body runs."""
        if not self.is_mounted or not _succeeds("fsfreeze", "-f", str(self.folder)):
            pytest.skip("no file system can be mounted here, and so none hangs")
        try:
            yield
        finally:
            _succeeds("fsfreeze", "-u", str(self.folder))

    def remove(self) -> None:
        """Unmount it; nobody must use it any more."""
        if self.is_mounted:
            _succeeds("umount", "--lazy", str(self.folder))


def _succeeds(*command: str) -> bool:
    try:
        return not subprocess.run(command, check=False, capture_output=True).returncode
    except FileNotFoundError:
        return False
