"""Settings: none that is misspelt, empty or unknown is taken for nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hanseg_shared import settings as module
from hanseg_shared.errors import OptionError
from hanseg_shared.settings import (
    OF_TESTS,
    Settings,
    known_variables,
    read_settings,
    require_known_variables,
)

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("HANSEG_MODEL", "HANSEG_MODELS"),
        ("HANSEG_RETENTION_HOUR", "HANSEG_RETENTION_HOURS"),
        ("HANSEG_MAX_UPLOAD_BYTE", "HANSEG_MAX_UPLOAD_BYTES"),
        ("hanseg_devise", "HANSEG_DEVICE"),
        ("HANSEG_LEASESECONDS", "HANSEG_LEASE_SECONDS"),
    ],
)
def test_a_misspelt_setting_names_the_nearest(monkeypatch, name: str, near: str):
    monkeypatch.setenv(name, "1")
    with pytest.raises(OptionError, match=rf"no setting {name}: .*{near}\?"):
        read_settings()


@pytest.mark.parametrize("name", ["HANSEG_XYXYXYXYXY", "HANSEG_QQQQQQ"])
def test_a_setting_like_no_other_is_refused_with_where_they_are_listed(name: str):
    with pytest.raises(
        OptionError, match=rf"no setting {name}: .*docs/reference/settings.md"
    ):
        require_known_variables({name: "1"})


@pytest.mark.parametrize("value", ["", "  "])
def test_a_setting_without_a_value_is_refused(monkeypatch, value: str):
    monkeypatch.setenv("HANSEG_MODELS", value)
    with pytest.raises(OptionError, match="HANSEG_MODELS is empty"):
        read_settings()


def test_an_unknown_secret_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "SECRETS_FOLDERS", (tmp_path, tmp_path / "none"))
    (tmp_path / "hanseg_broker_url").write_text("redis://")
    (tmp_path / "another_programs").write_text("secret")
    read_settings()
    (tmp_path / "hanseg_database").write_text("postgresql://")
    with pytest.raises(OptionError, match=r"hanseg_database: .*HANSEG_DATABASE_URL"):
        read_settings()


def test_what_others_read_is_known(monkeypatch):
    for name in ("HANSEG_URL", "HANSEG_TAG", "HANSEG_REAL_DATA", f"{OF_TESTS}LOGS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HANSEGMENT", "another program's")
    assert read_settings() == Settings()


def test_every_variable_that_the_repository_names_is_known():
    places = ["docker-compose.yml", ".env", "Makefile", ".ci", "deploy", "docs"]
    places += ["benchmarks", "services", "shared"]
    files = [path for place in places for path in _files(ROOT / place)]
    named = {
        name
        for path in files
        for name in re.findall(r"\bHANSEG_[A-Z_]*[A-Z]\b", path.read_text("utf-8"))
    }
    unknown = {name for name in named if not name.startswith(OF_TESTS)}
    assert unknown - known_variables() == set()


@pytest.mark.parametrize(
    "entrance",
    [
        ["-m", "hanseg_segmentation.api.server"],
        ["-m", "hanseg_segmentation.worker"],
        ["-m", "hanseg_registration.worker"],
        ["-m", "hanseg_shared.jobs.probe", "api"],
        ["-c", "from hanseg_shared.cli import main; main()", "organs"],
        ["-c", "from hanseg_shared.cli import main; main()", "serve"],
        ["-c", "from hanseg_shared.cli import main; main()", "bridge", "run"],
    ],
)
def test_every_entrance_refuses_an_unknown_setting_in_one_line(entrance: list[str]):
    done = subprocess.run(
        [sys.executable, *entrance],
        env=os.environ | {"HANSEG_DATABSE_URL": "sqlite:////tmp/patients"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "HANSEG_DATABSE_URL" in line
    assert "HANSEG_DATABASE_URL?" in line
    assert "patients" not in line
    assert done.stdout == ""


def _files(place: Path) -> list[Path]:
    if place.is_file():
        return [place]
    kinds = {".py", ".md", ".sh", ".yml", ".yaml", "", ".toml"}
    found = [path for path in place.rglob("*") if path.suffix in kinds]
    others = {
        "node_modules",
        "built",
    }  # what npm fetches, and what the page is built to
    return [path for path in found if path.is_file() and not others & set(path.parts)]


@pytest.mark.parametrize(
    ("given", "read"),
    [("/contouring", "/contouring"), ("/a/b-c/", "/a/b-c"), ("/", None), (None, None)],
)
def test_the_path_of_a_proxy_has_no_slash_at_its_end(given, read):
    assert Settings(root_path=given).root_path == read


@pytest.mark.parametrize(
    "given", ["contouring", "//host", "/a b", "/a/../b", "/a?b", "/{x}", "http://a/b"]
)
def test_what_is_no_path_is_none_of_a_proxy(monkeypatch, given):
    monkeypatch.setenv("HANSEG_ROOT_PATH", given)
    with pytest.raises(OptionError, match=r"HANSEG_ROOT_PATH.*such as /contouring"):
        read_settings()


def test_what_a_process_is_told_is_what_it_reads(monkeypatch):
    told = Settings(hosts=(), proxies=("10.0.0.1", "10.0.0.2"), database_url=None)
    for name, value in told.as_environment().items():
        monkeypatch.setenv(name, value)
    read = read_settings()
    assert (read.hosts, read.proxies) == ((), ("10.0.0.1", "10.0.0.2"))
    assert read.database_url is None
