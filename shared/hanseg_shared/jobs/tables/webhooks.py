"""The table of webhooks: where owners are told what became of their jobs."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.errors import JobNotFoundError, TooManyWebhooksError
from hanseg_shared.jobs.database import Database, take_turns
from hanseg_shared.jobs.schema import webhook_deliveries, webhooks
from hanseg_shared.webhooks.documents import EventType
from hanseg_shared.webhooks.signature import make_secret

LOCK_NUMBER = 0x77656268
"""PostgreSQL's advisory lock under which an owner's webhooks are counted."""

ROTATION_SECONDS = 24 * 3600.0
"""How long messages are signed with the secret before as well."""


class WhyDisabled(StrEnum):
    """Why a webhook gets nothing any more."""

    FAILING = "failing"
    """It was not reached for days."""

    GONE = "gone"
    """It answered with 410 that it wants no more."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A webhook; times are seconds since 1970.

    Attributes:
        secrets: What messages are signed with now, the newest first.
        previous_until: Until when that is done with the one before, too.
        failing_since: Since when it has not been reached; None if it was at last.
    """

    id: str
    owned_by: str
    url: str = field(repr=False)
    events: frozenset[EventType]
    secrets: tuple[str, ...] = field(repr=False)
    created_at: float
    previous_until: float | None = None
    failing_since: float | None = None
    disabled_at: float | None = None
    disabled_why: WhyDisabled | None = None


class WebhooksTable:
    """The webhooks of all owners."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, url: str, events: Collection[EventType], *, owned_by: str, most: int
    ) -> Webhook:
        """Make a webhook with a new secret.

        Args:
            url: Where messages go; it is the caller who looks at it.
            events: What is told.
            owned_by: Whose it is, and of whose jobs.
            most: How many an owner may have.

        Raises:
            TooManyWebhooksError: The owner has so many.
        """
        webhook_id = uuid.uuid4().hex
        with self._database.write() as connection:
            _require_few(connection, owned_by, most)
            connection.execute(
                webhooks.insert().values(
                    id=webhook_id,
                    owned_by=owned_by,
                    url=url,
                    events=" ".join(sorted(set(events))),
                    secret=make_secret(),
                    created_at=self._database.time(connection),
                )
            )
        return self.get(webhook_id)

    def get(self, webhook_id: str) -> Webhook:
        """Return a webhook.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.read() as connection:
            now = self._database.time(connection)
            row = connection.execute(
                sa.select(webhooks).where(webhooks.c.id == webhook_id)
            ).one_or_none()
        if row is None:
            raise JobNotFoundError(f"there is no webhook {webhook_id}")
        return read_webhook(row, now)

    def list(self, owned_by: str) -> list[Webhook]:
        """Return an owner's webhooks, the newest last."""
        query = (
            sa.select(webhooks)
            .where(webhooks.c.owned_by == owned_by)
            .order_by(webhooks.c.created_at, webhooks.c.id)
        )
        with self._database.read() as connection:
            now = self._database.time(connection)
            return [read_webhook(row, now) for row in connection.execute(query)]

    def rotate(self, webhook_id: str) -> Webhook:
        """Give a webhook a new secret; for a day the one before signs as well.

        Raises:
            JobNotFoundError: There is none of that id.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            connection.execute(
                webhooks.update()
                .where(webhooks.c.id == webhook_id)
                .values(
                    previous_secret=webhooks.c.secret,
                    previous_until=now + ROTATION_SECONDS,
                    secret=make_secret(),
                )
            )
        return self.get(webhook_id)

    def delete(self, webhook_id: str) -> None:
        """Forget a webhook and all its messages, also those that are due."""
        with self._database.write() as connection:
            connection.execute(webhooks.delete().where(webhooks.c.id == webhook_id))
            connection.execute(
                webhook_deliveries.delete().where(
                    webhook_deliveries.c.webhook_id == webhook_id
                )
            )


def read_webhook(row: sa.Row[tuple[object, ...]], now: float) -> Webhook:
    """Return the webhook that a row holds, as it stands at a time."""
    known = {each.value for each in EventType}
    previous_until = row.previous_until
    is_rotating = previous_until is not None and previous_until > now
    return Webhook(
        id=row.id,
        owned_by=row.owned_by,
        url=row.url,
        events=frozenset(
            EventType(each) for each in row.events.split() if each in known
        ),
        secrets=(row.secret, row.previous_secret) if is_rotating else (row.secret,),
        created_at=row.created_at,
        previous_until=previous_until if is_rotating else None,
        failing_since=row.failing_since,
        disabled_at=row.disabled_at,
        disabled_why=row.disabled_why and WhyDisabled(row.disabled_why),
    )


def _require_few(connection: Connection, owned_by: str, most: int) -> None:
    take_turns(connection, LOCK_NUMBER)
    count = connection.execute(
        sa.select(sa.func.count()).where(webhooks.c.owned_by == owned_by)
    ).scalar_one()
    if count >= most:
        raise TooManyWebhooksError(
            f"you have {count} webhooks and may have {most}; delete one first"
        )
