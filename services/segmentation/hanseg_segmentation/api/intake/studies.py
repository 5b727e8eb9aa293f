"""A study that was stored by STOW-RS, as a case to make a job of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hanseg_segmentation.api.context import Context
from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_segmentation.api.http.schemas import StudyCase
from hanseg_segmentation.api.intake.images import Image
from hanseg_segmentation.api.intake.received import Submission
from hanseg_shared.errors import OptionError, StoreError
from hanseg_shared.jobs.record import DicomInstance
from hanseg_shared.jobs.stores.files import Payload


def fetch_study(
    context: Context, asked: StudyCase, folder: Path, owner: str
) -> Submission:
    """Return the submission of an owner's study, its files in a sub-folder.

    Raises:
        OptionError: Nothing of the study is stored.
        DiskFullError: There is no room for a copy of it.
    """
    services = context.services
    stored = services.tables.dicom_instances.list_study(asked.study, owner)
    if not stored:
        raise _missing_error(asked.study)
    payload = payload_of(stored)
    context.room.take(payload.bytes, by=folder)
    study = folder / "study"
    study.mkdir()
    try:
        with translate_disk_faults():
            for number, each in enumerate(stored):
                target = study / f"{number:05d}.dcm"
                services.store.fetch(each.owner, each.sha256, target)
    except StoreError:
        if services.tables.dicom_instances.list_study(asked.study, owner):
            raise
        raise _missing_error(asked.study) from None
    return Submission.of(asked, Image(study, payload))


def payload_of(stored: Sequence[DicomInstance]) -> Payload:
    """Return what identifies the instances of a study together.

    Args:
        stored: Sorted by their UIDs.
    """
    lines = [f"{each.sop_instance_uid} {each.sha256}" for each in stored]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return Payload(digest, sum(each.bytes for each in stored))


def _missing_error(study_uid: str) -> OptionError:
    return OptionError(
        f"nothing of the study {study_uid} is stored; send its instances to "
        "/v1/dicom-web/studies first"
    )
