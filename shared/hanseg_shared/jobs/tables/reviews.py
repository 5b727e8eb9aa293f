"""The table of reviews: every version, and which of them a job has now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from hanseg_shared.documents import JobState, ResultFile
from hanseg_shared.errors import JobNotFoundError, JobStateError
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import jobs, reviews
from hanseg_shared.jobs.tables.job_row import FILES, mark_change
from hanseg_shared.result_files import REVIEWED
from hanseg_shared.review.documents import ReviewChange, ReviewDocument

OnChange = Callable[[Connection, ReviewDocument, ReviewDocument], None]
"""What else is done in the transaction of a change, with what was known and is now."""


class ReviewsTable:
    """The reviews; each change is a version of its own, and none is ever changed.

    Args:
        database: Where they are.
        on_change: What else is done with a change.
    """

    def __init__(self, database: Database, on_change: Sequence[OnChange] = ()) -> None:
        self._database = database
        self._on_change = on_change

    def get(self, job_id: str, version: int | None = None) -> ReviewDocument:
        """Return a version of a job's review, the newest if none is named.

        Raises:
            JobNotFoundError: There is no such version.
        """
        with self._database.read() as connection:
            found = _find(connection, job_id, version)
        if found is None and version in {None, 0}:
            return ReviewDocument(job=job_id)
        if found is None:
            raise JobNotFoundError(
                f"the review of job {job_id} has no version {version}"
            )
        return found

    def list_changes(self, job_id: str) -> list[ReviewChange]:
        """Return what made each version, the newest first."""
        return [each.change for each in reversed(self._all(job_id)) if each.change]

    def payloads(self, job_id: str) -> frozenset[str]:
        """Return the SHA-256 of every file that a version of a job's review has."""
        found: set[str] = set()
        for each in self._all(job_id):
            found |= {organ.mask.sha256 for organ in each.organs if organ.mask}
            found |= {file.sha256 for file in each.files}
        return frozenset(found)

    def save(self, review: ReviewDocument) -> ReviewDocument:
        """Keep the next version of a review, and have its job say how far it is.

        Raises:
            JobStateError: Another version was saved meanwhile, or the job has no
                results any more.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            known = _find(connection, review.job) or ReviewDocument(job=review.job)
            if known.version + 1 != review.version:
                raise _changed_error(known.version)
            files = _lock_job(connection, review.job)
            try:
                with connection.begin_nested():
                    connection.execute(reviews.insert().values(_row(review, now)))
            except IntegrityError:  # another process saved one at this very moment
                raise _changed_error(review.version) from None
            connection.execute(
                jobs.update()
                .where(jobs.c.id == review.job)
                .values(
                    review=review.state,
                    files=FILES.dump_python(_with_signed(files, review), mode="json"),
                    **mark_change(now),
                )
            )
            for note in self._on_change:
                note(connection, known, review)
        return review

    def _all(self, job_id: str) -> list[ReviewDocument]:
        query = (
            sa.select(reviews.c.document)
            .where(reviews.c.job_id == job_id)
            .order_by(reviews.c.version)
        )
        with self._database.read() as connection:
            return [
                ReviewDocument.model_validate(found)
                for found in connection.execute(query).scalars()
            ]


def forget_review(connection: Connection, job_id: str) -> None:
    """Delete all versions of a job's review, in the caller's transaction."""
    connection.execute(reviews.delete().where(reviews.c.job_id == job_id))


def _find(
    connection: Connection, job_id: str, version: int | None = None
) -> ReviewDocument | None:
    query = (
        sa.select(reviews.c.document)
        .where(reviews.c.job_id == job_id)
        .order_by(reviews.c.version.desc())
        .limit(1)
    )
    if version is not None:
        query = query.where(reviews.c.version == version)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else ReviewDocument.model_validate(found)


def _lock_job(connection: Connection, job_id: str) -> tuple[ResultFile, ...]:
    """Return the files of a job that has results, which stay so in this transaction."""
    row = connection.execute(
        sa.select(jobs.c.state, jobs.c.files)
        .where(jobs.c.id == job_id)
        .with_for_update()
    ).one_or_none()
    if row is None:
        raise JobNotFoundError(f"there is no job {job_id}")
    if row.state != JobState.SUCCEEDED:
        raise JobStateError(f"job {job_id} is {row.state} and has nothing to review")
    return FILES.validate_python(row.files)


def _with_signed(
    files: tuple[ResultFile, ...], review: ReviewDocument
) -> tuple[ResultFile, ...]:
    """Return a job's result files with those that a review hands on now."""
    own = tuple(each for each in files if not each.name.startswith(f"{REVIEWED}/"))
    return (*own, *review.files)


def _row(review: ReviewDocument, now: float) -> dict[str, object]:
    return {
        "job_id": review.job,
        "version": review.version,
        "at": now,
        "document": review.model_dump(mode="json"),
    }


def _changed_error(version: int) -> JobStateError:
    return JobStateError(
        "somebody else has changed the review meanwhile: its version is "
        f"{version} now; read it again"
    )
