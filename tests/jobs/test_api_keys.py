"""Keys: found by id and secret, valid until they expire or are revoked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hanseg_shared.access import ApiKey, Scope, is_owner, with_implied
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.tables.api_keys import USE_NOTED_SECONDS, KeyStanding

READ = frozenset({Scope.READ})


def test_a_key_is_found_by_its_id_and_its_secret(tables):
    key = tables.api_keys.create("anna", READ, note="laptop")
    found = tables.api_keys.find(key)

    assert found is not None
    assert (found.owner, found.scopes, found.note) == ("anna", READ, "laptop")
    assert found.standing is KeyStanding.VALID
    assert tables.api_keys.has_valid()


def test_a_key_with_another_secret_or_id_is_none(tables):
    key, other = tables.api_keys.create("anna", READ), ApiKey.generate()
    assert tables.api_keys.find(replace(key, secret=other.secret)) is None
    assert tables.api_keys.find(replace(key, id=other.id)) is None


def test_the_database_has_nothing_that_opens_the_service(tables):
    key = tables.api_keys.create("anna", READ)
    with tables.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM api_keys").all()
    assert key.sha256 in str(rows)
    assert key.secret not in str(rows)
    assert key.secret not in repr(key)


def test_a_key_ends_at_its_time(tables, clock):
    key = tables.api_keys.create("anna", READ, seconds=60.0)
    clock.advance(59)
    assert tables.api_keys.standing(key.id) is KeyStanding.VALID
    clock.advance(1)
    assert tables.api_keys.find(key).standing is KeyStanding.EXPIRED
    assert not tables.api_keys.has_valid()


def test_a_revoked_key_stays_revoked(tables, clock):
    key = tables.api_keys.create("anna", READ)
    tables.api_keys.revoke(key.id)
    at_first = tables.api_keys.find(key).revoked_at
    clock.advance(5)
    tables.api_keys.revoke(key.id)

    assert tables.api_keys.find(key).standing is KeyStanding.REVOKED
    assert tables.api_keys.find(key).revoked_at == at_first


def test_a_key_that_is_not_there_cannot_be_revoked(tables):
    with pytest.raises(JobNotFoundError, match="hanseg keys list"):
        tables.api_keys.revoke("000000000000")
    assert tables.api_keys.standing("000000000000") is KeyStanding.REVOKED


def test_the_last_use_is_noted_once_a_minute(tables, clock):
    key = tables.api_keys.create("anna", READ)
    used = []
    for seconds in (0, USE_NOTED_SECONDS / 2, USE_NOTED_SECONDS):
        clock.advance(seconds)
        tables.api_keys.note_use(tables.api_keys.find(key))
        used.append(tables.api_keys.find(key).last_used_at)
    assert used[0] == used[1] < used[2]


def test_two_keys_share_nothing():
    assert len({ApiKey.generate().secret for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "text", ["", "hanseg_", "hanseg_x_y", "Bearer x", "hanseg_" + "0" * 77, "\0", "é"]
)
def test_what_is_no_key_is_not_read_as_one(text):
    assert ApiKey.parse(text) is None


def test_a_key_is_read_as_it_is_written():
    key = ApiKey.generate()
    assert ApiKey.parse(key.text) == key
    assert ApiKey.parse(key.text + "\n") is None


@pytest.mark.parametrize(
    ("scopes", "all_of_them"),
    [
        ({Scope.SUBMIT}, {Scope.SUBMIT}),
        ({Scope.READ_ALL}, {Scope.READ_ALL, Scope.READ}),
        ({Scope.ADMIN}, set(Scope)),
        (set(), set()),
    ],
)
def test_what_a_scope_contains(scopes, all_of_them):
    assert with_implied(frozenset(scopes)) == all_of_them


@pytest.mark.parametrize(
    ("name", "can_be"),
    [
        ("anna", True),
        ("oidc:anna@clinic.org", True),
        ("a:b", False),
        ("", False),
        ("two words", False),
        ("a\n", False),
        ("a" * 201, False),
    ],
)
def test_the_names_of_owners(name, can_be):
    assert is_owner(name) is can_be
