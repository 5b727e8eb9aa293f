"""A job as a row of its table, and the changes that several statements share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, TypeAdapter
from sqlalchemy import Connection, RowMapping

from hanseg_shared.documents import (
    FINAL_STATES,
    InferenceReport,
    InputSummary,
    JobOptions,
    JobState,
    ModelSummary,
    OrganResult,
    Problem,
    Progress,
    RegistrationReport,
    ResultFile,
    StageTime,
)
from hanseg_shared.jobs.record import Job, NewJob
from hanseg_shared.jobs.schema import jobs

INPUTS = TypeAdapter(tuple[InputSummary, ...])
STAGES = TypeAdapter(tuple[StageTime, ...])
ORGANS = TypeAdapter(tuple[OrganResult, ...])
FILES = TypeAdapter(tuple[ResultFile, ...])

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
    "error": Problem,
}
"""The columns that hold a JSON document or nothing."""


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
        "options": job.options.model_dump(mode="json"),
        "inputs": INPUTS.dump_python(job.inputs, mode="json"),
        "remarks": list(job.remarks),
        "stages": [],
        "intermediate": [],
        "organs": [],
        "files": [],
        "versions": {},
    }


def read_row(row: RowMapping) -> Job:
    """Return the job that a row holds."""
    values = dict(row)
    values["state"] = JobState(values["state"])
    values["options"] = JobOptions.model_validate(values["options"])
    values["inputs"] = INPUTS.validate_python(values["inputs"])
    values["remarks"] = tuple(values["remarks"])
    values["stages"] = STAGES.validate_python(values["stages"])
    values["intermediate"] = FILES.validate_python(values["intermediate"])
    values["files"] = FILES.validate_python(values["files"])
    values["organs"] = ORGANS.validate_python(values["organs"])
    for name, document in _DOCUMENTS.items():
        if values[name] is not None:
            values[name] = document.model_validate(values[name])
    return Job(**values)


def mark_change(now: float) -> dict[str, Any]:
    """Return the values of every change that callers can see."""
    return {"updated_at": now, "version": jobs.c.version + 1}


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ends, and how long it keeps its files then.

    Attributes:
        retention_seconds: How long a job keeps its files once it has ended.
    """

    retention_seconds: float

    def values(self, state: JobState, now: float) -> dict[str, Any]:
        """Return the values of a job that ends in a final state."""
        return mark_change(now) | {
            "state": state,
            "token": None,
            "lease_until": None,
            "progress": None,
            "finished_at": sa.func.coalesce(jobs.c.finished_at, now),
            "expires_at": now + self.retention_seconds,
        }

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
