"""The API opens only where somebody can use it, and not to everybody."""

from __future__ import annotations

import stat

import pytest

from hanseg_shared.access import LOCAL_OWNER, ApiKey, Scope
from hanseg_shared.errors import OptionError, ServiceUnavailableError
from hanseg_shared.jobs.entrance import require_entrance, write_first_keys
from hanseg_shared.settings import Settings

READ = frozenset({Scope.READ})


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_on_this_machine_no_key_is_needed(tables, host):
    require_entrance(Settings(host=host), tables)


@pytest.mark.parametrize("values", [{"host": "0.0.0.0"}, {"access": "keys"}], ids=str)
def test_without_a_valid_key_it_does_not_open(tables, values):
    settings = Settings(**values)
    with pytest.raises(ServiceUnavailableError, match="hanseg keys create"):
        require_entrance(settings, tables)
    key = tables.api_keys.create("anna", READ)
    require_entrance(settings, tables)
    tables.api_keys.revoke(key.id)
    with pytest.raises(ServiceUnavailableError, match="hanseg keys create"):
        require_entrance(settings, tables)


def test_it_never_opens_to_a_network_without_keys(tables):
    tables.api_keys.create("anna", READ)
    with pytest.raises(OptionError, match="lets everybody in"):
        require_entrance(Settings(host="0.0.0.0", access="local"), tables)


def test_the_first_keys_are_made_once(tables, tmp_path):
    first, bridge = tmp_path / "first", tmp_path / "bridge"
    settings = Settings(host="0.0.0.0", first_key=first, key_for_bridge=bridge)
    write_first_keys(settings, tables)
    made = {path: path.read_text() for path in (first, bridge)}
    write_first_keys(settings, tables)
    first.unlink()
    write_first_keys(settings, tables)

    assert not first.exists()
    assert bridge.read_text() == made[bridge]
    assert stat.S_IMODE(bridge.stat().st_mode) == 0o600
    found = tables.api_keys.find(ApiKey.parse(made[first].strip()))
    assert (found.owner, found.scopes) == (LOCAL_OWNER, frozenset(Scope))
    assert len(tables.api_keys.list()) == 2


def test_a_key_that_cannot_be_written_opens_nothing(tables, tmp_path):
    settings = Settings(first_key=tmp_path / "missing" / "first")
    with pytest.raises(ServiceUnavailableError, match="cannot be written"):
        write_first_keys(settings, tables)
    assert not tables.api_keys.has_valid()
