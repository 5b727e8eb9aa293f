"""Entries of the audit log: who did what, to which job, when, from where.

An entry is one line of canonical JSON that holds the hash of the entry before it, so
that none can be changed, removed or inserted without breaking the chain. The chain's
end could still be cut off: how many entries there were, and the hash of the last, are
kept apart from the database, in an `Anchor`.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hanseg_shared.privacy import open_private

FIRST = "0" * 64
"""What the first entry has for the hash of the one before."""

SERVICE = "service"
"""Who removes what has expired, and who starts."""

ANCHOR = "audit.head"
"""The anchor's file in the data folder."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that was done; never with anything that names a patient.

    Attributes:
        what: Such as ``delete_job``.
        who: The owner in whose name it was done; None if nobody could be told.
        key_id: The key that was used.
        subject: Id of the job, or of what else it was done to.
        address: Where the request came from.
        outcome: The status that was answered, or ``done``.
        details: Further plain values.
    """

    what: str
    who: str | None = SERVICE
    key_id: str | None = None
    subject: str | None = None
    address: str | None = None
    outcome: str = "done"
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as it is kept: its place from 1, its line, and the line's hash."""

    position: int
    line: str
    hash: str

    @classmethod
    def after(cls, head: Head, event: Event, *, at: float) -> Entry:
        """Return the entry of an event (`at` in seconds since 1970) after a head."""
        line = json.dumps(
            {
                "position": head.position + 1,
                "at": datetime.fromtimestamp(at, tz=UTC).isoformat(),
                "who": event.who,
                "key": event.key_id,
                "from": event.address,
                "what": event.what,
                "on": event.subject,
                "outcome": event.outcome,
                "details": event.details,
                "before": head.hash,
            },
            sort_keys=True,
            separators=(",", ":"),
        )
        return cls(head.position + 1, line, hash_line(line))

    @property
    def head(self) -> Head:
        """The chain's head once this is its last entry."""
        return Head(self.position, self.hash)


@dataclass(frozen=True, slots=True)
class Head:
    """How many entries there are, and the hash of the last."""

    position: int = 0
    hash: str = FIRST


def hash_line(line: str) -> str:
    """Return an entry's hash: SHA-256 of its line, hexadecimal."""
    return hashlib.sha256(line.encode()).hexdigest()


def find_fault(entries: Iterable[Entry], anchored: Head | None) -> str | None:
    """Return what is wrong with the first bad entry of a chain; None if it is whole.

    Args:
        entries: In the order of their positions.
        anchored: What an anchor says of the chain; None where there is no anchor.
    """
    head = Head()
    for entry in entries:
        fault = _find_fault_after(head, entry)
        if fault is None and anchored is not None:
            fault = _contradicts(entry, anchored)
        if fault is not None:
            return fault
        head = entry.head
    if anchored is not None and head.position < anchored.position:
        missing = anchored.position - head.position
        return (
            f"entry {head.position + 1} is missing, and so is all after it: the log "
            f"was cut off and lacks {missing} of {anchored.position} entries"
        )
    return None


def _find_fault_after(head: Head, entry: Entry) -> str | None:
    expected = head.position + 1
    if entry.position > expected:
        return f"entry {expected} is missing: entry {entry.position} comes next"
    if entry.hash != hash_line(entry.line):
        return f"entry {entry.position} was changed: its hash is another"
    try:
        told = json.loads(entry.line)
        position, before = told["position"], told["before"]
    except (ValueError, LookupError, TypeError):
        return f"entry {entry.position} was changed: it cannot be read"
    if position != entry.position or before != head.hash:
        return (
            f"entry {entry.position} does not follow entry {head.position}: one of "
            "them was changed, or entries were inserted or removed here"
        )
    return None


def _contradicts(entry: Entry, anchored: Head) -> str | None:
    if entry.position != anchored.position or entry.hash == anchored.hash:
        return None
    return (
        f"entry {entry.position} is not the one that was written: the anchor has "
        "another hash, so that the log was made anew up to here"
    )


class Anchor:
    """How far the log was when this machine last wrote to it, in a file of its own.

    It only ever moves forward, and only along the chain that it was on: once the log
    was cut off or replaced, the anchor stays where it was, as a witness.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Head | None:
        """Return what was noted; None where nothing was.

        Raises:
            ValueError: The file holds something else.
        """
        try:
            return _parse(self._path.read_bytes())
        except FileNotFoundError:
            return None

    def advance(self, head: Head, find_hash: Callable[[int], str | None]) -> bool:
        """Note a head that is further on; False if the chain left out the noted one.

        Args:
            head: The chain's head.
            find_hash: Returns the hash that the log has at a position.

        Raises:
            OSError: The file cannot be written.
        """
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = open_private(self._path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            try:
                noted = _parse(os.pread(descriptor, 4096, 0)) or Head()
            except ValueError:
                return False
            if noted.position and find_hash(noted.position) != noted.hash:
                return False
            if noted.position < head.position:
                os.pwrite(descriptor, _format(head), 0)
            return True
        finally:
            os.close(descriptor)


def _format(head: Head) -> bytes:
    # of one length, so that it is overwritten whole
    return f"{head.position:020d} {head.hash}\n".encode()


def _parse(content: bytes) -> Head | None:
    if not content:
        return None
    try:
        position, found = content.decode().split()
        return Head(int(position), found)
    except (ValueError, UnicodeDecodeError):
        raise ValueError("the anchor of the audit log cannot be read") from None
