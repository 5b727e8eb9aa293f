"""The images of a request: files that were received, or uploads that are fetched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hanseg_segmentation.api.http.problem_responses import translate_disk_faults
from hanseg_shared.errors import (
    JobNotFoundError,
    JobStateError,
    OptionError,
    StoreError,
)
from hanseg_shared.jobs.record import Upload
from hanseg_shared.jobs.services import Services
from hanseg_shared.jobs.stores.files import Payload


@dataclass(frozen=True, slots=True)
class Image:
    """A received file: where it is, and which upload or job it was copied from.

    Attributes:
        path: Where it is for the time of the request.
        payload: Its hash and size.
        owner: The upload or job in the store that has it too; None if none has.
    """

    path: Path
    payload: Payload
    owner: str | None = None


def require_received(services: Services, upload_id: str, owner: str) -> Upload:
    """Return an owner's upload whose content is there, as a job needs it.

    Raises:
        OptionError: There is none of that id.
        JobStateError: Its content was not sent yet.
    """
    try:
        upload = services.tables.uploads.get(upload_id)
    except JobNotFoundError:
        raise _missing_error(upload_id) from None
    if upload.owned_by != owner:
        raise _missing_error(upload_id)
    if not upload.received:
        raise JobStateError(
            f"upload {upload_id} was announced but its content was not sent yet"
        )
    return upload


def fetch_upload(services: Services, upload_id: str, target: Path, owner: str) -> Image:
    """Copy the content of an owner's upload to a file, verified.

    Raises:
        OptionError: There is none of that id.
        JobStateError: Its content was not sent yet.
    """
    upload = require_received(services, upload_id, owner)
    try:
        with translate_disk_faults():
            services.store.fetch(upload.owner, upload.sha256, target)
    except StoreError:
        require_received(
            services, upload_id, owner
        )  # it may have been deleted just now
        raise
    return Image(target, Payload(upload.sha256, upload.bytes), upload.owner)


def _missing_error(upload_id: str) -> OptionError:
    return OptionError(
        f"there is no upload {upload_id}; announce and send the file first"
    )
