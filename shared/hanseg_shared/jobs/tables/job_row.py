"""A job as a row of its table, and the changes that several statements share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Connection, RowMapping

from hanseg_shared.access import UNKNOWN_OWNER
from hanseg_shared.documents import (
    FINAL_STATES,
    DicomReport,
    InferenceReport,
    InputSummary,
    JobOptions,
    JobState,
    ModelSummary,
    OrganResult,
    Priority,
    Problem,
    Progress,
    RegistrationReport,
    Removal,
    ResultFile,
    ReviewState,
    StageTime,
)
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.schema import jobs

INPUTS = TypeAdapter(tuple[InputSummary, ...])
STAGES = TypeAdapter(tuple[StageTime, ...])
ORGANS = TypeAdapter(tuple[OrganResult, ...])
FILES = TypeAdapter(tuple[ResultFile, ...])
REMOVALS = TypeAdapter(tuple[Removal, ...])

UNCLAIMED: dict[str, Any] = {
    "token": None,
    "lease_until": None,
    "published_at": None,
    "progress": None,
}
"""The values of a job that no worker has and whose message is still to be sent."""

_DOCUMENTS: dict[str, type[BaseModel]] = {
    "progress": Progress,
    "registration": RegistrationReport,
    "model": ModelSummary,
    "inference": InferenceReport,
    "dicom": DicomReport,
    "error": Problem,
}
"""The columns that hold a JSON document or nothing."""


UNREADABLE = (ValueError, TypeError, LookupError, ArithmeticError)
"""What reading a column raises that holds something else than it should."""

_LAST_SECOND = 253402300799.0
"""The end of the year 9999, the last that a date can have."""


def _read_time(value: float) -> float:
    if not 0.0 <= float(value) <= _LAST_SECOND or isinstance(value, str):
        raise ValueError("no time since 1970")
    return value


def _read_as(kind: type) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:  # noqa: ANN401 - whatever the row holds
        if not isinstance(value, kind):
            raise TypeError(f"no {kind.__name__}")
        return value

    return read


def _read_known(read: Callable[..., Any]) -> Callable[[Any], Any]:
    """Return what reads a document, and leaves out what a later version wrote there."""
    return partial(read, extra="ignore")


def _reader_of(column: sa.Column[Any]) -> Callable[[Any], Any]:
    if column.name in _DOCUMENTS:
        return _read_known(_DOCUMENTS[column.name].model_validate)
    if isinstance(column.type, sa.Float):
        return _read_time
    return _read_as(column.type.python_type)


_READERS: dict[str, Callable[[Any], Any]] = {
    column.name: _reader_of(column) for column in jobs.c
} | {
    "state": JobState,
    "review": ReviewState,
    "priority": Priority,
    "options": _read_known(JobOptions.model_validate),
    "inputs": _read_known(INPUTS.validate_python),
    "remarks": TypeAdapter(tuple[str, ...]).validate_python,
    "stages": _read_known(STAGES.validate_python),
    "intermediate": _read_known(FILES.validate_python),
    "files": _read_known(FILES.validate_python),
    "organs": _read_known(ORGANS.validate_python),
    "removed": _read_known(REMOVALS.validate_python),
    "versions": TypeAdapter(dict[str, str]).validate_python,
}

_EMPTY: dict[str, Any] = {
    "state": JobState.FAILED,
    "review": ReviewState.OPEN,
    "priority": Priority.ROUTINE,
    "owned_by": UNKNOWN_OWNER,
    "options": JobOptions().model_dump(mode="json"),
    "versions": {},
    "cancel_requested": False,
    "put_off": False,
    "counted": False,
    "summed": False,
    "announced": False,
    "version": 1,
    "inputs": [],
    "remarks": [],
    "stages": [],
    "intermediate": [],
    "files": [],
    "organs": [],
}


def make_row(job: NewJob, now: float) -> dict[str, Any]:
    """Return the row of a job that is queued at a time."""
    return {
        "id": job.id,
        "state": JobState.QUEUED,
        "created_at": now,
        "updated_at": now,
        "attempts": 0,
        "total_attempts": 0,
        "cancel_requested": False,
        "version": 1,
        "case_name": job.case_name,
        "batch_id": job.batch_id,
        "owned_by": job.owned_by,
        "model_name": job.options.model,
        "follows": job.follows,
        "priority": job.priority,
        "options": _dump_options(job.options),
        "inputs": INPUTS.dump_python(job.inputs, mode="json", exclude_none=True),
        "remarks": list(job.remarks),
        "stages": [],
        "intermediate": FILES.dump_python(job.attachments, mode="json"),
        "organs": [],
        "files": [],
        "versions": {},
    }


FIRST_OPTIONS = frozenset({"model", "registration", "backend"})
"""The options of version 0.1.0, whose workers know no others."""


def _dump_options(options: JobOptions) -> dict[str, Any]:
    """Return options as a row holds them: of later ones, those that were asked for.

    So workers of an earlier version may do what asks for nothing that they lack.
    """
    asked = options.model_dump(mode="json", exclude_defaults=True)
    first = options.model_dump(mode="json", include=set(FIRST_OPTIONS))
    return first | asked


def read_row(row: RowMapping) -> Job:
    """Return the job that a row holds.

    Raises:
        Exception: One of `UNREADABLE`: a column holds something else.
    """
    return Job(**{name: read_column(name, value) for name, value in row.items()})


def read_column(name: str, value: Any) -> Any:  # noqa: ANN401 - a type for each column
    """Return what a job has of a column.

    Raises:
        Exception: One of `UNREADABLE`.
    """
    if value is None and jobs.c[name].nullable:
        return None
    return _READERS[name](value)


def empty_value(name: str, now: float) -> Any:  # noqa: ANN401 - a type for each column
    """Return what a column holds of which nothing is known."""
    column = jobs.c[name]
    if column.nullable:
        return None
    if name in _EMPTY:
        return _EMPTY[name]
    return now if isinstance(column.type, sa.Float) else 0


def known_states(counted: Iterable[Sequence[Any]]) -> dict[JobState, int]:
    """Return counts by state, without states that no version of ours writes."""
    known = {state.value for state in JobState}
    return {JobState(state): count for state, count in counted if state in known}


def mark_change(now: float) -> dict[str, Any]:
    """Return the values of every change that callers can see."""
    return {"updated_at": now, "version": jobs.c.version + 1}


def summary_values(organs: Iterable[OrganResult]) -> dict[str, Any]:
    """Return the columns by which a job is found that has these organs."""
    flags = [flag.code.value for organ in organs for flag in organ.flags]
    codes = " ".join(sorted(set(flags)))
    return {"flag_count": len(flags), "flag_codes": f" {codes} "}


YEAR_SECONDS = 365 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ends, and how long it keeps its files then.

    Attributes:
        retention_seconds: How long a job keeps its results once it has ended.
        input_seconds: How long it keeps its images; never longer, and by default as
            long.
        record_seconds: How long its row is kept; never shorter, and by default a year
            longer.
    """

    retention_seconds: float
    input_seconds: float | None = None
    record_seconds: float | None = None

    def clocks(self, now: float) -> dict[str, float]:
        """Return until when a job that ends now keeps its results, images and row."""
        results, inputs = self.retention_seconds, self.input_seconds
        record = self.record_seconds
        return {
            "expires_at": now + results,
            "inputs_expire_at": now + min(results, inputs or results),
            "record_expires_at": now + max(results, record or results + YEAR_SECONDS),
        }

    def values(self, state: JobState, now: float) -> dict[str, Any]:
        """Return the values of a job that ends in a final state."""
        return (
            mark_change(now)
            | {
                "state": state,
                "token": None,
                "lease_until": None,
                "progress": None,
                "finished_at": sa.func.coalesce(jobs.c.finished_at, now),
            }
            | self.clocks(now)
        )

    def failure_values(self, problem: Problem, now: float) -> dict[str, Any]:
        """Return the values of a job that fails for a reason."""
        return self.values(JobState.FAILED, now) | {
            "error": problem.model_dump(mode="json", exclude_none=True)
        }

    def end_unclaimed_cancelled(
        self, connection: Connection, now: float, job_id: str | None = None
    ) -> None:
        """End the cancelled jobs that no worker has: that of an id, or all of them."""
        statement = jobs.update().where(
            jobs.c.cancel_requested.is_(True),
            jobs.c.token.is_(None),
            jobs.c.state.not_in(FINAL_STATES),
        )
        if job_id is not None:
            statement = statement.where(jobs.c.id == job_id)
        connection.execute(statement.values(self.values(JobState.CANCELLED, now)))
