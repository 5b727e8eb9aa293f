"""Making the jobs of a batch: check every case, then make all jobs or none."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.http.schemas import MOST_CASES, BatchCase, BatchRequest
from hanseg_segmentation.api.intake.admission import (
    refuse_when_disk_is_full,
    refuse_when_full,
)
from hanseg_segmentation.api.intake.checking import check_images
from hanseg_segmentation.api.intake.idempotency import fingerprint, make_once
from hanseg_segmentation.api.intake.images import Image, fetch_upload, require_received
from hanseg_segmentation.api.intake.submission import (
    CheckedCase,
    Submission,
    publish,
    require_possible,
    store_cases,
)
from hanseg_shared.documents import InputSummary, JobOptions
from hanseg_shared.errors import (
    ImageError,
    InputError,
    OptionError,
)
from hanseg_shared.io.cases import CaseFiles, find_cases
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.record import Batch
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.store import Payload
from hanseg_shared.problems import KINDS
from hanseg_shared.settings import Settings

logger = logging.getLogger(__name__)

_DETAILED_FAULTS = 5
"""Most cases at fault that the problem's sentence names; `errors` has them all."""


def submit_batch(
    context: Context,
    asked: BatchRequest,
    scratch: Path,
    halt: Halt,
    *,
    key: str | None,
) -> Batch:
    """Return the batch of a request, made now or when its key was first used.

    Raises:
        InputError: The request names a folder or options that do not exist.
        ServiceUnavailableError: So many jobs cannot be taken now.
        RefusedError: Some cases cannot be used, or the key belongs to another request.
    """
    tables = context.services.tables

    def make() -> str:
        require_possible(context, asked.options)
        if asked.folder is not None:
            cases = _check_folder(context, asked.folder, asked.options, halt)
        else:
            cases = _check_uploads(context, asked, scratch, halt)
        return _make_jobs(context.services, cases, name=asked.name or asked.folder)

    request_hash = fingerprint(resource="batch", **asked.model_dump(mode="json"))
    return tables.batches.get(make_once(tables.keys, key, request_hash, make))


def find_folder(settings: Settings, name: str) -> Path:
    """Return a folder that batches may be read from.

    Raises:
        OptionError: No folder may be, or this one is outside it or not there.
    """
    root = settings.batch_root
    if root is None:
        raise OptionError(
            "this service reads no folders (HANSEG_BATCH_ROOT is not set); upload the "
            "images and send `cases`"
        )
    folder = (root / name).resolve()
    is_below = folder.is_relative_to(root.resolve()) and ".." not in Path(name).parts
    if not is_below or not folder.is_dir():
        raise OptionError(f"there is no folder {name!r} that batches may be read from")
    return folder


def _check_uploads(
    context: Context, asked: BatchRequest, scratch: Path, halt: Halt
) -> list[CheckedCase]:
    cases = asked.cases or ()
    uploads = [
        require_received(context.services, upload_id)
        for case in cases
        for upload_id in (case.ct, case.mr)
        if upload_id is not None
    ]
    _refuse_when_full(context.services, len(cases), sum(each.bytes for each in uploads))
    checks = _Checks(of=len(cases))
    for position, case in enumerate(cases):
        with checks.note_fault(case.name, pointer=f"#/cases/{position}"):
            checks.passed.append(
                _check_upload(context, case, asked.options, scratch, halt)
            )
    return checks.require_all()


def _check_upload(
    context: Context, case: BatchCase, options: JobOptions, scratch: Path, halt: Halt
) -> CheckedCase:
    services = context.services
    ct, mr = scratch / "ct", scratch / "mr"
    try:
        submission = Submission(
            ct=fetch_upload(services, case.ct, ct),
            mr=fetch_upload(services, case.mr, mr) if case.mr else None,
            options=options,
            case=case.name,
        )
        check = submission.check_images(context, halt)
    finally:
        ct.unlink(missing_ok=True)
        mr.unlink(missing_ok=True)
    return CheckedCase(submission, check)


def _check_folder(
    context: Context, name: str, options: JobOptions, halt: Halt
) -> list[CheckedCase]:
    folder = find_folder(context.services.settings, name)
    found = _find_cases(folder, name)
    files = [path for case in found for path in (case.ct, case.mr) if path]
    _refuse_outside(context.services.settings, files)
    _refuse_when_full(
        context.services, len(found), sum(path.stat().st_size for path in files)
    )
    limits = context.limits(options.model)
    checks = _Checks(of=len(found))
    for case in found:
        with checks.note_fault(case.name, pointer="#/folder"):
            check = check_images(context, case.ct, case.mr, halt, limits=limits)
            checks.passed.append(
                CheckedCase(_make_submission(case, options, check.inputs), check)
            )
    return checks.require_all()


def _find_cases(folder: Path, name: str) -> tuple[CaseFiles, ...]:
    try:
        looked = find_cases(folder)
    except InputError as error:
        # the caller knows the folder by its name, not by where it is here
        raise type(error)(error.message.replace(str(folder), name)) from error
    if looked.passed_over:
        logger.warning("%s files of a batch were passed over", len(looked.passed_over))
    found = looked.cases
    if len(found) > MOST_CASES:
        raise OptionError(
            f"{name} holds {len(found)} cases and a batch may have {MOST_CASES}; queue "
            "its sub-folders one by one"
        )
    return found


def _refuse_outside(settings: Settings, files: Sequence[Path]) -> None:
    """Refuse links that lead out of the folder that may be read."""
    root = (settings.batch_root or Path()).resolve()
    for path in files:
        if not path.resolve().is_relative_to(root):
            raise OptionError(
                f"{path.name} is a link to a file outside the folder that batches may "
                "be read from; copy the file into it"
            )


def _make_submission(
    case: CaseFiles, options: JobOptions, inputs: tuple[InputSummary, ...]
) -> Submission:
    payloads = {each.role: Payload(each.sha256, each.bytes) for each in inputs}
    return Submission(
        ct=Image(case.ct, payloads["ct"]),
        mr=Image(case.mr, payloads["mr"]) if case.mr else None,
        options=options,
        case=case.name,
    )


def _refuse_when_full(services: Services, jobs: int, size: int) -> None:
    refuse_when_full(services, jobs=jobs)
    refuse_when_disk_is_full(services, needed=size)


class _Checks:
    """The cases that passed, and the faults of those that did not."""

    def __init__(self, *, of: int) -> None:
        self.passed: list[CheckedCase] = []
        self._of = of
        self._faults: list[dict[str, Any]] = []

    @contextmanager
    def note_fault(self, case: str, *, pointer: str) -> Iterator[None]:
        """Note an `ImageError` instead of letting it end the checks of the others."""
        try:
            yield
        except ImageError as error:
            fault = {"case": case, "pointer": pointer, "detail": error.message}
            self._faults.append(fault)

    def require_all(self) -> list[CheckedCase]:
        if not self._faults:
            return self.passed
        details = [f"{each['case']}: {each['detail']}" for each in self._faults]
        more = "; ..." if len(details) > _DETAILED_FAULTS else ""
        raise RefusedError(
            KINDS[ImageError],
            f"{len(details)} of {self._of} cases cannot be used, so none was queued: "
            + "; ".join(details[:_DETAILED_FAULTS])
            + more,
            members={"errors": self._faults},
        )


def _make_jobs(
    services: Services, cases: Sequence[CheckedCase], *, name: str | None
) -> str:
    with store_cases(services, cases) as jobs:
        batch = services.tables.batches.create(name, jobs)
    for job in jobs:
        publish(services, job.id)
    return batch.id
