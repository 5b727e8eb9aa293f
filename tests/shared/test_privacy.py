"""Nobody but its owner reads what the service keeps, whatever was there before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hanseg_shared.privacy import close_to_others, keep_private, open_private


def mode(path: Path) -> int:
    return path.lstat().st_mode & 0o777


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A data folder as an earlier version left it."""
    data = tmp_path / "data"
    owner = data / "payloads" / "job-1"
    owner.mkdir(parents=True)
    (owner / "image").touch()
    (data / "jobs.sqlite").touch()
    (data / "jobs.sqlite-wal").touch()
    (data / "notes.txt").touch()
    for path in (data, *data.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return data


def test_a_wide_data_folder_is_closed_and_said_so_once(wide, caplog):
    close_to_others(wide)
    assert mode(wide) == 0o700
    assert mode(wide / "payloads" / "job-1") == 0o700
    assert mode(wide / "payloads" / "job-1" / "image") == 0o600
    assert mode(wide / "jobs.sqlite") == 0o600
    assert mode(wide / "jobs.sqlite-wal") == 0o600
    close_to_others(wide)
    assert caplog.text.count("6 files and folders") == 1


def test_what_is_not_the_services_is_left_alone(wide):
    close_to_others(wide)
    assert mode(wide / "notes.txt") == 0o644


def test_a_link_leads_nowhere(wide, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "file").touch()
    (elsewhere / "file").chmod(0o644)
    elsewhere.chmod(0o755)
    (wide / "scratch").symlink_to(elsewhere)
    (wide / "payloads" / "link").symlink_to(elsewhere / "file")
    close_to_others(wide)
    assert (mode(elsewhere), mode(elsewhere / "file")) == (0o755, 0o644)


def test_a_folder_of_many_users_keeps_its_mode(wide):
    wide.chmod(0o1777)
    close_to_others(wide)
    assert mode(wide) == 0o777
    assert mode(wide / "payloads") == 0o700


def test_a_home_keeps_its_mode(wide, monkeypatch):
    monkeypatch.setenv("HOME", str(wide))
    close_to_others(wide)
    assert mode(wide) == 0o755


def test_a_folder_that_is_not_there_yet_is_no_fault(tmp_path):
    close_to_others(tmp_path / "none")


def test_a_process_makes_private_files_from_then_on(tmp_path):
    before = os.umask(0o022)
    try:
        keep_private(tmp_path / "none")
        (tmp_path / "file").touch()
        (tmp_path / "folder").mkdir()
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == 0o600
    assert mode(tmp_path / "folder") == 0o700


def test_a_file_may_be_opened_private_whatever_the_umask(tmp_path):
    with open(tmp_path / "file", "w", opener=open_private):
        assert mode(tmp_path / "file") == 0o600
