"""The examples of the page on the Python client do what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.client.fake_service import FakeService
from tests.client.http_server import serving
from tests.docs.pages import PROJECT

PAGE = PROJECT / "docs" / "how-to" / "python-client.md"
ADDRESS = "https://contours.example.org"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the examples name."""
    for name in ("ct.nii.gz", "t1.nii.gz"):
        (tmp_path / name).write_bytes(b"voxels")
    (tmp_path / "patient").mkdir()
    (tmp_path / "patient" / "1.dcm").write_bytes(bytes(128) + b"DICM")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_examples_run_in_their_order(home: Path, capsys):
    known: dict[str, Any] = {}
    service = FakeService()
    with serving(service) as url:
        for example in EXAMPLES:
            exec(compile(example.replace(ADDRESS, url), str(PAGE), "exec"), known)
    assert (home / "results" / "case_01" / "job.json").is_file()
    assert (home / "results" / "patient" / "job.json").is_file()
    assert (home / "case_01.zip").is_file()
    assert "registering" in capsys.readouterr().out
    assert len(service.jobs) == 4


def test_the_page_names_every_error_of_the_client():
    text = PAGE.read_text("utf-8")
    for name in ("BusyError", "ConnectionLostError", "KeyRefusedError"):
        assert f"| `{name}` |" in text
