"""`hanseg webhooks`: where a running service tells what became of jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from hanseg_shared.client.jobs_cli import (
    id_argument,
    of_a_service,
    running_service,
)
from hanseg_shared.errors import JobStateError
from hanseg_shared.terminal import minute_of, print_event, table_of, tell
from hanseg_shared.webhooks.documents import EventType, Outcome

if TYPE_CHECKING:
    from hanseg_shared.webhooks.documents import (
        DeliveryDocument,
        NewWebhookDocument,
        WebhookDocument,
    )


@click.group()
def webhooks() -> None:
    """Have ended jobs told to other programs, by a running service."""


_ID = id_argument("webhook", metavar="ID")


@webhooks.command()
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice([each.value for each in EventType]),
    help="What is told; may be given several times.  [default: everything]",
)
@of_a_service
def create(
    address: str, events: tuple[str, ...], url: str | None, as_json: bool
) -> None:
    """Have what becomes of your jobs told to ADDRESS, and show the secret this once."""
    with running_service(url) as client:
        made = client.create_webhook(address, [EventType(each) for each in events])
    _show_secret("webhook", made, as_json=as_json)


@webhooks.command("list")
@of_a_service
def list_webhooks(url: str | None, as_json: bool) -> None:
    """List your webhooks, the newest last."""
    from rich.console import Console

    with running_service(url) as client:
        found = client.webhooks()
    if as_json:
        for each in found:
            print_event("webhook", **each.model_dump(mode="json"))
        return
    rows = [(each.id, each.url, ", ".join(each.events), _stand(each)) for each in found]
    Console().print(table_of(("id", "address", "events", "standing"), rows))


@webhooks.command()
@_ID
@of_a_service
def deliveries(webhook_id: str, url: str | None, as_json: bool) -> None:
    """List the newest messages of the webhook ID, and what became of each."""
    from rich.console import Console

    with running_service(url) as client:
        found = client.webhook_deliveries(webhook_id)
    if as_json:
        for each in found:
            print_event("delivery", **each.model_dump(mode="json"))
        return
    rows = [
        (
            minute_of(each.timestamp),
            each.type,
            each.job or "",
            str(each.attempts),
            _describe(each),
        )
        for each in found
    ]
    headings = ("time", "event", "job", "attempts", "outcome")
    Console().print(table_of(headings, rows, right=("attempts",)))


@webhooks.command()
@_ID
@of_a_service
def rotate(webhook_id: str, url: str | None, as_json: bool) -> None:
    """Give the webhook ID a new secret; for a day messages are signed with both."""
    with running_service(url) as client:
        rotated = client.rotate_webhook(webhook_id)
    _show_secret("rotated", rotated, as_json=as_json)


@webhooks.command()
@_ID
@of_a_service
def delete(webhook_id: str, url: str | None, as_json: bool) -> None:
    """Delete the webhook ID with its messages."""
    with running_service(url) as client:
        client.delete_webhook(webhook_id)
    line = f"webhook {webhook_id} is deleted"
    tell("deleted", line, as_json=as_json, id=webhook_id)


@webhooks.command()
@_ID
@of_a_service
def test(webhook_id: str, url: str | None, as_json: bool) -> None:
    """Send a test to the webhook ID and say what came of it.

    A webhook that was disabled is enabled again if the test succeeds.
    """
    with running_service(url) as client:
        sent = client.test_webhook(webhook_id)
    if sent.outcome is not Outcome.DELIVERED:
        raise JobStateError(f"the test of webhook {webhook_id}: {_describe(sent)}")
    line = f"the test was delivered: {sent.status}"
    tell("delivered", line, as_json=as_json, **sent.model_dump(mode="json"))


def _show_secret(event: str, made: NewWebhookDocument, *, as_json: bool) -> None:
    if as_json:
        print_event(event, **made.model_dump(mode="json"))
        return
    click.echo(f"webhook {made.id}, with its secret, shown this once:", err=True)
    click.echo(made.secret)


def _stand(webhook: WebhookDocument) -> str:
    if webhook.disabled_at is not None:
        return f"disabled: {webhook.disabled_why}"
    if webhook.failing_since is not None:
        return f"failing since {minute_of(webhook.failing_since)}"
    return "in use"


def _describe(delivery: DeliveryDocument) -> str:
    why = " ".join(
        str(each) for each in (delivery.failure, delivery.status) if each is not None
    )
    if delivery.outcome is Outcome.GIVEN_UP:
        return f"given up: {why}"
    if delivery.outcome is Outcome.DELIVERED:
        return f"delivered: {why}"
    if delivery.attempts and why:
        return f"waiting, after: {why}"
    return "waiting; does the service's sweep run?"
