"""What is handed on of a signed review: the contours as they were signed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.headers import DICOM
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_segmentation.api.intake.correcting import fetch_attached
from hanseg_segmentation.api.intake.preparing import take_turn
from hanseg_shared.dicom.template import TEMPLATE_FILE
from hanseg_shared.documents import DicomOutput, ResultFile
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.log_filter import keep_out_of_log
from hanseg_shared.result_files import (
    LABELMAP,
    REVIEW_PAGE,
    REVIEWED,
    RTSTRUCT,
    SEG,
    SEGMENTATION,
)
from hanseg_shared.review.documents import (
    OrganVerdict,
    ReviewDocument,
    ReviewSignature,
)
from hanseg_shared.review.hand_on import DicomFiles, SignedFiles, SignedReview

WRITTEN = {
    RTSTRUCT: DicomOutput.RTSTRUCT,
    SEG: DicomOutput.SEG,
    LABELMAP: DicomOutput.LABELMAP,
}
"""Objects that can be written again; only the structure set says who signed it, so that
the others are written only where contours have changed."""

NO_SOURCE = "where the CT's slices came from is not kept any more"
NOTHING_LEFT = "every contour was rejected"
NOT_REDRAWN = "it shows contours that were corrected or rejected"

HandedOn = tuple[tuple[ResultFile, ...], dict[str, str]]
"""Files under `REVIEWED`; and of others, or of parts of them, why they are left out."""


def hand_on(
    context: Context,
    job: Job,
    review: ReviewDocument,
    signature: ReviewSignature,
    folder: Path,
    halt: Halt,
) -> HandedOn:
    """Return what is handed on of a review, stored as files of its job.

    The contours as they were signed are in all of it: label map, structure set,
    segmentations. What nothing was changed of is the same file; the structure set is
    always written again.

    Args:
        context: What the application works with.
        job: It has results.
        review: What was said of them.
        signature: Who answers for it.
        folder: Where files may lie meanwhile.
        halt: Ends the work.

    Raises:
        OutputError: What was written does not read back as it should.
        ServiceUnavailableError: The disk is full.
    """
    is_changed = any(o.verdict is not OrganVerdict.ACCEPTED for o in review.organs)
    files: list[ResultFile] = []
    left_out: dict[str, str] = {}
    again: list[ResultFile] = []
    for file in filter(_is_handed_on, job.files):
        if file.name == RTSTRUCT or (is_changed and _shows_masks(file)):
            again.append(file)
        elif is_changed and file.name == REVIEW_PAGE:
            left_out[file.name] = NOT_REDRAWN
        else:
            files.append(_reviewed(file))
    said = _signed(job, review, signature, again)
    made, missing = _write(context, job, review, said, again, folder, halt)
    return (*files, *made), left_out | missing


def _is_handed_on(file: ResultFile) -> bool:
    if file.name.startswith(f"{REVIEWED}/"):
        return False
    return file.media_type == DICOM or file.name == SEGMENTATION


def _shows_masks(file: ResultFile) -> bool:
    return file.name in {SEGMENTATION, *WRITTEN}


def _reviewed(file: ResultFile) -> ResultFile:
    return file.model_copy(update={"name": f"{REVIEWED}/{file.name}"})


def _write(
    context: Context,
    job: Job,
    review: ReviewDocument,
    said: SignedReview,
    again: Sequence[ResultFile],
    folder: Path,
    halt: Halt,
) -> HandedOn:
    """Write files again as they were signed; return them, and why some are not."""
    if not again:
        return (), {}
    if not _has_any(job, said, review):
        return (), dict.fromkeys((file.name for file in again), NOTHING_LEFT)
    files = _fetch(context.services, job, review, folder)
    left_out = {} if files and files.dicom else _without_source(again)
    wanted = [file for file in again if file.name not in left_out]
    if files is None or not wanted:
        return (), left_out
    out = folder / REVIEWED
    out.mkdir()
    keep_out_of_log(said.reviewer)
    with take_turn(context.converting, halt), translate_disk_faults():
        missing = context.write_signed(files, said, out, halt)
        made = tuple(_keep(context.services, job, out, file) for file in wanted)
    return made, left_out | missing


def _without_source(again: Sequence[ResultFile]) -> dict[str, str]:
    return {file.name: NO_SOURCE for file in again if file.name in WRITTEN}


def _keep(services: Services, job: Job, out: Path, file: ResultFile) -> ResultFile:
    payload = services.store.put(job.id, out / file.name)
    written = {"sha256": payload.sha256, "bytes": payload.bytes}
    return _reviewed(file).model_copy(update=written)


def _has_any(job: Job, said: SignedReview, review: ReviewDocument) -> bool:
    left = {each.name for each in job.organs if each.volume_ml > 0}
    edited = {each.organ for each in review.organs if each.mask is not None}
    return bool((left | edited) - set(said.rejected))


def _signed(
    job: Job,
    review: ReviewDocument,
    signature: ReviewSignature,
    again: Sequence[ResultFile],
) -> SignedReview:
    rejected = [
        each.organ for each in review.organs if each.verdict is OrganVerdict.REJECTED
    ]
    told = review.model_dump_json(include={"version", "organs", "registration"})
    seed = f"{job.id} {told} {signature.model_dump_json()}"
    return SignedReview(
        reviewer=signature.name,
        at=signature.at.replace(microsecond=0),
        rejected=tuple(rejected),
        organs=job.organs,
        model=job.model,
        seed=hashlib.sha256(seed.encode()).hexdigest(),
        outputs=tuple(WRITTEN[file.name] for file in again if file.name in WRITTEN),
    )


def _fetch(
    services: Services, job: Job, review: ReviewDocument, folder: Path
) -> SignedFiles | None:
    """Return what is handed on is written of; None without the model's own masks."""
    own = job.file(SEGMENTATION)
    if own is None:
        return None
    labels = folder / SEGMENTATION
    edited = {}
    with translate_disk_faults():
        services.store.fetch(job.id, own.sha256, labels)
        for each in review.organs:
            if each.mask is not None:
                edited[each.organ] = folder / f"{each.organ}.gz"
                services.store.fetch(job.id, each.mask.sha256, edited[each.organ])
    return SignedFiles(labels, edited, _fetch_dicom(services, job, folder))


def _fetch_dicom(services: Services, job: Job, folder: Path) -> DicomFiles | None:
    """Return what DICOM objects are written of; None if a file is not kept."""
    source, identity, template = (
        fetch_attached(services, job, name, folder)
        for name in (SOURCE_FILE, IDENTITY_FILE, TEMPLATE_FILE)
    )
    if source is None or identity is None or template is None:
        return None
    return DicomFiles(source, identity, template)
