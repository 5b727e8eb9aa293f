"""What a service tells by webhooks, and what it tells of them.

A message says that something happened to a job, and where to look: nothing of the
patient, of the case's name or of the findings.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from hanseg_shared.document import Document

LONGEST_URL = 2000


class EventType(StrEnum):
    """What happened."""

    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELLED = "job.cancelled"
    EXPIRED = "job.expired"
    """Its files were deleted, on request or as their time was over."""

    SIGNED = "review.signed"
    """Somebody has signed the review of a job's results."""


PING = "ping"
"""The type of a message that a test sends."""


class MessageData(Document):
    """Which job, in which state, and where: below the service's own address.

    A ping has none of it.
    """

    job: str | None = None
    state: str | None = None
    link: str | None = None


class Message(Document):
    """The body of a message: what happened, when, to what."""

    type: str
    timestamp: datetime
    data: MessageData


class Outcome(StrEnum):
    """How a delivery stands."""

    WAITING = "waiting"
    """It is due, or will be tried again."""

    DELIVERED = "delivered"
    """The receiver answered with a status from 200 to 299."""

    GIVEN_UP = "given_up"
    """It was tried as often as a message is, or the webhook is disabled."""


class Failure(StrEnum):
    """Why an attempt failed."""

    BAD_URL = "bad_url"
    """The address is none that the settings allow any more."""

    UNRESOLVED = "unresolved"
    """There is no such name."""

    ADDRESS_REFUSED = "address_refused"
    """The name leads to an address that nothing is sent to."""

    UNREACHABLE = "unreachable"
    """No connection came about, or it broke off."""

    TLS = "tls"
    """The receiver's certificate is not to be trusted, or it speaks no TLS."""

    TIMEOUT = "timeout"
    NO_HTTP = "no_http"
    """The answer is none of HTTP."""

    REDIRECTED = "redirected"
    """It answered with another address, which is not followed."""

    STATUS = "status"
    """It answered with a status that is no success."""

    DISABLED = "disabled"
    """The webhook was disabled before it was sent."""


class WebhookDocument(Document):
    """A webhook: where what is sent.

    One that is `failing_since` has not been reached since then. One that is disabled
    gets nothing until a test of it succeeds; `disabled_why` is `failing` or `gone`.
    """

    id: str
    url: str
    events: tuple[EventType, ...]
    created_at: datetime
    failing_since: datetime | None = None
    disabled_at: datetime | None = None
    disabled_why: str | None = None
    links: dict[str, str]


class NewWebhookDocument(WebhookDocument):
    """A webhook with its secret, which is shown this once.

    While `previous_secret_until` has not passed, messages are signed with the secret
    before as well.
    """

    secret: str
    previous_secret_until: datetime | None = None


class WebhookList(Document):
    """The webhooks of who asks."""

    webhooks: tuple[WebhookDocument, ...]


class DeliveryDocument(Document):
    """A message to a webhook: how often it was tried, and what came of it.

    `status` and `failure` are the last attempt's.
    """

    id: str
    type: str
    timestamp: datetime
    job: str | None = None
    outcome: Outcome
    attempts: Annotated[int, Field(ge=0)]
    tried_at: datetime | None = None
    next_at: datetime | None = None
    status: int | None = None
    failure: Failure | None = None


class DeliveryList(Document):
    """The newest deliveries of a webhook, the newest first."""

    deliveries: tuple[DeliveryDocument, ...]
