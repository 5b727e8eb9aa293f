"""Real disks of a chosen size for the chaos suite: they can be full, away or read-only.

Each is a tmpfs in a mount namespace of this process's own, so that nobody else sees it,
and the kernel removes it with the last process of the test, however that ends. Only a
superuser may mount: tests are skipped where this process is none.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

CLONE_NEWNS = 0x00020000
"""What `unshare` takes for a mount namespace; see <linux/sched.h>."""

MEBIBYTE = 1 << 20


def separate_mounts() -> None:
    """Have what this thread and its descendants mount seen by them alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) != 0:
        pytest.skip(f"no disks can be mounted: {os.strerror(ctypes.get_errno())}")
    _run("mount", "--make-rprivate", "/")


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system of its own at a folder; see `mount`."""

    folder: Path

    @classmethod
    def mount(cls, folder: Path, *, mebibytes: int) -> Disk:
        """Make an empty one, in place of what the folder has."""
        folder.mkdir(parents=True, exist_ok=True)
        _run(
            "mount",
            *("-t", "tmpfs", "-o", f"size={mebibytes}m,mode=0700", "tmpfs"),
            str(folder),
        )
        return cls(folder)

    @property
    def free(self) -> int:
        """Free bytes."""
        return shutil.disk_usage(self.folder).free

    def fill(self, *, but: int = 0) -> None:
        """Write until nothing more can be written, or until so many bytes are left."""
        with self._filler.open("ab") as file:
            while (room := self.free - but) > 0:
                try:
                    there = file.seek(0, os.SEEK_END)
                    os.posix_fallocate(file.fileno(), there, min(room, MEBIBYTE))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    if room <= 4096:
                        return

    def clear(self) -> None:
        """Give the room back that `fill` took."""
        self._filler.unlink(missing_ok=True)

    def make_read_only(self) -> None:
        """Refuse to open anything for writing from now on, until `make_writable`.

        The disk is laid over itself: mounting it anew would have to wait until nobody
        writes, and a worker has a deleted file of shared memory open all its life.
        """
        _run("mount", "--bind", str(self.folder), str(self.folder))
        _run("mount", "-o", "remount,bind,ro", str(self.folder))

    def make_writable(self) -> None:
        """End what `make_read_only` did."""
        _run("umount", "--lazy", str(self.folder))

    def move(self, folder: Path) -> Disk:
        """Take it away to another folder; what is open stays open."""
        folder.mkdir(parents=True, exist_ok=True)
        _run("mount", "--move", str(self.folder), str(folder))
        return Disk(folder)

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
