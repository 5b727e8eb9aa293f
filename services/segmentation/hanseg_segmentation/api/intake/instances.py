"""DICOM instances that arrive by STOW-RS: looked at, and kept for a job to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from fastapi import Request

from hanseg_segmentation.api.http.headers import DICOM
from hanseg_segmentation.api.http.incoming import FileSink
from hanseg_segmentation.api.http.multipart import Begin, read_parts
from hanseg_segmentation.api.http.problem_responses import (
    BAD_REQUEST,
    TOO_LARGE,
    UNSUPPORTED,
    RefusedError,
    translate_disk_faults,
)
from hanseg_shared.errors import ImageError, StoreError
from hanseg_shared.io.dicom.dicom_file import DicomFile
from hanseg_shared.io.dicom.instance_uids import (
    InstanceUids,
    UnreadSyntaxError,
    read_instance_uids,
)
from hanseg_shared.io.dicom.preflight import USED
from hanseg_shared.jobs.record import DicomInstance
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stores.files import Payload

MOST_PARTS = 4096
"""Most instances of one transaction."""

MOST_INSTANCES = 16_384
"""Most instances of one study that are kept at a time."""


MOST_DELETIONS = 5
"""Most times that a study is deleted while an instance of it is stored."""


class Failure(IntEnum):
    """Why an instance is not stored (PS3.18 I.2.2, PS3.7 C.4.3)."""

    DUPLICATE = 0x0111
    """Another file with its SOP Instance UID was stored before."""

    SOP_CLASS = 0x0122
    """No job can be made of its SOP class."""

    FULL = 0xA700
    """The study has as much as is kept of one."""

    NOT_UNDERSTOOD = 0xC000
    """It is no DICOM file, or a damaged one."""

    OTHER_STUDY = 0xC101
    """It is of another study than the URL names."""

    TRANSFER_SYNTAX = 0xC122
    """Its transfer syntax is not read here."""


@dataclass(frozen=True, slots=True)
class Stored:
    """What became of one instance.

    Attributes:
        uids: Which it is; None if that could not be read.
        failure: Why it is not stored; None if it is.
    """

    uids: InstanceUids | None
    failure: Failure | None = None


async def receive_instances(
    request: Request, folder: Path
) -> list[tuple[Path, Payload]]:
    """Receive the parts of a STOW-RS request as files in a folder.

    Raises:
        RefusedError: The body is malformed, empty or too long, or a part is no DICOM.
    """
    received: list[tuple[Path, Payload]] = []
    sink: FileSink | None = None
    try:
        async for event in read_parts(request):
            if isinstance(event, Begin):
                _require_dicom(event, len(received))
                sink = FileSink(folder / f"{len(received):05d}")
            elif isinstance(event, bytes):
                assert sink is not None
                await sink.write(event)
            else:
                assert sink is not None
                received.append((sink.path, await sink.finish()))
    finally:
        if sink is not None:
            sink.close()
    if not received:
        raise RefusedError(BAD_REQUEST, "the multipart body has no part")
    return received


def _require_dicom(part: Begin, received: int) -> None:
    if part.content_type != DICOM:
        raise RefusedError(
            UNSUPPORTED,
            f"part {received + 1} is not {DICOM}; send PS3.10 files as parts of that "
            "type",
        )
    if received >= MOST_PARTS:
        raise RefusedError(
            TOO_LARGE, f"a request may hold {MOST_PARTS} instances; send them in parts"
        )


def store_instances(
    services: Services,
    files: Sequence[tuple[Path, Payload]],
    study: str | None,
    owner: str,
) -> list[Stored]:
    """Keep received files, each if it can be; return what became of them, in order.

    Args:
        services: Where they are kept.
        files: As they were received.
        study: The study of the URL, to which all must belong; None if it names none.
        owner: Whose they are.

    Raises:
        ServiceUnavailableError: The disk is full.
    """
    return [_store(services, path, payload, study, owner) for path, payload in files]


def _store(
    services: Services, path: Path, payload: Payload, study: str | None, owner: str
) -> Stored:
    try:
        uids = read_instance_uids(DicomFile(path, path.name))
    except UnreadSyntaxError:
        return Stored(None, Failure.TRANSFER_SYNTAX)
    except ImageError:
        return Stored(None, Failure.NOT_UNDERSTOOD)
    failure = _why_not(services, uids, payload, study, owner)
    if failure is not None:
        return Stored(uids, failure)
    instance = DicomInstance(
        study_uid=uids.study,
        sop_instance_uid=uids.sop_instance,
        sop_class_uid=uids.sop_class,
        sha256=payload.sha256,
        bytes=payload.bytes,
        owned_by=owner,
    )
    is_same = _keep(services, path, instance)
    return Stored(uids, None if is_same else Failure.DUPLICATE)


def _keep(services: Services, path: Path, instance: DicomInstance) -> bool:
    """Keep a file with its row; False if the study has another file of that UID.

    The file comes first: a row without a file would be a job that cannot be made. The
    study may be deleted between the two; then both are kept once more.

    Raises:
        StoreError: The file cannot be kept.
    """
    for _ in range(MOST_DELETIONS):
        with translate_disk_faults():
            services.store.put(instance.owner, path)
        known = services.tables.dicom_instances.add(instance)
        if known.sha256 != instance.sha256:
            return False
        if services.store.exists(instance.owner, instance.sha256):
            return True
    raise StoreError("a study is deleted again and again while it is stored")


def _why_not(
    services: Services,
    uids: InstanceUids,
    payload: Payload,
    study: str | None,
    owner: str,
) -> Failure | None:
    if study is not None and uids.study != study:
        return Failure.OTHER_STUDY
    if uids.sop_class not in USED:
        return Failure.SOP_CLASS
    count, size = services.tables.dicom_instances.count_study(uids.study, owner)
    most = services.settings.max_upload_bytes
    if count >= MOST_INSTANCES or size + payload.bytes > most:
        return Failure.FULL
    return None
