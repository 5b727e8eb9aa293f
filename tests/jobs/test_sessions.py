"""Sessions: found by their secret's hash, until they end or their key does."""

from __future__ import annotations

from hanseg_shared.access import Scope
from hanseg_shared.jobs.tables.sessions import session_id

READ = frozenset({Scope.READ})


def test_a_session_has_what_its_key_has(tables):
    key = tables.api_keys.create("anna", READ)
    session = tables.sessions.create(key.id, seconds=60.0)
    found = tables.sessions.find(session_id(session.secret))

    assert (found.key.id, found.key.owner, found.key.scopes) == (key.id, "anna", READ)
    assert found.expires_at == session.expires_at


def test_the_database_has_nothing_that_resumes_a_session(tables):
    key = tables.api_keys.create("anna", READ)
    session = tables.sessions.create(key.id, seconds=60.0)
    with tables.database.read() as connection:
        rows = str(connection.exec_driver_sql("SELECT * FROM sessions").all())
    assert session_id(session.secret) in rows
    assert session.secret not in rows
    assert session.secret not in repr(session)
    assert tables.sessions.find(session.secret) is None


def test_a_session_ends_at_its_time(tables, clock):
    key = tables.api_keys.create("anna", READ)
    session = tables.sessions.create(key.id, seconds=60.0)
    clock.advance(59)
    assert tables.sessions.find(session_id(session.secret)) is not None
    clock.advance(1)
    assert tables.sessions.find(session_id(session.secret)) is None


def test_a_session_ends_when_its_key_does(tables, clock):
    revoked = tables.api_keys.create("anna", READ)
    expiring = tables.api_keys.create("anna", READ, seconds=30.0)
    first, second = (
        session_id(tables.sessions.create(key.id, seconds=60.0).secret)
        for key in (revoked, expiring)
    )
    tables.api_keys.revoke(revoked.id)
    assert tables.sessions.find(first) is None
    assert tables.sessions.find(second) is not None
    clock.advance(30)
    assert tables.sessions.find(second) is None


def test_who_signs_out_ends_one_session(tables):
    key = tables.api_keys.create("anna", READ)
    first, second = (
        session_id(tables.sessions.create(key.id, seconds=60.0).secret)
        for _ in range(2)
    )
    tables.sessions.end(first)
    tables.sessions.end(first)
    assert tables.sessions.find(first) is None
    assert tables.sessions.find(second) is not None


def test_sessions_whose_time_is_over_are_forgotten(tables, clock):
    key = tables.api_keys.create("anna", READ)
    tables.sessions.create(key.id, seconds=60.0)
    clock.advance(61)
    tables.sessions.create(key.id, seconds=60.0)
    with tables.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM sessions").all()
    assert len(rows) == 1
