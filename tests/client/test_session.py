"""The stack for one command: what an earlier one left is removed, and only that."""

from __future__ import annotations

import stat
import tempfile
from pathlib import Path
from typing import Any

from hanseg_shared.client.session import (
    PREFIX,
    describe_key,
    private_settings,
    remove_abandoned,
    sign_as_user,
)
from hanseg_shared.settings import Settings
from hanseg_shared.signing.keys import PublicKey, own_keys, signing_key
from hanseg_shared.stack.stack import _lock_folder
from hanseg_shared.user_key import KEY_FILE


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


def stacks(tmp_path: Path, **values: Any) -> list[Settings]:
    """Return the settings of two stacks, each in a folder of its own."""
    made = [
        sign_as_user(private_settings(Settings(**values), tmp_path / name, port=1))
        for name in ("one", "two")
    ]
    for each in made:
        environment = each.as_environment()
        assert environment.get("HANSEG_SIGNING_KEY") == (
            each.signing_key and each.signing_key.get_secret_value()
        )
    return made


def public(settings: Settings) -> str:
    return PublicKey.of(signing_key(settings)).text


def test_every_stack_of_a_user_signs_with_the_user_s_key(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    assert own_keys(Settings()) == ()
    first, second = stacks(tmp_path)
    key = public(first)
    assert key == public(second)
    path = tmp_path / "home" / "hanseg" / KEY_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert own_keys(Settings()) == (PublicKey(key),)
    said = describe_key(first, [key])
    assert said == f"the results are signed with your own key {PublicKey(key).id}"


def test_a_site_s_key_is_used_before_the_user_s(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    given = public(Settings(data=tmp_path / "site"))
    path = str(tmp_path / "site" / KEY_FILE)
    made = stacks(tmp_path, signing_key=path)
    assert [public(each) for each in made] == [given] * 2
    assert "your own" not in describe_key(made[0], [given])
    assert not (tmp_path / "home").exists()


def test_who_cannot_keep_a_key_is_told_so(tmp_path, monkeypatch):
    (tmp_path / "home").write_text("no folder")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    first, second = stacks(tmp_path)
    assert public(first) != public(second)
    assert "cannot be kept here" in describe_key(first, [public(first)])
