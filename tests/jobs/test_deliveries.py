"""Deliveries: each end of a job is told once to each webhook that asks for it."""

from __future__ import annotations

import pytest

from hanseg_shared.documents import JobState, ReviewState
from hanseg_shared.errors import JobNotFoundError, TooManyWebhooksError
from hanseg_shared.jobs.record import StageResult
from hanseg_shared.jobs.schema import jobs
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.deliveries import LEASE_SECONDS, Deliveries, Settled
from hanseg_shared.jobs.tables.tallies import TallyName
from hanseg_shared.jobs.tables.webhooks import ROTATION_SECONDS, WhyDisabled
from hanseg_shared.review.documents import ReviewDocument
from hanseg_shared.webhooks.documents import PING, EventType, Failure, Outcome
from hanseg_shared.webhooks.schedule import ATTEMPTS, KEPT_SECONDS, PATIENCE_SECONDS
from hanseg_shared.webhooks.sending import Answer
from tests.jobs.fakes import EPOCH, PROBLEM, claim, new_job

URL = "https://example.org/hanseg?token=hidden"
DELIVERED, REFUSED = Answer(204), Answer(503, Failure.STATUS)
GONE = Answer(410, Failure.STATUS)


def new_webhook(tables, *events: EventType, owner: str = "anna", url: str = URL) -> str:
    made = tables.webhooks.create(
        url, events or tuple(EventType), owned_by=owner, most=10
    )
    return str(made.id)


def finish(tables, owner: str = "anna") -> str:
    job = new_job(tables, owned_by=owner)
    for stage in Stage:
        assert tables.claims.finish_stage(
            claim(tables, job, stage), stage, StageResult()
        )
    return job.id


def told(tables, webhook_id: str) -> list[tuple[str, str | None]]:
    return [(each.event, each.job_id) for each in tables.deliveries.list(webhook_id)]


def attempt(tables, answer: Answer) -> Settled:
    claimed = tables.deliveries.claim()
    assert claimed is not None
    settled = tables.deliveries.settle(claimed, answer, chance=0.5)
    assert settled is not None
    return settled


def count(tables, outcome: str) -> float:
    found = tables.tallies.read().get(TallyName.WEBHOOKS, {})
    return found.get((("outcome", outcome),), 0.0)


class TestAnnouncing:
    def test_a_job_that_ended_is_told_once(self, tables):
        hook = new_webhook(tables)
        job = finish(tables)
        new_job(tables, owned_by="anna")

        assert [tables.deliveries.announce() for _ in range(2)] == [1, 0]
        [message] = tables.deliveries.list(hook)
        assert (message.event, message.job_id) == (EventType.SUCCEEDED, job)
        assert (message.state, message.at) == ("succeeded", EPOCH)
        assert (message.outcome, message.attempts) == (Outcome.WAITING, 0)

    def test_every_end_has_its_own_type(self, tables):
        hook = new_webhook(tables)
        failed, cancelled = (new_job(tables, owned_by="anna") for _ in range(2))
        tables.claims.fail(claim(tables, failed), PROBLEM)
        tables.jobs.request_cancel(cancelled.id)
        tables.deliveries.announce()
        assert set(told(tables, hook)) == {
            (EventType.FAILED, failed.id),
            (EventType.CANCELLED, cancelled.id),
        }

    def test_only_what_was_asked_for_is_told(self, tables):
        hook = new_webhook(tables, EventType.FAILED)
        finish(tables)
        assert tables.deliveries.announce() == 1
        assert told(tables, hook) == []

    def test_only_the_owner_is_told(self, tables):
        hooks = [new_webhook(tables, owner=owner) for owner in ("anna", "bert")]
        job = finish(tables, owner="bert")
        tables.deliveries.announce()
        assert [told(tables, each) for each in hooks] == [
            [],
            [(EventType.SUCCEEDED, job)],
        ]

    def test_several_webhooks_of_one_owner_are_told(self, tables):
        hooks = [new_webhook(tables) for _ in range(3)]
        finish(tables)
        tables.deliveries.announce()
        assert [len(told(tables, each)) for each in hooks] == [1, 1, 1]

    def test_what_ended_before_there_was_a_webhook_is_not_told(self, tables, clock):
        finish(tables)
        clock.advance(1.0)
        hook = new_webhook(tables)
        assert tables.deliveries.announce() == 1
        assert told(tables, hook) == []

    def test_an_end_that_nobody_announced_is_told_later(self, tables, clock):
        """What ended while no process announced it, whoever ended it."""
        hook = new_webhook(tables)
        finish(tables)
        clock.advance(7 * 24 * 3600.0)
        tables.deliveries.announce()
        assert [each.at for each in tables.deliveries.list(hook)] == [EPOCH]

    def test_nothing_is_told_of_a_transaction_that_failed(self, tables, monkeypatch):
        hook = new_webhook(tables)
        finish(tables)

        def die(*_: object, **__: object) -> str:
            raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr("hanseg_shared.jobs.tables.deliveries._insert", die)
            with pytest.raises(RuntimeError):
                tables.deliveries.announce()
        assert told(tables, hook) == []
        assert tables.deliveries.announce() == 1
        assert len(told(tables, hook)) == 1

    def test_thousands_are_announced_by_hundreds(self, tables, monkeypatch):
        monkeypatch.setattr("hanseg_shared.jobs.tables.deliveries.MOST_AT_ONCE", 2)
        hook = new_webhook(tables)
        for _ in range(5):
            tables.jobs.request_cancel(new_job(tables, owned_by="anna").id)
        assert tables.deliveries.announce() == 5
        assert len(told(tables, hook)) == 5

    def test_a_time_that_cannot_be_read_is_now(self, tables, clock):
        hook = new_webhook(tables)
        job = finish(tables)
        with tables.database.write() as connection:
            connection.execute(
                jobs.update().where(jobs.c.id == job).values(finished_at=None)
            )
        clock.advance(5.0)
        tables.deliveries.announce()
        assert [each.at for each in tables.deliveries.list(hook)] == [EPOCH + 5.0]

    def test_a_signed_review_is_told_with_the_signature(self, tables, clock):
        hook, other = new_webhook(tables), new_webhook(tables, EventType.FAILED)
        job = finish(tables)
        tables.deliveries.announce()
        clock.advance(1.0)
        open_ = ReviewDocument(job=job, version=1)
        signed = open_.model_copy(update={"version": 2, "state": ReviewState.SIGNED})
        again = signed.model_copy(update={"version": 3})
        with tables.database.write() as connection:
            for before, after in ((open_, signed), (signed, again)):
                tables.deliveries.note_review(connection, before, after)
        assert told(tables, hook)[0] == (EventType.SIGNED, job)
        assert len(told(tables, hook)) == 2
        assert told(tables, other) == []


class TestDeleting:
    def test_deleting_a_job_takes_away_what_was_told_of_it(self, tables, clock):
        hook = new_webhook(tables)
        job, other = finish(tables), finish(tables)
        tables.deliveries.announce()
        clock.advance(1.0)
        tables.jobs.expire(job, PROBLEM)
        assert told(tables, hook) == [(EventType.SUCCEEDED, other)]
        assert tables.deliveries.announce() == 1
        assert told(tables, hook)[0] == (EventType.EXPIRED, job)
        [newest, _] = tables.deliveries.list(hook)
        assert (newest.state, newest.at) == (JobState.EXPIRED, EPOCH + 1.0)

    def test_deleting_it_again_tells_nothing_more(self, tables):
        hook = new_webhook(tables)
        job = finish(tables)
        for _ in range(2):
            tables.jobs.expire(job, PROBLEM)
            tables.deliveries.announce()
        assert told(tables, hook) == [(EventType.EXPIRED, job)]

    def test_with_the_jobs_record_everything_goes(self, tables, clock):
        hook = new_webhook(tables)
        job = finish(tables)
        tables.jobs.expire(job, PROBLEM)
        tables.deliveries.announce()
        clock.advance(400 * 24 * 3600.0)
        assert tables.jobs.drop_records() == [job]
        assert told(tables, hook) == []

    def test_what_is_deleted_while_it_is_sent_is_gone_all_the_same(self, tables):
        new_webhook(tables)
        job = finish(tables)
        tables.deliveries.announce()
        claimed = tables.deliveries.claim()
        tables.jobs.expire(job, PROBLEM)
        assert tables.deliveries.settle(claimed, DELIVERED, chance=0.5) is None

    def test_a_webhook_goes_with_its_messages(self, tables):
        hook = new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        tables.webhooks.delete(hook)
        assert told(tables, hook) == []
        assert tables.deliveries.claim() is None
        with pytest.raises(JobNotFoundError, match="no webhook"):
            tables.webhooks.get(hook)

    def test_messages_are_forgotten_after_a_month(self, tables, clock):
        hook = new_webhook(tables)
        tables.deliveries.ping(hook)
        clock.advance(1.0)
        assert tables.deliveries.drop_old(older_than_seconds=KEPT_SECONDS) == 0
        clock.advance(KEPT_SECONDS)
        assert tables.deliveries.drop_old(older_than_seconds=KEPT_SECONDS) == 1
        assert told(tables, hook) == []


class TestSending:
    def test_a_delivered_message_is_sent_no_more(self, tables):
        hook = new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        assert attempt(tables, DELIVERED).outcome is Outcome.DELIVERED
        assert tables.deliveries.claim() is None
        [message] = tables.deliveries.list(hook)
        assert (message.outcome, message.status, message.attempts) == (
            Outcome.DELIVERED,
            204,
            1,
        )
        assert count(tables, "delivered") == 1

    def test_a_failed_attempt_is_repeated_later_under_the_same_id(self, tables, clock):
        new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        first = tables.deliveries.claim()
        tables.deliveries.settle(first, REFUSED, chance=0.5)
        clock.advance(9.0)
        assert tables.deliveries.claim() is None
        clock.advance(1.0)
        again = tables.deliveries.claim()
        assert again.delivery.id == first.delivery.id
        assert (again.delivery.attempts, again.delivery.status) == (2, 503)
        assert count(tables, "failed") == 1

    def test_at_last_it_is_given_up_and_that_can_be_seen(self, tables, clock):
        hook = new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        outcomes = []
        for _ in range(ATTEMPTS):
            outcomes.append(attempt(tables, REFUSED).outcome)
            clock.advance(24 * 3600.0 / 4)
        assert outcomes == [Outcome.WAITING] * (ATTEMPTS - 1) + [Outcome.GIVEN_UP]
        [message] = tables.deliveries.list(hook)
        assert (message.outcome, message.failure) == (Outcome.GIVEN_UP, Failure.STATUS)
        assert tables.webhooks.get(hook).failing_since == EPOCH
        assert tables.webhooks.get(hook).disabled_at is None
        assert tables.deliveries.claim() is None
        assert (count(tables, "failed"), count(tables, "given_up")) == (9, 1)

    def test_a_success_ends_the_failing(self, tables, clock):
        hook = new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        attempt(tables, REFUSED)
        clock.advance(60.0)
        attempt(tables, DELIVERED)
        assert tables.webhooks.get(hook).failing_since is None

    def test_a_process_that_died_leaves_a_message_to_the_next(self, tables, clock):
        new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        lost = tables.deliveries.claim()
        assert tables.deliveries.claim() is None
        clock.advance(LEASE_SECONDS)
        again = tables.deliveries.claim()
        assert again.delivery.id == lost.delivery.id
        assert tables.deliveries.settle(lost, DELIVERED, chance=0.5) is None
        assert tables.deliveries.settle(again, DELIVERED, chance=0.5) is not None

    def test_two_processes_never_send_one_message(self, tables):
        hooks = [new_webhook(tables, owner=owner) for owner in ("anna", "bert")]
        for hook in hooks:
            tables.deliveries.ping(hook)
        other = Deliveries(tables.database)
        claims = [tables.deliveries.claim(), other.claim(), other.claim()]
        assert {each.webhook.id for each in claims if each} == set(hooks)
        assert claims[2] is None

    def test_an_owner_has_one_connection_at_a_time(self, tables):
        for hook in [new_webhook(tables) for _ in range(2)]:
            tables.deliveries.ping(hook)
        first = tables.deliveries.claim()
        assert tables.deliveries.claim() is None
        tables.deliveries.settle(first, DELIVERED, chance=0.5)
        second = tables.deliveries.claim()
        assert first.webhook.id != second.webhook.id

    def test_webhooks_take_turns_however_much_one_has_to_be_told(self, tables, clock):
        busy, calm = new_webhook(tables), new_webhook(tables, EventType.FAILED)
        for _ in range(5):
            finish(tables)
        tables.deliveries.announce()
        clock.advance(1.0)
        attempt(tables, DELIVERED)
        tables.deliveries.ping(calm)
        clock.advance(1.0)
        assert tables.deliveries.claim().webhook.id == calm
        del busy

    def test_a_clock_that_was_wrong_puts_nothing_off_for_long(self, tables, clock):
        hook = new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        clock.set_forward(90 * 24 * 3600.0)
        attempt(tables, REFUSED)
        claimed_then = new_webhook(tables, owner="bert")
        tables.deliveries.ping(claimed_then)
        tables.deliveries.claim()  # under a lease of then
        clock.set_forward(-90 * 24 * 3600.0)
        found = {tables.deliveries.claim().webhook.id for _ in range(2)}
        assert found == {hook, claimed_then}


class TestDisabling:
    def test_a_receiver_that_is_gone_gets_nothing_more(self, tables, clock):
        hook = new_webhook(tables)
        for _ in range(2):
            finish(tables)
        tables.deliveries.announce()
        settled = attempt(tables, GONE)
        assert settled.disabled is WhyDisabled.GONE
        found = tables.webhooks.get(hook)
        assert (found.disabled_at, found.disabled_why) == (EPOCH, WhyDisabled.GONE)
        assert {each.failure for each in tables.deliveries.list(hook)} == {
            Failure.STATUS,
            Failure.DISABLED,
        }
        finish(tables)
        tables.deliveries.announce()
        clock.advance(3600.0)
        assert tables.deliveries.claim() is None
        assert count(tables, "given_up") == 2

    def test_after_days_of_failing_it_is_disabled(self, tables, clock):
        hook = new_webhook(tables)
        finish(tables)
        tables.deliveries.announce()
        attempt(tables, REFUSED)
        clock.advance(PATIENCE_SECONDS)
        disabled = []
        for _ in range(ATTEMPTS - 1):
            disabled.append(attempt(tables, REFUSED).disabled)
            clock.advance(8 * 3600.0)
        assert disabled == [None] * (ATTEMPTS - 2) + [WhyDisabled.FAILING]
        assert tables.webhooks.get(hook).disabled_why is WhyDisabled.FAILING

    def test_a_test_that_succeeds_enables_it_again(self, tables):
        hook = new_webhook(tables)
        tables.deliveries.ping(hook)
        assert attempt(tables, GONE).disabled is WhyDisabled.GONE
        tables.deliveries.ping(hook)
        assert attempt(tables, REFUSED).disabled is None
        assert tables.webhooks.get(hook).disabled_at is not None
        tables.deliveries.ping(hook)
        attempt(tables, DELIVERED)
        found = tables.webhooks.get(hook)
        assert (found.disabled_at, found.disabled_why) == (None, None)
        finish(tables)
        tables.deliveries.announce()
        assert tables.deliveries.claim() is not None


class TestTesting:
    def test_a_test_is_sent_once(self, tables, clock):
        hook = new_webhook(tables)
        message = tables.deliveries.ping(hook)
        assert (message.event, message.job_id, message.state) == (PING, None, None)
        assert attempt(tables, REFUSED).outcome is Outcome.GIVEN_UP
        clock.advance(3600.0)
        assert tables.deliveries.claim() is None

    def test_a_test_that_waits_is_not_doubled(self, tables):
        hook = new_webhook(tables)
        first, second = (tables.deliveries.ping(hook) for _ in range(2))
        assert first.id == second.id
        assert len(told(tables, hook)) == 1


class TestWebhooks:
    def test_an_owner_may_have_so_many(self, tables):
        for _ in range(10):
            new_webhook(tables)
        with pytest.raises(TooManyWebhooksError, match="have 10 webhooks and may have"):
            new_webhook(tables)
        new_webhook(tables, owner="bert")
        assert len(tables.webhooks.list("anna")) == 10

    def test_a_new_secret_and_the_one_before_sign_for_a_day(self, tables, clock):
        hook = new_webhook(tables)
        before = tables.webhooks.get(hook)
        after = tables.webhooks.rotate(hook)
        assert len(before.secrets) == 1
        assert after.secrets[1:] == before.secrets
        assert after.previous_until == EPOCH + ROTATION_SECONDS
        tables.deliveries.ping(hook)
        assert tables.deliveries.claim().webhook.secrets == after.secrets
        clock.advance(ROTATION_SECONDS)
        assert tables.webhooks.get(hook).secrets == after.secrets[:1]

    def test_what_is_secret_of_it_is_not_shown(self, tables):
        found = tables.webhooks.get(new_webhook(tables))
        assert "whsec_" not in repr(found)
        assert "hidden" not in repr(found)
