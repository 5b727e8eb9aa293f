"""A check's process: it leaves nothing behind, and no image is blamed for the disk."""

from __future__ import annotations

import errno
import os
import shutil
from collections import namedtuple

import pytest

from hanseg_shared.errors import DiskFullError, ServiceUnavailableError
from hanseg_shared.io import confined
from hanseg_shared.io.confined import Confines, run_confined
from hanseg_shared.io.halt import Halt

Usage = namedtuple("Usage", "total used free")


def _run(module: str = "json.tool", **asked: object) -> dict[str, object]:
    """Run a module that prints what it is asked."""
    return run_confined(module, asked, confines=Confines(), halt=Halt())


def test_the_answer_needs_no_disk(monkeypatch):
    seen = []
    run_child = confined._run_child

    def look(command, asked, folder, *rest):
        run_child(command, asked, folder, *rest)
        seen.extend(folder.iterdir())

    monkeypatch.setattr(confined, "_run_child", look)
    assert _run(case="ct")["case"] == "ct"
    assert seen == []


def test_what_it_imports_is_not_damaged(monkeypatch, tmp_path):
    """Its bytecode would be cut off at `file_bytes`, without an error."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    lines = [f"N{number} = {number}" for number in range(1000)]
    (tmp_path / "imported.py").write_text("\n".join(lines))
    (tmp_path / "importing.py").write_text(
        "from hanseg_shared.io.confined import answer_request\n"
        "def work(_):\n"
        "    import imported\n"
        "    return {'last': imported.N999}\n"
        "answer_request(work)\n"
    )
    small = Confines(file_bytes=1024)
    answer = run_confined("importing", {}, confines=small, halt=Halt())
    assert answer == {"last": 999}
    assert not (tmp_path / "__pycache__").exists()


def test_no_answer_on_a_full_disk_is_the_disks_fault(monkeypatch):
    assert _run("this") == {}  # prints, but nothing that is JSON
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1, 1, 0))
    with pytest.raises(DiskFullError, match="the disk is full"):
        _run("this")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, ServiceUnavailableError),
    ],
)
def test_a_folder_that_cannot_be_made_is_the_disks_fault(monkeypatch, number, error):
    def fail(_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(confined, "hold_new_folder", fail)
    with pytest.raises(error, match="the disk"):
        _run()
