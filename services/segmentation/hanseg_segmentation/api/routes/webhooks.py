"""The routes of webhooks: where callers have told what became of their jobs."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Response

from hanseg_segmentation.api.context import ContextDep
from hanseg_segmentation.api.http.access import needs
from hanseg_segmentation.api.http.links import WEBHOOKS, webhook_path
from hanseg_segmentation.api.http.owned import SeenWebhook, WebhookToChange
from hanseg_segmentation.api.http.parsing import StrictRoute
from hanseg_segmentation.api.http.respond import (
    LOCATION,
    answer,
    describe_answer,
    describe_problems,
)
from hanseg_segmentation.api.http.schemas import WebhookRequest
from hanseg_segmentation.api.principal import Principal, PrincipalDep
from hanseg_shared.access import Scope
from hanseg_shared.jobs.record import moment, moment_or_none
from hanseg_shared.jobs.tables.deliveries import Delivery
from hanseg_shared.jobs.tables.webhooks import Webhook
from hanseg_shared.settings import Settings
from hanseg_shared.webhooks.addresses import Reach
from hanseg_shared.webhooks.documents import (
    DeliveryDocument,
    DeliveryList,
    NewWebhookDocument,
    Outcome,
    WebhookDocument,
    WebhookList,
)

router = APIRouter(tags=["webhooks"], route_class=StrictRoute)


@router.post(
    WEBHOOKS,
    status_code=201,
    summary="Make a webhook",
    operation_id="create_webhook",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        201,
        "It is there; its secret is shown this once.",
        model=NewWebhookDocument,
        headers=LOCATION,
    )
    | describe_problems(400, 409, 413, 422),
)
def create_webhook(
    asked: WebhookRequest, context: ContextDep, principal: PrincipalDep
) -> Response:
    """Have what becomes of the caller's jobs sent to an address, from now on.

    Messages are those of Standard Webhooks, signed with the secret of the answer, and
    sent again for 22 hours until one is answered with a status from 200 to 299.
    """
    settings = context.services.settings
    _reach(settings).require_url(asked.url)
    made = context.services.tables.webhooks.create(
        asked.url,
        asked.events,
        owned_by=principal.owner,
        most=settings.max_webhooks_a_caller,
    )
    headers = {"Location": webhook_path(made.id)}
    made_document = _document_with_secret(made, url=made.url)
    return answer(made_document, status=201, headers=headers)


@router.get(
    WEBHOOKS,
    summary="List webhooks",
    operation_id="list_webhooks",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(200, "The caller's own.", model=WebhookList)
    | describe_problems(),
)
def list_webhooks(context: ContextDep, principal: PrincipalDep) -> Response:
    """Return the caller's own webhooks, the newest last, without their secrets."""
    found = context.services.tables.webhooks.list(principal.owner)
    listed = tuple(_document(each, url=each.url) for each in found)
    return answer(WebhookList(webhooks=listed))


@router.get(
    WEBHOOKS + "/{webhook_id}",
    summary="Look at a webhook",
    operation_id="get_webhook",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(200, "How it stands.", model=WebhookDocument)
    | describe_problems(404, 422),
)
def get_webhook(webhook: SeenWebhook, principal: PrincipalDep) -> Response:
    """Return a webhook; of somebody else's address, whoever may see it gets the host.

    What follows the host may be a secret between its owner and the receiver.
    """
    return answer(_document(webhook, url=_url_for(principal, webhook)))


@router.delete(
    WEBHOOKS + "/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    operation_id="delete_webhook",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(204, "Nothing is sent any more.")
    | describe_problems(404, 422),
)
def delete_webhook(webhook_id: WebhookToChange, context: ContextDep) -> Response:
    """Delete a webhook with its messages, also those that were still to be sent."""
    context.services.tables.webhooks.delete(webhook_id)
    return Response(status_code=204)


@router.post(
    WEBHOOKS + "/{webhook_id}/rotate",
    summary="Replace a webhook's secret",
    operation_id="rotate_webhook",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        200, "The new secret, shown this once.", model=NewWebhookDocument
    )
    | describe_problems(404, 422),
)
def rotate_webhook(
    webhook_id: WebhookToChange, context: ContextDep, principal: PrincipalDep
) -> Response:
    """Give a webhook a new secret; for 24 hours messages are signed with both.

    Of somebody else's address an admin gets the host, as where it is looked at.
    """
    rotated = context.services.tables.webhooks.rotate(webhook_id)
    return answer(_document_with_secret(rotated, url=_url_for(principal, rotated)))


@router.post(
    WEBHOOKS + "/{webhook_id}/ping",
    status_code=202,
    summary="Test a webhook",
    operation_id="ping_webhook",
    dependencies=[needs(Scope.SUBMIT)],
    responses=describe_answer(
        202, "The test will be sent within seconds, once.", model=DeliveryDocument
    )
    | describe_problems(404, 422),
)
def ping_webhook(webhook_id: WebhookToChange, context: ContextDep) -> Response:
    """Send a message of the type `ping`; its deliveries say what came of it.

    A webhook that was disabled is enabled again when the test succeeds.
    """
    sent = context.services.tables.deliveries.ping(webhook_id)
    return answer(_delivery_document(sent), status=202)


@router.get(
    WEBHOOKS + "/{webhook_id}/deliveries",
    summary="Look at a webhook's deliveries",
    operation_id="list_webhook_deliveries",
    dependencies=[needs(Scope.READ)],
    responses=describe_answer(
        200, "The newest hundred of the last 30 days.", model=DeliveryList
    )
    | describe_problems(404, 422),
)
def list_webhook_deliveries(webhook: SeenWebhook, context: ContextDep) -> Response:
    """Return the newest messages of a webhook, and what became of each.

    Those of a job go when its files are deleted.
    """
    found = context.services.tables.deliveries.list(webhook.id)
    listed = tuple(_delivery_document(each) for each in found)
    return answer(DeliveryList(deliveries=listed))


def _reach(settings: Settings) -> Reach:
    return Reach.of(settings.webhook_networks, plain_http=settings.webhook_http)


def _url_for(principal: Principal, webhook: Webhook) -> str:
    if principal.owner == webhook.owned_by:
        return webhook.url
    parts = urlsplit(webhook.url)
    return f"{parts.scheme}://{parts.netloc}/"


def _document(webhook: Webhook, *, url: str) -> WebhookDocument:
    return WebhookDocument(**_members(webhook, url))


def _document_with_secret(webhook: Webhook, *, url: str) -> NewWebhookDocument:
    return NewWebhookDocument(
        **_members(webhook, url),
        secret=webhook.secrets[0],
        previous_secret_until=moment_or_none(webhook.previous_until),
    )


def _members(webhook: Webhook, url: str) -> dict[str, Any]:
    path = webhook_path(webhook.id)
    return {
        "id": webhook.id,
        "url": url,
        "events": tuple(sorted(webhook.events)),
        "created_at": moment(webhook.created_at),
        "failing_since": moment_or_none(webhook.failing_since),
        "disabled_at": moment_or_none(webhook.disabled_at),
        "disabled_why": webhook.disabled_why,
        "links": {"self": path, "deliveries": f"{path}/deliveries"},
    }


def _delivery_document(delivery: Delivery) -> DeliveryDocument:
    waits = delivery.outcome is Outcome.WAITING
    return DeliveryDocument(
        id=delivery.id,
        type=delivery.event,
        timestamp=moment(delivery.at),
        job=delivery.job_id,
        outcome=delivery.outcome,
        attempts=delivery.attempts,
        tried_at=moment_or_none(delivery.tried_at),
        next_at=moment(delivery.due_at) if waits else None,
        status=delivery.status,
        failure=delivery.failure,
    )
