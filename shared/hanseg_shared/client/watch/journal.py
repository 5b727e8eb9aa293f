"""What became of each case of a watched folder, by the hash of its images.

Every change is a line that is on the disk before the next step is taken; the last line
of a case counts. So a process that is killed at any moment knows at its next start what
it had sent and what it had not.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import ValidationError

from hanseg_shared.document import Document
from hanseg_shared.errors import OptionError, StoreError

JOURNAL = ".watch.jsonl"
"""Name of the state's file in the output folder."""


class CaseState(StrEnum):
    """What became of a case."""

    TAKEN = "taken"
    """It is to be sent, or the service has it."""

    SUCCEEDED = "succeeded"
    """Its results are there."""

    FAILED = "failed"
    """It was refused, or its job has no results."""


class Record(Document):
    """What is known of a case.

    Attributes:
        content: SHA-256 of its images' SHA-256.
        name: What it is called: the folder of its results.
        state: What became of it.
        job: The service's job; None before it was sent.
        reason: Why it failed.
        signature: Of its files when they were read; see `Arrival.signature`.
        moved: Whether its images were moved away: if they come again, somebody wants
            it tried again.
    """

    content: str
    name: str
    state: CaseState = CaseState.TAKEN
    job: str | None = None
    reason: str = ""
    signature: str = ""
    moved: bool = False


class Journal:
    """The records, of which one process at a time writes.

    Args:
        out: The output folder; it is made.

    Raises:
        OptionError: Another process watches with this output folder.
        StoreError: The file is damaged.
    """

    def __init__(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.path = out / JOURNAL
        self.records: dict[str, Record] = {}
        self._by_signature: dict[str, str] = {}
        self._file = self.path.open("a+b")
        try:
            self._lock(out)
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def put(self, record: Record) -> Record:
        """Write a record, and return it once it is on the disk."""
        self._file.write(record.model_dump_json().encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self._note(record)
        return record

    def of_signature(self, signature: str) -> Record | None:
        """Return the record of files that were read before and have not changed."""
        content = self._by_signature.get(signature)
        return None if content is None else self.records[content]

    def free_name(self, wanted: str, out: Path) -> str:
        """Return a name for a case that no other has, nor anything in `out`."""
        taken = {record.name for record in self.records.values()}
        name, number = wanted, 1
        while name in taken or (out / name).exists():
            number += 1
            name = f"{wanted}-{number}"
        return name

    def _note(self, record: Record) -> None:
        self.records[record.content] = record
        if record.signature:
            self._by_signature[record.signature] = record.content

    def _lock(self, out: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OptionError(
                f"another hanseg watch writes to {out}; give each its own --out"
            ) from None
        except OSError:  # a share without locks
            return

    def _load(self) -> None:
        self._file.seek(0)
        whole, _, torn = self._file.read().rpartition(b"\n")
        if torn:  # the process was killed while it wrote: that line never counted
            self._file.truncate(len(whole) + 1 if whole else 0)
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                self._note(Record.model_validate_json(line))
            except ValidationError as error:
                raise StoreError(
                    f"{self.path}, line {number} cannot be read; restore the file, or "
                    "remove it to have every case done again"
                ) from error
        with suppress(OSError):
            self.path.chmod(0o600)  # it names cases
