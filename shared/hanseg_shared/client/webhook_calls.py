"""The calls about webhooks as steps: what is sent, and what the answer means."""

from __future__ import annotations

from collections.abc import Callable, Collection

from hanseg_shared.client.calls import ask
from hanseg_shared.client.steps import Call, Pause, Retry, Steps, take
from hanseg_shared.webhooks.documents import (
    DeliveryDocument,
    DeliveryList,
    EventType,
    NewWebhookDocument,
    Outcome,
    WebhookDocument,
    WebhookList,
)

PATH = "/v1/webhooks"

LOOK_SECONDS = 0.5
"""Between two looks whether a test was sent."""


def create(
    url: str, events: Collection[EventType], retry: Retry
) -> Steps[NewWebhookDocument]:
    """Make a webhook; without events, everything is told."""
    told = {"events": sorted(set(events))} if events else {}
    call = Call("POST", PATH, json={"url": url} | told, is_repeatable=False)
    return (yield from ask(NewWebhookDocument, call, retry))


def list_all(retry: Retry) -> Steps[tuple[WebhookDocument, ...]]:
    """Return the caller's own webhooks."""
    listed = yield from ask(WebhookList, Call("GET", PATH), retry)
    return listed.webhooks


def look_at(webhook_id: str, retry: Retry) -> Steps[WebhookDocument]:
    """Return a webhook."""
    call = Call("GET", f"{PATH}/{webhook_id}")
    return (yield from ask(WebhookDocument, call, retry))


def rotate(webhook_id: str, retry: Retry) -> Steps[NewWebhookDocument]:
    """Give a webhook a new secret."""
    call = Call("POST", f"{PATH}/{webhook_id}/rotate", is_repeatable=False)
    return (yield from ask(NewWebhookDocument, call, retry))


def delete(webhook_id: str, retry: Retry) -> Steps[None]:
    """Delete a webhook."""
    call = Call(
        "DELETE",
        f"{PATH}/{webhook_id}",
        is_repeatable=False,  # one that was deleted is not found: 404
    )
    yield from take(call, retry)


def list_deliveries(
    webhook_id: str, retry: Retry
) -> Steps[tuple[DeliveryDocument, ...]]:
    """Return a webhook's newest messages."""
    call = Call("GET", f"{PATH}/{webhook_id}/deliveries")
    listed = yield from ask(DeliveryList, call, retry)
    return listed.deliveries


def test(
    webhook_id: str, timeout_seconds: float, clock: Callable[[], float], retry: Retry
) -> Steps[DeliveryDocument]:
    """Send a test, and return it once it was sent or the time is over."""
    until = clock() + timeout_seconds
    call = Call(
        "POST",
        f"{PATH}/{webhook_id}/ping",
        is_repeatable=False,  # each sends a message
    )
    sent = yield from ask(DeliveryDocument, call, retry)
    while sent.outcome is Outcome.WAITING and clock() < until:
        yield Pause(LOOK_SECONDS)
        found = yield from list_deliveries(webhook_id, retry)
        sent = next((each for each in found if each.id == sent.id), sent)
    return sent
