"""Where things are kept for a user: the XDG cache, or nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hanseg_segmentation.inference.network_engines import EngineOptions
from hanseg_shared.settings import Settings
from hanseg_shared.user_cache import user_cache


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    return tmp_path / "home"


def test_it_is_in_the_home(home):
    assert user_cache() == home / ".cache" / "hanseg"
    assert (home / ".cache" / "hanseg").stat().st_mode & 0o777 == 0o700


def test_it_is_where_the_variable_says(home, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert user_cache() == tmp_path / "cache" / "hanseg"


@pytest.mark.parametrize("said", ["", "cache", "./x"])
def test_a_variable_that_is_no_absolute_path_is_ignored(home, monkeypatch, said: str):
    monkeypatch.setenv("XDG_CACHE_HOME", said)
    assert user_cache() == home / ".cache" / "hanseg"


def test_where_no_folder_can_be_made_there_is_none(home):
    home.write_text("no folder")
    assert user_cache() is None


def test_a_folder_of_another_user_is_not_used(home, monkeypatch):
    assert user_cache() is not None
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert user_cache() is None


def test_a_user_without_a_home_has_none(home, monkeypatch):
    def lost(_: type[Path]) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", classmethod(lost))
    assert user_cache() is None


def test_engines_are_chosen_once_for_all_data_folders(home, tmp_path):
    folders = {EngineOptions.of(Settings(data=tmp_path / n)).cache for n in "ab"}
    assert folders == {home / ".cache" / "hanseg" / "engines"}


def test_engines_are_chosen_for_a_data_folder_where_there_is_no_cache(home, tmp_path):
    home.write_text("no folder")
    options = EngineOptions.of(Settings(data=tmp_path / "data"))
    assert options.cache == tmp_path / "data" / "engines"
