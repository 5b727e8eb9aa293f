"""What the bridge remembers, in a SQLite file of its own.

Every method that writes is one transaction, made before the step that follows from it,
so that a bridge that is killed goes on where it was. Times are seconds since 1970. No
more of a patient is kept than Orthanc's identifiers and DICOM's UIDs.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hanseg_dicom.plan import Plan
from hanseg_dicom.records import (
    ENDED,
    Case,
    CaseState,
    Delivery,
    DeliveryState,
    NotedStudy,
)
from hanseg_shared.documents import JobOptions
from hanseg_shared.errors import ServiceUnavailableError
from hanseg_shared.write_ahead import write_ahead

FILE = "bridge.sqlite"

VERSION = 1
"""Of the tables; a file with a higher one was written by a later version."""

WAIT_SECONDS = 10.0
"""Longest time that `hanseg bridge status` keeps the bridge from writing."""

_TABLES = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS studies (
    study TEXT PRIMARY KEY,
    look_at REAL,
    last_update TEXT NOT NULL DEFAULT '',
    alone_key TEXT NOT NULL DEFAULT '',
    alone_since REAL
);
CREATE TABLE IF NOT EXISTS cases (
    key TEXT PRIMARY KEY,
    study TEXT NOT NULL,
    state TEXT NOT NULL,
    plan TEXT NOT NULL,
    options TEXT NOT NULL,
    round INTEGER NOT NULL DEFAULT 0,
    job TEXT,
    retries INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    files TEXT NOT NULL DEFAULT '[]',
    instances TEXT NOT NULL DEFAULT '[]',
    created_at REAL NOT NULL,
    changed_at REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS deliveries (
    key TEXT NOT NULL REFERENCES cases,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    due_at REAL NOT NULL,
    reason TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (key, destination)
);
CREATE TABLE IF NOT EXISTS own_series (uid TEXT PRIMARY KEY, key TEXT NOT NULL);
"""


class Ledger:
    """The bridge's memory.

    Args:
        folder: Where its file is or will be.

    Raises:
        ServiceUnavailableError: The file cannot be opened, or is of a later version.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._sql = sqlite3.connect(
                folder / FILE, timeout=WAIT_SECONDS, isolation_level=None
            )
            self._sql.row_factory = sqlite3.Row
            write_ahead(self._sql, wait_seconds=WAIT_SECONDS)
            self._sql.execute("PRAGMA synchronous = FULL")
            self._sql.executescript(_TABLES)
        except sqlite3.Error as error:
            raise ServiceUnavailableError(
                f"{folder / FILE} cannot be used: {error}"
            ) from error
        version = int(self.fact("version") or VERSION)
        if version > VERSION:
            raise ServiceUnavailableError(
                f"{folder / FILE} was written by a later version of the bridge"
            )
        with self._write():
            self._put("version", str(VERSION))

    def close(self) -> None:
        """Close the file."""
        self._sql.close()

    # what is known of Orthanc

    def fact(self, name: str) -> str | None:
        """Return a single fact, such as ``since``."""
        found = self._sql.execute(
            "SELECT value FROM facts WHERE name = ?", (name,)
        ).fetchone()
        return None if found is None else str(found["value"])

    def put(self, name: str, value: str) -> None:
        """Remember a single fact."""
        with self._write():
            self._put(name, value)

    def begin(self, since: int, known: Iterable[tuple[str, str]]) -> None:
        """Begin with Orthanc as it is.

        Args:
            since: The newest change.
            known: Studies that are not looked at, with their last update.
        """
        with self._write():
            self._sql.executemany(
                "INSERT OR IGNORE INTO studies (study, last_update) VALUES (?, ?)",
                known,
            )
            self._put("since", str(since))
            self._put("mark", "")

    def note(
        self, studies: Iterable[str], *, since: int, mark: str, now: float
    ) -> None:
        """Note studies to look at, and up to which change that is all."""
        with self._write():
            self._note(studies, now)
            self._put("since", str(since))
            self._put("mark", mark)

    def note_again(self, study: str, *, now: float) -> None:
        """Look at a study again now."""
        with self._write():
            self._note([study], now)

    def note_updated(self, studies: Iterable[tuple[str, str]], *, now: float) -> None:
        """Note those of the studies that changed since they were last looked at."""
        with self._write():
            seen = dict(
                self._sql.execute("SELECT study, last_update FROM studies").fetchall()
            )
            self._note([s for s, update in studies if seen.get(s) != update], now)

    def due_studies(self, now: float) -> list[NotedStudy]:
        """Return the studies that are to be looked at now."""
        found = self._sql.execute(
            "SELECT study, alone_key, alone_since FROM studies WHERE look_at <= ?"
            " ORDER BY look_at",
            (now,),
        )
        return [NotedStudy(*row) for row in found]

    def look_again(self, study: str, at: float) -> None:
        """Look at a study again later."""
        with self._write():
            self._sql.execute(
                "UPDATE studies SET look_at = ? WHERE study = ?", (at, study)
            )

    def wait(self, study: str, until: float, *, alone_key: str, since: float) -> None:
        """Let a study's CT wait for an MR."""
        with self._write():
            self._sql.execute(
                "UPDATE studies SET look_at = ?, alone_key = ?, alone_since = ?"
                " WHERE study = ?",
                (until, alone_key, since, study),
            )

    def waiting(self) -> int:
        """Return how many studies have a CT that waits for an MR."""
        found = self._sql.execute(
            "SELECT count(*) FROM studies WHERE alone_since IS NOT NULL"
        )
        return int(found.fetchone()[0])

    def settle(self, study: str, last_update: str) -> None:
        """Leave a study until it changes."""
        with self._write():
            self._settle(study, last_update)

    def forget(self, study: str) -> None:
        """Forget a study that Orthanc no longer has."""
        with self._write():
            self._sql.execute("DELETE FROM studies WHERE study = ?", (study,))

    # cases

    def find_case(
        self, study: str, last_update: str, plan: Plan, options: JobOptions, now: float
    ) -> bool:
        """Make a case of a study unless there is one; returns whether it is new.

        What was found for that study before and not sent yet is superseded.
        """
        with self._write():
            made = self._sql.execute(
                "INSERT OR IGNORE INTO cases (key, study, state, plan, options, due_at,"
                " created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(plan.key, study, CaseState.FOUND, plan.model_dump_json()),
                    *(options.model_dump_json(), now, now, now),
                ),
            ).rowcount
            made += self._sql.execute(  # they are there again
                "UPDATE cases SET state = ?, reason = '', due_at = ?, changed_at = ?"
                " WHERE key = ? AND state = ?",
                (CaseState.FOUND, now, now, plan.key, CaseState.SUPERSEDED),
            ).rowcount
            if made:
                self._supersede_others(study, plan.key, now)
            self._settle(study, last_update)
        return bool(made)

    def _supersede_others(self, study: str, key: str, now: float) -> None:
        self._sql.execute(
            "UPDATE cases SET state = ?, reason = ?, changed_at = ?"
            " WHERE study = ? AND state = ? AND key <> ?",
            (
                *(CaseState.SUPERSEDED, "other images took its place", now),
                *(study, CaseState.FOUND, key),
            ),
        )

    def case(self, key: str) -> Case:
        """Return a case.

        Raises:
            KeyError: There is none.
        """
        found = self._sql.execute("SELECT * FROM cases WHERE key = ?", (key,))
        row = found.fetchone()
        if row is None:
            raise KeyError(key)
        return _case(row)

    def has_case(self, key: str) -> bool:
        """Whether there is a case of that key."""
        found = self._sql.execute("SELECT 1 FROM cases WHERE key = ?", (key,))
        return found.fetchone() is not None

    def cases(self, *states: CaseState) -> list[Case]:
        """Return the cases in some states, or all; oldest first."""
        wanted = states or tuple(CaseState)
        marks = ", ".join("?" * len(wanted))
        found = self._sql.execute(
            f"SELECT * FROM cases WHERE state IN ({marks}) ORDER BY created_at, key",  # noqa: S608 - question marks and columns of ours
            wanted,
        )
        return [_case(row) for row in found]

    def due_cases(self, now: float) -> list[str]:
        """Return the keys of the cases that have a step due, oldest first."""
        marks = ", ".join("?" * len(ENDED))
        found = self._sql.execute(
            f"SELECT key FROM cases WHERE state NOT IN ({marks}) AND due_at <= ?"  # noqa: S608 - question marks and columns of ours
            " ORDER BY created_at, key",
            (*ENDED, now),
        )
        return [str(row["key"]) for row in found]

    def move(self, key: str, state: CaseState, now: float, *, reason: str = "") -> None:
        """Move a case to a state, with nothing failed yet there."""
        with self._write():
            self._move(key, state, now, reason)

    def submitting(self, key: str, now: float) -> None:
        """Remember that a case is about to be sent; failures so far still count."""
        with self._write():
            self._sql.execute(
                "UPDATE cases SET state = ?, changed_at = ? WHERE key = ?",
                (CaseState.SUBMITTING, now, key),
            )

    def lost(self, key: str, due_at: float, *, retries: int) -> None:
        """Forget a job that the service does not know any more."""
        with self._write():
            self._move(key, CaseState.FOUND, due_at, "")
            self._sql.execute(
                "UPDATE cases SET job = NULL, retries = ? WHERE key = ?",
                (retries, key),
            )

    def submitted(self, key: str, job: str, now: float, *, retries: int) -> None:
        """Remember a case's job."""
        with self._write():
            self._move(key, CaseState.SUBMITTED, now, "")
            self._sql.execute(
                "UPDATE cases SET job = ?, retries = ? WHERE key = ?",
                (job, retries, key),
            )

    def fetched(
        self, key: str, files: Iterable[str], own_series: Iterable[str], now: float
    ) -> None:
        """Remember what the results are, before any of it is stored."""
        with self._write():
            self._move(key, CaseState.FETCHED, now, "")
            self._sql.execute(
                "UPDATE cases SET files = ? WHERE key = ?", (json.dumps([*files]), key)
            )
            self._sql.executemany(
                "INSERT OR IGNORE INTO own_series (uid, key) VALUES (?, ?)",
                [(uid, key) for uid in own_series],
            )

    def stored(
        self,
        key: str,
        instances: Iterable[str],
        destinations: Iterable[str],
        now: float,
    ) -> None:
        """Remember what Orthanc calls the results, and who is to have them."""
        with self._write():
            self._move(key, CaseState.STORED, now, "")
            self._sql.execute(
                "UPDATE cases SET instances = ? WHERE key = ?",
                (json.dumps([*instances]), key),
            )
            self._sql.executemany(
                "INSERT OR REPLACE INTO deliveries (key, destination, state, due_at)"
                " VALUES (?, ?, ?, ?)",
                [(key, name, DeliveryState.DUE, now) for name in destinations],
            )

    def postpone(self, key: str, due_at: float, *, failed: bool, reason: str) -> None:
        """Do a case's next step later."""
        with self._write():
            self._sql.execute(
                "UPDATE cases SET due_at = ?, attempts = attempts + ?, reason = ?"
                " WHERE key = ?",
                (due_at, int(failed), reason, key),
            )

    def begin_anew(self, key: str, now: float) -> None:
        """Queue a case that has ended once more, as another job."""
        with self._write():
            self._move(key, CaseState.FOUND, now, "")
            self._sql.execute(
                "UPDATE cases SET round = round + 1, job = NULL, retries = 0,"
                " files = '[]', instances = '[]' WHERE key = ?",
                (key,),
            )
            self._sql.execute("DELETE FROM deliveries WHERE key = ?", (key,))

    def is_own(self, series_uid: str) -> bool:
        """Whether a series is one that the bridge stored, or was about to."""
        found = self._sql.execute(
            "SELECT 1 FROM own_series WHERE uid = ?", (series_uid,)
        )
        return found.fetchone() is not None

    # deliveries

    def deliveries(self, key: str) -> list[Delivery]:
        """Return who is to have a case's results, and who has."""
        found = self._sql.execute(
            "SELECT * FROM deliveries WHERE key = ? ORDER BY destination", (key,)
        )
        return [
            Delivery(**{**dict(row), "state": DeliveryState(row["state"])})
            for row in found
        ]

    def delivered(
        self, delivery: Delivery, state: DeliveryState, *, due_at: float, reason: str
    ) -> None:
        """Remember what came of an attempt to send a case's results on."""
        with self._write():
            self._sql.execute(
                "UPDATE deliveries SET state = ?, due_at = ?, reason = ?,"
                " attempts = attempts + 1 WHERE key = ? AND destination = ?",
                (state, due_at, reason, delivery.key, delivery.destination),
            )

    # one statement each, inside of a transaction

    @contextmanager
    def _write(self) -> Iterator[None]:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    def _put(self, name: str, value: str) -> None:
        self._sql.execute(
            "INSERT INTO facts (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )

    def _note(self, studies: Iterable[str], now: float) -> None:
        self._sql.executemany(
            "INSERT INTO studies (study, look_at) VALUES (?, ?)"
            " ON CONFLICT (study) DO UPDATE SET look_at = excluded.look_at",
            [(study, now) for study in studies],
        )

    def _settle(self, study: str, last_update: str) -> None:
        self._sql.execute(
            "UPDATE studies SET look_at = NULL, last_update = ?, alone_key = '',"
            " alone_since = NULL WHERE study = ?",
            (last_update, study),
        )

    def _move(self, key: str, state: CaseState, now: float, reason: str) -> None:
        self._sql.execute(
            "UPDATE cases SET state = ?, reason = ?, attempts = 0, due_at = ?,"
            " changed_at = ? WHERE key = ?",
            (state, reason, now, now, key),
        )


def _case(row: sqlite3.Row) -> Case:
    return Case(
        key=row["key"],
        study=row["study"],
        state=CaseState(row["state"]),
        plan=Plan.model_validate_json(row["plan"]),
        options=JobOptions.model_validate_json(row["options"]),
        round=row["round"],
        job=row["job"],
        retries=row["retries"],
        attempts=row["attempts"],
        due_at=row["due_at"],
        reason=row["reason"],
        files=tuple(json.loads(row["files"])),
        instances=tuple(json.loads(row["instances"])),
        changed_at=row["changed_at"],
    )
