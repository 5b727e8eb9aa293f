"""What happens to keys is in the audit log, as `hanseg audit` shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hanseg_shared.access import Scope
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.jobs.audit_cli import audit
from hanseg_shared.jobs.entrance import write_first_keys
from hanseg_shared.jobs.keys_cli import keys
from hanseg_shared.jobs.services import open_tables
from hanseg_shared.settings import Settings

READ = frozenset({Scope.READ})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def run(command: Any, data: Path, *arguments: str) -> list[dict[str, Any]]:
    """Run a command with ``--json`` and return the lines it prints."""
    ran = CliRunner().invoke(command, [*arguments, "--data", str(data), "--json"])
    assert ran.exit_code == 0, ran.output
    return [json.loads(line) for line in ran.output.splitlines()]


def entries(data: Path) -> list[dict[str, Any]]:
    """Return what the log says of keys; that it is whole is a fact."""
    run(audit, data, "verify")
    return [each for each in run(audit, data, "list") if "key" in each["what"]]


def test_a_key_that_is_made_and_revoked_is_there_with_who_did_it(data):
    (made,) = run(keys, data, "create", "--owner", "anna", "--expires", "90d")
    run(keys, data, "revoke", made["id"])
    run(keys, data, "revoke", made["id"])  # which changes nothing
    first, second = entries(data)

    assert (first["what"], second["what"]) == ("create_key", "revoke_key")
    assert first["on"] == second["on"] == made["id"]
    assert first["who"] == second["who"]
    assert first["who"].startswith("account ")
    assert first["details"] == {
        "owner": "anna",
        "scopes": ["read", "submit"],
        "seconds": 90 * 86400.0,
        "why": "hanseg keys create",
    }
    assert made["key"].rpartition("_")[2] not in json.dumps(entries(data))


def test_a_key_whose_file_cannot_be_written_is_made_and_revoked(data, tmp_path):
    missing = str(tmp_path / "missing" / "key")
    arguments = ["create", "--owner", "anna", "--file", missing, "--data", str(data)]
    assert CliRunner().invoke(keys, arguments).exit_code != 0
    assert [each["what"] for each in entries(data)] == ["create_key", "revoke_key"]


def test_the_first_keys_are_there_too(data, tmp_path):
    settings = Settings(
        data=data, first_key=tmp_path / "first", key_for_bridge=tmp_path / "bridge"
    )
    tables = open_tables(settings)
    write_first_keys(settings, tables)
    tables.close()
    found = [(each["who"], each["details"]["why"]) for each in entries(data)]
    assert found == [("service", "first key"), ("service", "bridge key")]


def test_a_key_that_cannot_be_recorded_is_not_made(tables, monkeypatch):
    def fails(*_: object) -> None:
        raise ServiceUnavailableError("the disk is full")

    key = tables.api_keys.create("anna", READ)
    monkeypatch.setattr(tables.audit, "add", fails)
    with pytest.raises(ServiceUnavailableError):
        tables.api_keys.create("bert", READ)
    with pytest.raises(ServiceUnavailableError):
        tables.api_keys.revoke(key.id)
    assert [each.owner for each in tables.api_keys.list()] == ["anna"]
    assert tables.api_keys.has_valid()


def test_what_the_log_contains_is_found_by_event_and_subject(tables):
    key = tables.api_keys.create("a_b%c", READ)
    assert tables.audit.contains("create_key", key.id)
    assert not tables.audit.contains("create_key", "0" * 12)
    assert not tables.audit.contains("create%key", key.id)
