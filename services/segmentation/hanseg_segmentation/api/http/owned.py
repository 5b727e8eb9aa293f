"""Ids of things that the caller may see or change; others' are as if they were not.

Who may see everybody's, but not change it, is told so with 403; all others get 404.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.ids import BatchId, JobId, UploadId, WebhookId
from hanseg_segmentation.api.http.problem_responses import FORBIDDEN, RefusedError
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_shared.errors import JobNotFoundError
from hanseg_shared.jobs.record import Job
from hanseg_shared.jobs.tables.webhooks import Webhook


def require_sight(principal: Principal, owner: str, what: str) -> None:
    """Return if a caller may see what is an owner's.

    Args:
        principal: Who asks.
        owner: Whose it is.
        what: Kind and id, for the message.

    Raises:
        JobNotFoundError: It may not, and does not learn that it exists.
    """
    if principal.sees_only not in {None, owner}:
        raise JobNotFoundError(f"there is no {what}")


def require_change(principal: Principal, owner: str, what: str) -> None:
    """Return if a caller may change what is an owner's.

    Raises:
        JobNotFoundError: It may not even see it.
        RefusedError: It may see it, and no more.
    """
    if principal.may_change(owner):
        return
    require_sight(principal, owner, what)
    raise RefusedError(
        FORBIDDEN, f"{what} is somebody else's; its owner or an admin may do that"
    )


def _seen_job(job_id: JobId, context: ContextDep, principal: PrincipalDep) -> Job:
    job = context.services.tables.jobs.get(job_id)
    require_sight(principal, job.owned_by, f"job {job_id}")
    return job


def _job_to_change(job_id: JobId, context: ContextDep, principal: PrincipalDep) -> str:
    owner = context.services.tables.jobs.owner(job_id)
    require_change(principal, owner, f"job {job_id}")
    return job_id


def _upload_to_change(
    upload_id: UploadId, context: ContextDep, principal: PrincipalDep
) -> str:
    owner = context.services.tables.uploads.get(upload_id).owned_by
    require_change(principal, owner, f"upload {upload_id}")
    return upload_id


def _batch_to_see(
    batch_id: BatchId, context: ContextDep, principal: PrincipalDep
) -> str:
    owner = context.services.tables.batches.get(batch_id).owned_by
    require_sight(principal, owner, f"batch {batch_id}")
    return batch_id


def _batch_to_change(
    batch_id: BatchId, context: ContextDep, principal: PrincipalDep
) -> str:
    owner = context.services.tables.batches.get(batch_id).owned_by
    require_change(principal, owner, f"batch {batch_id}")
    return batch_id


def _seen_webhook(
    webhook_id: WebhookId, context: ContextDep, principal: PrincipalDep
) -> Webhook:
    webhook = context.services.tables.webhooks.get(webhook_id)
    require_sight(principal, webhook.owned_by, f"webhook {webhook_id}")
    return webhook


def _webhook_to_change(
    webhook_id: WebhookId, context: ContextDep, principal: PrincipalDep
) -> str:
    owner = context.services.tables.webhooks.get(webhook_id).owned_by
    require_change(principal, owner, f"webhook {webhook_id}")
    return webhook_id


SeenJob = Annotated[Job, Depends(_seen_job)]
"""The job itself, read once."""

JobToChange = Annotated[str, Depends(_job_to_change)]
UploadToChange = Annotated[str, Depends(_upload_to_change)]
BatchToChange = Annotated[str, Depends(_batch_to_change)]
BatchToSee = Annotated[str, Depends(_batch_to_see)]
SeenWebhook = Annotated[Webhook, Depends(_seen_webhook)]
"""The webhook itself, read once."""

WebhookToChange = Annotated[str, Depends(_webhook_to_change)]
