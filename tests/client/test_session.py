"""The stack for one command: what an earlier one left is removed, and only that."""

from __future__ import annotations

import tempfile

from hanseg_shared.client.session import PREFIX, remove_abandoned
from hanseg_shared.stack.stack import _lock_folder


def test_what_a_killed_command_left_is_removed_but_nothing_that_is_in_use(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, busy, beginning = (tmp_path / f"{PREFIX}{n}" for n in ("k", "b", "n"))
    for folder in (killed, busy, beginning):
        (folder / "payloads").mkdir(parents=True)
    _lock_folder(killed).close()
    held = _lock_folder(busy)
    (tmp_path / "hanseg-check-1").mkdir()
    remove_abandoned()
    assert {path.name for path in tmp_path.iterdir()} == {
        busy.name,
        beginning.name,
        "hanseg-check-1",
    }
    held.close()
