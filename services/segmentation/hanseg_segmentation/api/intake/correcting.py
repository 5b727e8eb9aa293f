"""Corrected contours received, compared with the model's own, and kept beside them."""

from __future__ import annotations

from pathlib import Path

from fastapi import Request

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.incoming import FileSink
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_segmentation.api.intake.checking import translate_check
from hanseg_segmentation.api.intake.preparing import take_turn
from hanseg_segmentation.api.intake.reviewing import make_change, open_review, save
from hanseg_segmentation.api.principal import Principal
from hanseg_shared.errors import JobStateError, StoreError
from hanseg_shared.io.dicom.source import IDENTITY_FILE, SOURCE_FILE
from hanseg_shared.io.halt import Halt
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.services import Services
from hanseg_shared.result_files import SEGMENTATION
from hanseg_shared.review.documents import (
    ChangeKind,
    CorrectedMask,
    OrganReview,
    OrganVerdict,
    ReviewChange,
    ReviewDocument,
)
from hanseg_shared.review.sandbox import (
    ComparedCorrection,
    ComparedOrgan,
    SentCorrection,
)

SENT = "correction"
"""What a file that was received is called: its own name is never used."""


async def receive_file(request: Request, folder: Path) -> Path:
    """Receive a request's body as a file."""
    sink = FileSink(folder / SENT)
    try:
        async for chunk in request.stream():
            await sink.write(chunk)
        await sink.finish()
    finally:
        sink.close()
    return sink.path


def correct(
    context: Context,
    job: Job,
    sent: Path,
    principal: Principal,
    halt: Halt,
    *,
    organ: str | None = None,
    painted: bool = False,
    if_match: str | None = None,
) -> ReviewDocument:
    """Return the next version of a job's review, in which organs are edited.

    What came as the model had made it makes no correction, and without any there is
    no new version.

    Args:
        context: What the application works with.
        job: It has results.
        sent: What was received; its folder takes what is made of it.
        principal: Who sent it.
        halt: Ends the work.
        organ: The organ of a mask that was painted, or of a file with one mask.
        painted: Whether it is a mask as the viewer sends it.
        if_match: The version that it is a correction of.

    Raises:
        ImageError: It cannot be used.
        GridMismatchError: It does not lie on the CT's grid.
        RefusedError: The review is signed, or was changed meanwhile.
    """
    services = context.services
    review = open_review(services.tables, job, if_match=if_match)
    files = _fetch_files(services, job, sent, organ=organ, painted=painted)
    with (
        take_turn(context.converting, halt),
        translate_check(halt, sent, files.own),
        translate_disk_faults(),
    ):
        found = context.compare(files, sent.parent, halt)
    if not found.organs:
        return review
    names = tuple(each.organ for each in found.organs)
    change = make_change(review, ChangeKind.CORRECTION, principal, names)
    said: dict[str, OrganReview | None] = {
        each.organ: _keep(services, job, found, each, change, sent.parent)
        for each in found.organs
    }
    return save(services.tables, review.with_organs(said, change))


def _fetch_files(
    services: Services, job: Job, sent: Path, *, organ: str | None, painted: bool
) -> SentCorrection:
    own = job.file(SEGMENTATION)
    if own is None:
        raise JobStateError(f"job {job.id} has no {SEGMENTATION} to compare with")
    target = sent.with_name(SEGMENTATION)
    services.store.fetch(job.id, own.sha256, target)
    return SentCorrection(
        sent,
        target,
        organ=organ,
        painted=painted,
        source=fetch_attached(services, job, SOURCE_FILE, sent.parent),
        identity=fetch_attached(services, job, IDENTITY_FILE, sent.parent),
    )


def fetch_attached(
    services: Services, job: Job, name: str, folder: Path
) -> Path | None:
    """Return a file that goes with a job's images, in a folder; None without it.

    Raises:
        StoreError: It is missing in the store.
    """
    file = next((each for each in job.kept_with_results if each.name == name), None)
    if file is None:
        return None
    target = folder / name
    with translate_disk_faults():
        services.store.fetch(job.id, file.sha256, target)
    return target


def _keep(
    services: Services,
    job: Job,
    found: ComparedCorrection,
    each: ComparedOrgan,
    change: ReviewChange,
    folder: Path,
) -> OrganReview:
    try:
        with translate_disk_faults():
            payload = services.store.put(job.id, folder / each.file)
    except StoreError:  # its folder went while it was written, perhaps
        services.tables.jobs.get(job.id)
        raise
    return OrganReview(
        organ=each.organ,
        verdict=OrganVerdict.EDITED,
        by=change.by,
        at=change.at,
        mask=CorrectedMask.model_validate(
            {"source": found.kind, "sha256": payload.sha256, "bytes": payload.bytes}
        ),
        comparison=each.comparison,
    )
