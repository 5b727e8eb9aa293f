"""Ids in paths: 32 hexadecimal digits, checked before they reach the database."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Path

from hanseg_shared.errors import JobNotFoundError

_ID = re.compile(r"[0-9a-f]{32}")
_EXAMPLE = "4f0c1d2e3b4a59687786a5b4c3d2e1f0"
_SCHEMA = {"pattern": "^[0-9a-f]{32}$"}


def is_id(value: object) -> bool:
    """Whether a value looks like an id of this service."""
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _id_path(description: str) -> str:
    found: str = Path(
        description=description, examples=[_EXAMPLE], json_schema_extra=_SCHEMA
    )
    return found


def _require_id(kind: str, value: str) -> str:
    if not is_id(value):
        raise JobNotFoundError(f"there is no such {kind}; its id is 32 hex digits")
    return value


async def _job_id(job_id: Annotated[str, _id_path("The job's id.")]) -> str:
    return _require_id("job", job_id)


async def _upload_id(upload_id: Annotated[str, _id_path("The upload's id.")]) -> str:
    return _require_id("upload", upload_id)


async def _batch_id(batch_id: Annotated[str, _id_path("The batch's id.")]) -> str:
    return _require_id("batch", batch_id)


async def _webhook_id(
    webhook_id: Annotated[str, _id_path("The webhook's id.")],
) -> str:
    return _require_id("webhook", webhook_id)


JobId = Annotated[str, Depends(_job_id)]
UploadId = Annotated[str, Depends(_upload_id)]
BatchId = Annotated[str, Depends(_batch_id)]
WebhookId = Annotated[str, Depends(_webhook_id)]
