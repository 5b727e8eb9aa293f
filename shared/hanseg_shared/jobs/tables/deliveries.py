"""The table of deliveries: messages to webhooks, until they are there or given up.

That a job has ended stands in its row (`announced` is false until every webhook that
asks for it has its message), so that nothing is lost when a process dies. A message is
sent by whoever holds the lease of its webhook, which bounds each webhook, and each
owner, to one connection at a time. Who dies while sending leaves a lease that ends, and
the message is sent again: at least once, under one id.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from hanseg_shared.documents import FINAL_STATES, JobState, ReviewState
from hanseg_shared.jobs.database import Database
from hanseg_shared.jobs.schema import jobs, webhook_deliveries, webhooks
from hanseg_shared.jobs.tables.tallies import TallyName, add
from hanseg_shared.jobs.tables.webhooks import Webhook, WhyDisabled, read_webhook
from hanseg_shared.review.documents import ReviewDocument
from hanseg_shared.webhooks.documents import PING, EventType, Failure, Outcome
from hanseg_shared.webhooks.schedule import (
    JITTER,
    LONGEST_SECONDS,
    PATIENCE_SECONDS,
    wait_seconds,
)
from hanseg_shared.webhooks.sending import Answer

LEASE_SECONDS = 120.0
"""More than an attempt takes, with the name looked up: so long nobody else sends."""

WRONG_LEASE = 2 * LEASE_SECONDS
"""A lease that ends later was given by a clock that was wrong. One that ends a little
later than it could was given since the time was asked for."""

MOST_AT_ONCE = 200
"""How many jobs are announced in one transaction."""

MOST_LISTED = 100
"""How many of a webhook's messages are listed."""

FAR = (1.0 + JITTER) * LONGEST_SECONDS + 60.0
"""A message that is due later than this was put off by a clock that was wrong."""

_EVENTS = {
    JobState.SUCCEEDED: EventType.SUCCEEDED,
    JobState.FAILED: EventType.FAILED,
    JobState.CANCELLED: EventType.CANCELLED,
    JobState.EXPIRED: EventType.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to a webhook; times are seconds since 1970.

    Attributes:
        event: What it tells: an `EventType`, or a ping.
        at: When that happened.
        due_at: When it is to be tried next, if it waits.
        status: What the receiver answered at the last attempt.
    """

    id: str
    webhook_id: str
    event: str
    at: float
    job_id: str | None
    state: str | None
    outcome: Outcome
    attempts: int
    due_at: float
    tried_at: float | None = None
    status: int | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True)
class ClaimedDelivery:
    """A message that its holder is to send now, under the token of the lease."""

    webhook: Webhook
    delivery: Delivery
    token: str
    now: float


@dataclass(frozen=True, slots=True)
class Settled:
    """What an attempt came to."""

    outcome: Outcome
    disabled: WhyDisabled | None = None


class Deliveries:
    """Messages that are due, and what became of them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def announce(self) -> int:
        """Make the messages of jobs that have ended; return how many jobs that were."""
        taken = 0
        while self._has_unannounced():
            with self._database.write() as connection:
                found = self._announce_some(connection)
            taken += found
            if found < MOST_AT_ONCE:
                break
        return taken

    def note_review(
        self, connection: Connection, before: ReviewDocument, after: ReviewDocument
    ) -> None:
        """Make the messages of a signed review, in the caller's transaction."""
        if after.state is not ReviewState.SIGNED or before.state is ReviewState.SIGNED:
            return
        row = connection.execute(
            sa.select(jobs.c.id, jobs.c.state, jobs.c.owned_by).where(
                jobs.c.id == after.job
            )
        ).one()
        now, about = self._database.time(connection), (row.id, row.state)
        for hook in _enabled(connection, {row.owned_by}):
            if EventType.SIGNED in hook.events.split():
                _insert(connection, hook.id, EventType.SIGNED, about, at=now, now=now)

    def ping(self, webhook_id: str) -> Delivery:
        """Make a test of a webhook; one that waits already is as good."""
        with self._database.write() as connection:
            waiting = connection.execute(
                sa.select(webhook_deliveries).where(
                    webhook_deliveries.c.webhook_id == webhook_id,
                    webhook_deliveries.c.event == PING,
                    webhook_deliveries.c.outcome == Outcome.WAITING,
                )
            ).first()
            now = self._database.time(connection)
            if waiting is not None:
                connection.execute(
                    webhook_deliveries.update()
                    .where(webhook_deliveries.c.id == waiting.id)
                    .values(due_at=now)
                )
                made = str(waiting.id)
            else:
                made = _insert(connection, webhook_id, PING, None, at=now, now=now)
            row = connection.execute(
                sa.select(webhook_deliveries).where(webhook_deliveries.c.id == made)
            ).one()
        return _read(row)

    def list(self, webhook_id: str) -> list[Delivery]:
        """Return a webhook's newest messages, the newest first."""
        query = (
            sa.select(webhook_deliveries)
            .where(webhook_deliveries.c.webhook_id == webhook_id)
            .order_by(
                webhook_deliveries.c.created_at.desc(), webhook_deliveries.c.id.desc()
            )
            .limit(MOST_LISTED)
        )
        with self._database.read() as connection:
            return [_read(row) for row in connection.execute(query)]

    def claim(self) -> ClaimedDelivery | None:
        """Give the caller a message to send; None if nothing is due.

        The webhook comes next whose last turn is longest ago.
        """
        with self._database.read() as connection:
            now = self._database.time(connection)
            found = connection.execute(_next_webhook(now)).first()
        if found is None:
            return None
        token = uuid.uuid4().hex
        with self._database.write() as connection:
            now = self._database.time(connection)
            row = connection.execute(
                webhooks.update()
                .where(webhooks.c.id == found.id, _is_free(now))
                .values(token=token, lease_until=now + LEASE_SECONDS, turn_at=now)
                .returning(*webhooks.c)
            ).one_or_none()
            if row is None:  # another process was faster
                return None
            due = (
                sa.select(webhook_deliveries.c.id)
                .where(webhook_deliveries.c.webhook_id == row.id, *_is_due(now))
                .order_by(webhook_deliveries.c.due_at, webhook_deliveries.c.id)
                .limit(1)
            )
            message = connection.execute(
                webhook_deliveries.update()
                .where(webhook_deliveries.c.id == due.scalar_subquery())
                .values(attempts=webhook_deliveries.c.attempts + 1, tried_at=now)
                .returning(*webhook_deliveries.c)
            ).one_or_none()
            if message is None:  # it was deleted meanwhile
                _free(connection, row.id, token)
                return None
        return ClaimedDelivery(read_webhook(row, now), _read(message), token, now)

    def settle(
        self, claimed: ClaimedDelivery, answer: Answer, *, chance: float
    ) -> Settled | None:
        """Note what came of an attempt, and give the webhook back.

        Args:
            claimed: What was sent.
            answer: What came of it.
            chance: From 0 to 1, for when it is tried again.

        Returns:
            None if the lease was lost, or the message deleted meanwhile.
        """
        with self._database.write() as connection:
            now = self._database.time(connection)
            hook, message = claimed.webhook, claimed.delivery
            is_test = message.event == PING  # which is tried once
            wait = None if is_test else wait_seconds(message.attempts, chance)
            outcome = Outcome.DELIVERED if answer.is_success else Outcome.WAITING
            if not answer.is_success and (wait is None or answer.is_gone):
                outcome = Outcome.GIVEN_UP
            is_ours = _free(connection, hook.id, claimed.token)
            if not is_ours or not _note_attempt(
                connection, message.id, answer, outcome, due_at=now + (wait or 0.0)
            ):
                return None
            counted = "failed" if outcome is Outcome.WAITING else outcome.value
            add(connection, {(TallyName.WEBHOOKS, (("outcome", counted),)): 1})
            if answer.is_success:
                _note_success(connection, hook.id, is_test=is_test)
                return Settled(outcome)
            since = _note_failure(connection, hook.id, now)
            why = _why_disabled(answer, outcome, now - since)
            if why is not None and hook.disabled_at is None:
                _disable(connection, hook.id, why, now)
                return Settled(Outcome.GIVEN_UP, why)
        return Settled(outcome)

    def drop_old(self, *, older_than_seconds: float) -> int:
        """Forget messages that were kept for their time; return how many."""
        with self._database.write() as connection:
            limit = self._database.time(connection) - older_than_seconds
            dropped = connection.execute(
                webhook_deliveries.delete().where(
                    webhook_deliveries.c.created_at < limit
                )
            )
        return dropped.rowcount

    def _has_unannounced(self) -> bool:
        with self._database.read() as connection:
            return connection.execute(_unannounced(1)).first() is not None

    def _announce_some(self, connection: Connection) -> int:
        # locked rows are another process's, and nobody waits for anybody here
        some = _unannounced(MOST_AT_ONCE).with_for_update(skip_locked=True)
        rows = connection.execute(
            jobs.update()
            .where(jobs.c.id.in_(some), jobs.c.announced.is_(False))
            .values(announced=True)
            .returning(*_OF_A_JOB)
        ).all()
        now = self._database.time(connection)
        hooks = _enabled(connection, {row.owned_by for row in rows})
        for row in rows:
            event, at = _EVENTS[JobState(row.state)], _time_of(row, now)
            for hook in hooks:
                if (
                    hook.owned_by == row.owned_by
                    and event in hook.events.split()
                    and at >= hook.created_at
                ):
                    _insert(
                        connection,
                        hook.id,
                        event,
                        (row.id, row.state),
                        at=at,
                        now=now,
                    )
        return len(rows)


_OF_A_JOB = (
    jobs.c.id,
    jobs.c.state,
    jobs.c.owned_by,
    jobs.c.finished_at,
    jobs.c.updated_at,
)


def forget_deliveries(connection: Connection, job_ids: Collection[str]) -> None:
    """Delete what messages say of jobs, in the caller's transaction."""
    connection.execute(
        webhook_deliveries.delete().where(webhook_deliveries.c.job_id.in_(job_ids))
    )


def _unannounced(most: int) -> sa.Select[tuple[str]]:
    return (
        sa.select(jobs.c.id)
        .where(jobs.c.announced.is_(False), jobs.c.state.in_(FINAL_STATES))
        .limit(most)
    )


def _time_of(row: sa.Row[tuple[object, ...]], now: float) -> float:
    """Return when a job came into its state; what a damaged row says counts as now."""
    at = row.updated_at if row.state == JobState.EXPIRED else row.finished_at
    # SQLite returns whole numbers as integers
    is_time = isinstance(at, int | float) and 0.0 <= at <= now
    return float(at) if is_time else now


def _enabled(
    connection: Connection, owners: Collection[str]
) -> list[sa.Row[tuple[object, ...]]]:
    return list(
        connection.execute(
            sa.select(webhooks).where(
                webhooks.c.owned_by.in_(owners), webhooks.c.disabled_at.is_(None)
            )
        )
    )


def _insert(
    connection: Connection,
    webhook_id: str,
    event: str,
    about: tuple[str, str] | None,
    *,
    at: float,
    now: float,
) -> str:
    """Make a message of an event, `about` a job in a state; return its id."""
    message_id = uuid.uuid4().hex
    connection.execute(
        webhook_deliveries.insert().values(
            id=message_id,
            webhook_id=webhook_id,
            event=event,
            at=at,
            job_id=None if about is None else about[0],
            state=None if about is None else about[1],
            outcome=Outcome.WAITING,
            attempts=0,
            due_at=now,
            created_at=now,
        )
    )
    return message_id


def _is_due(now: float) -> tuple[sa.ColumnElement[bool], ...]:
    due_at = webhook_deliveries.c.due_at
    return (
        webhook_deliveries.c.outcome == Outcome.WAITING,
        sa.or_(due_at <= now, due_at > now + FAR),
    )


def _is_free(now: float) -> sa.ColumnElement[bool]:
    until = webhooks.c.lease_until
    return sa.or_(until.is_(None), until <= now, until > now + WRONG_LEASE)


def _next_webhook(now: float) -> sa.Select[tuple[str]]:
    other = webhooks.alias()
    busy = sa.exists().where(
        other.c.owned_by == webhooks.c.owned_by,
        other.c.lease_until > now,
        other.c.lease_until <= now + WRONG_LEASE,
    )
    due = sa.exists().where(
        webhook_deliveries.c.webhook_id == webhooks.c.id, *_is_due(now)
    )
    return (
        sa.select(webhooks.c.id)
        .where(due, ~busy)
        .order_by(webhooks.c.turn_at, webhooks.c.id)
        .limit(1)
    )


def _free(connection: Connection, webhook_id: str, token: str) -> bool:
    freed = connection.execute(
        webhooks.update()
        .where(webhooks.c.id == webhook_id, webhooks.c.token == token)
        .values(token=None, lease_until=None)
    )
    return bool(freed.rowcount)


def _note_attempt(
    connection: Connection,
    message_id: str,
    answer: Answer,
    outcome: Outcome,
    *,
    due_at: float,
) -> bool:
    noted = connection.execute(
        webhook_deliveries.update()
        .where(
            webhook_deliveries.c.id == message_id,
            webhook_deliveries.c.outcome == Outcome.WAITING,
        )
        .values(
            outcome=outcome, status=answer.status, failure=answer.failure, due_at=due_at
        )
    )
    return bool(noted.rowcount)


def _note_success(connection: Connection, webhook_id: str, *, is_test: bool) -> None:
    values: dict[str, None] = {"failing_since": None}
    if is_test:
        values |= {"disabled_at": None, "disabled_why": None}
    connection.execute(
        webhooks.update().where(webhooks.c.id == webhook_id).values(values)
    )


def _note_failure(connection: Connection, webhook_id: str, now: float) -> float:
    since = connection.execute(
        webhooks.update()
        .where(webhooks.c.id == webhook_id)
        .values(failing_since=sa.func.coalesce(webhooks.c.failing_since, now))
        .returning(webhooks.c.failing_since)
    ).scalar_one()
    return float(since)


def _why_disabled(
    answer: Answer, outcome: Outcome, failing_seconds: float
) -> WhyDisabled | None:
    if answer.is_gone:
        return WhyDisabled.GONE
    if outcome is Outcome.GIVEN_UP and failing_seconds >= PATIENCE_SECONDS:
        return WhyDisabled.FAILING
    return None


def _disable(
    connection: Connection, webhook_id: str, why: WhyDisabled, now: float
) -> None:
    connection.execute(
        webhooks.update()
        .where(webhooks.c.id == webhook_id)
        .values(disabled_at=now, disabled_why=why)
    )
    given_up = connection.execute(
        webhook_deliveries.update()
        .where(
            webhook_deliveries.c.webhook_id == webhook_id,
            webhook_deliveries.c.outcome == Outcome.WAITING,
        )
        .values(outcome=Outcome.GIVEN_UP, failure=Failure.DISABLED)
    ).rowcount
    labels = (("outcome", Outcome.GIVEN_UP.value),)
    add(connection, {(TallyName.WEBHOOKS, labels): given_up} if given_up else {})


def _read(row: sa.Row[tuple[object, ...]]) -> Delivery:
    values = dict(row._mapping)
    del values["created_at"]
    values["outcome"] = Outcome(row.outcome)
    values["failure"] = row.failure and Failure(row.failure)
    return Delivery(**values)
