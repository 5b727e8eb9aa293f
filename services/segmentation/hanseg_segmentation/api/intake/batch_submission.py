"""Making the jobs of a batch: check every case, then make all jobs or none."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import RefusedError
from hanseg_segmentation.api.http.schemas import MOST_CASES, BatchCase, BatchRequest
from hanseg_segmentation.api.intake.admission import queue_bounds, refuse_when_full
from hanseg_segmentation.api.intake.idempotency import fingerprint, make_once
from hanseg_segmentation.api.intake.images import Image, fetch_upload, require_received
from hanseg_segmentation.api.intake.preparing import PreparedCase, prepare
from hanseg_segmentation.api.intake.received import Submission
from hanseg_segmentation.api.intake.submission import (
    publish,
    require_possible,
    store_cases,
)
from hanseg_shared.documents import Priority
from hanseg_shared.errors import (
    ImageError,
    InputError,
    OptionError,
)
from hanseg_shared.io.cases import CaseFiles, find_cases
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.record import Batch
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stores.files import Payload, hash_file
from hanseg_shared.jobs.tables.keys import KeyClaim
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
    owned_by: str,
    key: str | None,
) -> Batch:
    """Return the batch of a request, made now or when its key was first used.

    Raises:
        InputError: The request names a folder or options that do not exist.
        ServiceUnavailableError: So many jobs cannot be taken now.
        RefusedError: Some cases cannot be used, or the key belongs to another request.
    """
    tables = context.services.tables

    def make(claim: KeyClaim | None) -> Batch:
        require_possible(context, asked.options)
        if asked.folder is not None:
            cases = _check_folder(context, asked, scratch, halt, owned_by)
        else:
            cases = _check_uploads(context, asked, scratch, halt, owned_by)
        name = asked.name or asked.folder
        return _make_jobs(context.services, cases, name, claim, owned_by=owned_by)

    told = asked.model_dump(mode="json")
    if asked.priority is Priority.ROUTINE:  # as requests of earlier versions had none
        del told["priority"]
    request_hash = fingerprint(resource="batch", **told)
    return make_once(tables.keys, key, request_hash, make, find=tables.batches.get)


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
    context: Context, asked: BatchRequest, scratch: Path, halt: Halt, owner: str
) -> list[PreparedCase]:
    cases = asked.cases or ()
    uploads = [
        require_received(context.services, upload_id, owner)
        for case in cases
        for upload_id in (case.ct, case.mr, case.reg)
        if upload_id is not None
    ]
    refuse_when_full(context, owned_by=owner, jobs=len(cases))
    context.room.take(sum(each.bytes for each in uploads), by=scratch)
    checks = _Checks(of=len(cases))
    for position, case in enumerate(cases):
        with checks.note_fault(case.name, pointer=f"#/cases/{position}"):
            passed = _check_upload(context, case, asked, scratch, halt, owner)
            checks.passed.append(passed)
    return checks.require_all()


def _check_upload(
    context: Context,
    case: BatchCase,
    asked: BatchRequest,
    scratch: Path,
    halt: Halt,
    owner: str,
) -> PreparedCase:
    services = context.services
    ct, mr, reg = (scratch / name for name in ("ct", "mr", "reg"))
    try:
        submission = Submission(
            ct=fetch_upload(services, case.ct, ct, owner),
            mr=fetch_upload(services, case.mr, mr, owner) if case.mr else None,
            reg=fetch_upload(services, case.reg, reg, owner) if case.reg else None,
            options=asked.options,
            case=case.name,
            template=asked.template_document,
            priority=asked.priority,
        )
        return prepare(context, submission, scratch, halt)
    finally:
        for path in (ct, mr, reg):
            path.unlink(missing_ok=True)


def _check_folder(
    context: Context, asked: BatchRequest, scratch: Path, halt: Halt, owner: str
) -> list[PreparedCase]:
    name = asked.folder or ""
    folder = find_folder(context.services.settings, name)
    found = _find_cases(folder, name)
    files = [
        file
        for case in found
        for path in (case.ct, case.mr)
        if path
        for file in list_files(path)
    ]
    _refuse_outside(context.services.settings, files)
    refuse_when_full(context, owned_by=owner, jobs=len(found))
    context.room.take(sum(path.stat().st_size for path in files), by=scratch)
    checks = _Checks(of=len(found))
    for case in found:
        with checks.note_fault(case.name, pointer="#/folder"):
            submission = _make_submission(case, asked)
            checks.passed.append(prepare(context, submission, scratch, halt))
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


def _make_submission(case: CaseFiles, asked: BatchRequest) -> Submission:
    return Submission(
        ct=Image(case.ct, _payload(case.ct)),
        mr=Image(case.mr, _payload(case.mr)) if case.mr else None,
        options=asked.options,
        case=case.name,
        template=asked.template_document,
        priority=asked.priority,
    )


def list_files(path: Path) -> list[Path]:
    """Return a file, or the files of a folder of DICOM, in order of their paths."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.rglob("*") if each.is_file())


def _payload(path: Path) -> Payload:
    """Return what identifies an image, or a folder of DICOM by all its files."""
    if not path.is_dir():
        return hash_file(path)
    payloads = [hash_file(each) for each in list_files(path)]
    joined = "\n".join(each.sha256 for each in payloads)
    digest = hashlib.sha256(joined.encode()).hexdigest()
    return Payload(digest, sum(each.bytes for each in payloads))


class _Checks:
    """The cases that passed, and the faults of those that did not."""

    def __init__(self, *, of: int) -> None:
        self.passed: list[PreparedCase] = []
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

    def require_all(self) -> list[PreparedCase]:
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
    services: Services,
    cases: Sequence[PreparedCase],
    name: str | None,
    claim: KeyClaim | None,
    *,
    owned_by: str,
) -> Batch:
    with store_cases(services, cases, owned_by) as jobs:
        batch = services.tables.batches.create(
            name,
            jobs,
            key=claim,
            owned_by=owned_by,
            bounds=queue_bounds(services, owned_by),
        )
    for job in jobs:
        publish(services, job.id)
    return batch
