"""Errors as problem documents (RFC 9457): one stable type and status for each class.

A `type` is a URN, so that it stays the same wherever the service is installed.
"""

from __future__ import annotations

from dataclasses import dataclass

from hanseg_shared import errors
from hanseg_shared.documents import Problem

PREFIX = "urn:hanseg:problem:"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """What every problem of one error class has in common."""

    slug: str
    title: str
    status: int

    @property
    def type(self) -> str:
        """The problem's stable type."""
        return PREFIX + self.slug

    def problem(self, detail: str, *, instance: str | None = None) -> Problem:
        """Return the document for one occurrence."""
        return Problem(
            type=self.type,
            title=self.title,
            status=self.status,
            detail=detail,
            instance=instance,
        )


INTERNAL = ProblemKind("internal-error", "The service failed", 500)
DEADLINE = ProblemKind("deadline-exceeded", "The job took too long", 504)
OUT_OF_MEMORY = ProblemKind("out-of-memory", "The job needed too much memory", 507)
WORKER_LOST = ProblemKind("worker-lost", "The worker was lost again and again", 500)
DAMAGED = ProblemKind("damaged-record", "The job's record is damaged", 500)
EXPIRED = ProblemKind("expired", "The files of the job were deleted", 410)

KINDS: dict[type[errors.HansegError], ProblemKind] = {
    errors.HansegError: INTERNAL,
    errors.InputError: ProblemKind("bad-input", "The input is at fault", 422),
    errors.ImageError: ProblemKind("bad-image", "An image cannot be used", 422),
    errors.NotAnImageError: ProblemKind("not-an-image", "A file is not an image", 422),
    errors.NoSuchFileError: ProblemKind("not-an-image", "A file is not an image", 422),
    errors.UnsafeImageError: ProblemKind(
        "unsafe-image", "An image's header points outside its file", 422
    ),
    errors.ImageTooLargeError: ProblemKind(
        "image-too-large", "An image is larger than the caps allow", 413
    ),
    errors.CheckDiedError: ProblemKind("bad-image", "An image cannot be used", 422),
    errors.ImageContentError: ProblemKind(
        "bad-image-content", "An image is not what its role asks for", 422
    ),
    errors.GridMismatchError: ProblemKind(
        "grid-mismatch", "Two volumes do not share a grid", 422
    ),
    errors.OptionError: ProblemKind("bad-option", "An option has no such value", 422),
    errors.ModelError: ProblemKind("bad-model", "The model cannot be used", 500),
    errors.RegistrationError: ProblemKind(
        "registration-failed", "The registration could not be computed", 500
    ),
    errors.ProcessLostError: WORKER_LOST,
    errors.JobError: ProblemKind("job-error", "The job cannot do that", 409),
    errors.JobNotFoundError: ProblemKind("not-found", "There is no such thing", 404),
    errors.JobStateError: ProblemKind(
        "wrong-state", "The job's state does not allow it", 409
    ),
    errors.TooManyWebhooksError: ProblemKind(
        "too-many-webhooks", "One caller has too many webhooks", 409
    ),
    errors.JobCancelledError: ProblemKind("cancelled", "The job was cancelled", 409),
    errors.LeaseLostError: ProblemKind(
        "lease-lost", "Another worker has the job now", 409
    ),
    errors.OutputError: ProblemKind(
        "bad-output", "A written result does not read back as it should", 500
    ),
    errors.StoreError: ProblemKind("store-error", "A payload is missing", 500),
    errors.ServiceUnavailableError: ProblemKind(
        "unavailable", "The service cannot work now", 503
    ),
    errors.StoreRefusedError: ProblemKind(
        "unavailable", "The service cannot work now", 503
    ),
    errors.DiskFullError: ProblemKind(
        "disk-full", "The service has no room for it now", 507
    ),
    errors.TooManyJobsError: ProblemKind(
        "too-many-jobs", "One caller has too many unfinished jobs", 429
    ),
    errors.TooManyUploadsError: ProblemKind(
        "too-many-uploads", "One caller has announced too many uploads", 429
    ),
}
"""The kind of every error class; a test checks that none is missing."""


def kind_of(error: errors.HansegError) -> ProblemKind:
    """Return the kind of the error's nearest class."""
    for cls in type(error).__mro__:
        if cls in KINDS:
            return KINDS[cls]
    return INTERNAL


def problem_of(error: errors.HansegError, *, instance: str | None = None) -> Problem:
    """Return an error as a problem document."""
    return kind_of(error).problem(error.message, instance=instance)
